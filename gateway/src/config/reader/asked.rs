//! What the reader wants of each key, noted while it reads: so that what is told of the keys is what is read.

use std::cell::RefCell;
use std::ops::RangeInclusive;

/// One key, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub kind: Kind,
    /// As JSON has it, but texts without quotes.
    pub default: Option<String>,
    pub required: bool,
    pub range: Option<RangeInclusive<u32>>,
    /// All that it may be, if those are a few.
    pub words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Flag,
    Number,
    List,
    Table,
    Tables,
}

/// By their paths, in the order of asking.
#[derive(Default)]
pub struct Record(RefCell<Vec<(String, Asked)>>);

impl Kind {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Flag => "true or false",
            Kind::Number => "whole number",
            Kind::List => "list of texts",
            Kind::Table => "section",
            Kind::Tables => "list of sections",
        }
    }

    pub fn is_section(self) -> bool {
        matches!(self, Kind::Table | Kind::Tables)
    }
}

impl Record {
    pub fn note(&self, path: &str, kind: Kind) {
        let path = if kind == Kind::Tables { format!("{path}[]") } else { path.to_owned() };
        let asked = Asked { kind, default: None, required: false, range: None, words: Vec::new() };
        self.0.borrow_mut().push((path, asked));
    }

    /// Adds to what was noted of a key last.
    pub fn amend(&self, path: &str, amend: impl FnOnce(&mut Asked)) {
        if let Some((_, asked)) = self.0.borrow_mut().iter_mut().rev().find(|(noted, _)| noted == path) {
            amend(asked);
        }
    }

    pub fn take(&self) -> Vec<(String, Asked)> {
        self.0.take()
    }
}
