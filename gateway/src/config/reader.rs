//! A TOML document and the environment, read key by key. What is wrong is noted, and reading goes on.

mod asked;
mod list;
mod setting;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::pem_file;
use super::{Effective, Environment, Mistake, Mistakes, Place, nearest};
use crate::server::Content;
use asked::Record;

pub use asked::{Asked, Kind};
pub use list::List;
pub use setting::Setting;

/// What is read, and what was noticed.
pub struct Source<'a> {
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    folder: &'a Path,
    environment: &'a Environment,
    mistakes: RefCell<Vec<Mistake>>,
    effective: RefCell<Effective>,
    record: Record,
}

/// One table of the document, there or not.
pub struct Section<'a> {
    source: &'a Source<'a>,
    table: Table<'a>,
    /// Dotted; empty for the document itself.
    path: String,
    /// Where a missing key is reported.
    place: Place,
    in_environment: bool,
    asked: RefCell<BTreeSet<String>>,
}

#[derive(Clone, Copy)]
enum Table<'a> {
    There(&'a DeTable<'a>),
    Absent,
    /// Something else stands in its place, which has been reported: its keys are not reported as missing too.
    Broken,
}

impl<'a> Source<'a> {
    pub fn new(text: &str, folder: &'a Path, environment: &'a Environment) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            lines,
            folder,
            environment,
            mistakes: RefCell::default(),
            effective: RefCell::default(),
            record: Record::default(),
        }
    }

    pub fn root(&'a self, document: &'a Spanned<DeTable<'a>>) -> Section<'a> {
        self.section(Table::There(document.get_ref()), String::new(), Place::Line(1), true)
    }

    pub fn not_toml(&self, file: &str, errors: &[toml::de::Error]) -> Mistakes {
        let mistake = |error: &toml::de::Error| Mistake {
            place: Place::Line(self.line(error.span().map_or(0, |span| span.start))),
            key: String::new(),
            words: format!("not TOML: {}", error.message()),
        };
        Mistakes { file: file.to_owned(), found: sorted(errors.iter().map(mistake).collect()) }
    }

    pub fn finish(&self, file: &str) -> (Mistakes, Effective) {
        for name in self.environment.unknown() {
            let words = format!("no key has this name{}", did_you_mean(self.environment.nearest_to(&name)));
            self.note(Place::Variable(name), "", words);
        }
        (self.mistakes(file), self.effective.take())
    }

    /// Of what was read, which need not be all.
    pub fn mistakes(&self, file: &str) -> Mistakes {
        Mistakes { file: file.to_owned(), found: sorted(self.mistakes.take()) }
    }

    /// What was asked for, there or not.
    pub fn asked(&self) -> Vec<(String, Asked)> {
        self.record.take()
    }

    fn section(&'a self, table: Table<'a>, path: String, place: Place, in_environment: bool) -> Section<'a> {
        Section { source: self, table, path, place, in_environment, asked: RefCell::default() }
    }

    fn note(&self, place: Place, key: &str, words: String) {
        self.mistakes.borrow_mut().push(Mistake { place, key: key.to_owned(), words });
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at)
    }

    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        Place::Line(self.line(spanned.span().start))
    }
}

impl<'a> Section<'a> {
    pub fn text(&self, key: &str) -> Setting<'_> {
        Setting::read(self, key)
    }

    /// What a variable says that others have named.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.source.environment.get(name).map(str::to_owned)
    }

    pub fn list(&self, key: &str) -> List<'_> {
        List::read(self, key)
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str, default: bool) -> Option<bool> {
        Setting::read_flag(self, key).or(if default { "true" } else { "false" }).parse_flag()
    }

    /// A whole number in a range.
    pub fn number(&self, key: &str, default: u32, range: RangeInclusive<u32>) -> Option<u32> {
        Setting::read_number(self, key, &range).or(&default.to_string()).parse_number(range)
    }

    pub fn optional_number(&self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        Setting::read_number(self, key, &range).parse_number(range)
    }

    pub fn section(&self, key: &str) -> Section<'a> {
        let path = self.path_of(key);
        self.source.record.note(&path, Kind::Table);
        let (table, place) = match self.value(key) {
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (Table::There(table), self.source.place(value)),
                other => {
                    let place = self.source.place(value);
                    let words = format!("must be a table, written as [{path}], and is {}", kind(other));
                    self.source.note(place.clone(), &path, words);
                    (Table::Broken, place)
                }
            },
            None if matches!(self.table, Table::Broken) => (Table::Broken, self.place.clone()),
            None => (Table::Absent, self.place.clone()),
        };
        self.source.section(table, path, place, self.in_environment)
    }

    /// The tables of `[[key]]`. The environment has no names for their keys.
    pub fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let path = self.path_of(key);
        self.source.record.note(&path, Kind::Tables);
        let Some(value) = self.value(key) else {
            self.mistake(key, format!("is missing: there must be at least one [[{path}]]"));
            return Vec::new();
        };
        let section = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| match item.get_ref() {
            DeValue::Table(table) => {
                let path = format!("{path}[{index}]");
                Some(self.source.section(Table::There(table), path, self.source.place(item), false))
            }
            _ => None,
        };
        let sections = value.get_ref().as_array().map(|items| items.iter().enumerate().map(section).collect());
        match sections {
            Some(Some(sections)) if !Vec::is_empty(&sections) => sections,
            _ => {
                self.source.note(self.source.place(value), &path, format!("must be tables, each begun by [[{path}]]"));
                Vec::new()
            }
        }
    }

    /// Likewise, and there may be none.
    pub fn optional_sections(&self, key: &str) -> Vec<Section<'a>> {
        let none = |value: &Spanned<DeValue<'_>>| value.get_ref().as_array().is_some_and(|items| items.is_empty());
        if self.value(key).is_none_or(none) { Vec::new() } else { self.sections(key) }
    }

    /// Whether anything in it is set.
    pub fn is_given(&self) -> bool {
        let in_environment = self.in_environment && self.source.environment.has_below(&self.path);
        in_environment || !matches!(self.table, Table::Absent)
    }

    /// The keys of a table whose keys are the user's own.
    pub fn names(&self) -> Vec<String> {
        match self.table {
            Table::There(table) => table.keys().map(|key| key.get_ref().to_string()).collect(),
            _ => Vec::new(),
        }
    }

    /// A file that the configuration names; relative names start at the folder of the configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.source.folder.join(name)
    }

    /// Likewise, for one that is read now and not again: what it holds is part of the key's value.
    pub fn content(&self, key: &str, name: &str) -> PathBuf {
        let file = self.file(name);
        // What cannot be read is a mistake of whoever reads it for its sake.
        if let Ok(bytes) = pem_file(&file) {
            self.source.effective.borrow_mut().note_content(self.path_of(key), Content::of(&bytes));
        }
        file
    }

    /// Notes a mistake about a key, where it is set, or where it should be.
    pub fn mistake(&self, key: &str, words: impl Into<String>) {
        let variable = Environment::name_of(&self.path_of(key));
        let place =
            match (self.table.find(key), self.in_environment && self.source.environment.get(&variable).is_some()) {
                (_, true) => Place::Variable(variable),
                (Some((key, _)), _) => self.source.place(key),
                (None, _) => self.place.clone(),
            };
        self.source.note(place, &self.path_of(key), words.into());
    }

    /// Notes the keys that nobody asked for.
    pub fn finish(&self) {
        let Table::There(table) = self.table else { return };
        let asked = self.asked.borrow();
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !asked.contains(name) {
                let known = asked.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let meant = did_you_mean(nearest(name, asked.iter().map(String::as_str)));
                let words = format!("is no key; the keys here are {known}{meant}");
                self.source.note(self.source.place(key), &self.path_of(name), words);
            }
        }
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.table.find(key).map(|(_, value)| value)
    }

    fn path_of(&self, key: &str) -> String {
        // A quoted key can hold anything, and what is shown of it goes to a terminal or a log.
        let key = key.escape_debug().to_string();
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}

impl<'a> Table<'a> {
    fn find(self, key: &str) -> Option<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        match self {
            Table::There(table) => table.get_key_value(key),
            Table::Absent | Table::Broken => None,
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// To be put behind the words on a name that nobody knows.
fn did_you_mean(meant: Option<impl std::fmt::Display>) -> String {
    meant.map(|meant| format!(". Did you mean {meant}?")).unwrap_or_default()
}

/// By place, and by key at one place: two passes over one file say the same.
fn sorted(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    mistakes.sort_by(|one, other| (&one.place, &one.key).cmp(&(&other.place, &other.key)));
    mistakes
}
