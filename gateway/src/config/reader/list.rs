//! One key with a list of texts.

use std::fmt::Display;

use super::setting::from_environment;
use super::{Kind, Section, Table, kind};
use crate::config::Place;

/// A list on its way to its values.
pub struct List<'s> {
    section: &'s Section<'s>,
    /// With its path.
    key: String,
    state: State,
}

enum State {
    Absent,
    /// Reported already.
    Broken,
    Found {
        items: Vec<(String, Place)>,
        place: Place,
    },
}

impl<'s> List<'s> {
    pub(super) fn read(section: &'s Section<'s>, key: &str) -> Self {
        let path = section.path_of(key);
        section.source.record.note(&path, Kind::List);
        let value = section.value(key);
        if let Some((place, text)) = from_environment(section, &path) {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            let items = items.map(|item| (item.to_owned(), place.clone())).collect();
            return Self { section, key: path, state: State::Found { items, place } };
        }
        let Some(value) = value else {
            let state = if matches!(section.table, Table::Broken) { State::Broken } else { State::Absent };
            return Self { section, key: path, state };
        };
        let source = section.source;
        let place = source.place(value);
        let Some(array) = value.get_ref().as_array() else {
            source.note(place, &path, format!("must be a list of strings, and is {}", kind(value.get_ref())));
            return Self { section, key: path, state: State::Broken };
        };
        let mut items = Vec::new();
        for (index, item) in array.iter().enumerate() {
            match item.get_ref().as_str() {
                Some(text) => items.push((text.to_owned(), source.place(item))),
                None => {
                    let words = format!("must be a string, and is {}", kind(item.get_ref()));
                    source.note(source.place(item), &format!("{path}[{index}]"), words);
                }
            }
        }
        let state = if items.len() == array.len() { State::Found { items, place } } else { State::Broken };
        Self { section, key: path, state }
    }

    /// Whether nobody has said anything, not even that it is empty.
    pub fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    pub fn or(self, default: &[&str]) -> Self {
        self.section.source.record.amend(&self.key, |asked| asked.default = Some(format!("{default:?}")));
        let state = match self.state {
            State::Absent => {
                let items = default.iter().map(|item| (item.to_string(), Place::Default)).collect();
                State::Found { items, place: Place::Default }
            }
            other => other,
        };
        Self { state, ..self }
    }

    /// At least one item; `what` says what belongs here.
    pub fn required(self, what: &str) -> Self {
        self.section.source.record.amend(&self.key, |asked| asked.required = true);
        if matches!(self.state, State::Absent) {
            self.section.source.note(self.section.place.clone(), &self.key, format!("is missing: {what}"));
            return Self { state: State::Broken, ..self };
        }
        self.not_empty(what)
    }

    /// Where it is given, at least one item.
    pub fn not_empty(self, what: &str) -> Self {
        match &self.state {
            State::Found { items, place } if items.is_empty() => {
                self.section.source.note(place.clone(), &self.key, format!("is empty: {what}"));
                Self { state: State::Broken, ..self }
            }
            State::Absent | State::Broken | State::Found { .. } => self,
        }
    }

    /// Every item is looked at, for its own mistake; an item that stands there twice is one.
    pub fn each<T, E: Display>(self, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        let State::Found { items, place } = self.state else { return None };
        let source = self.section.source;
        let mut values = Vec::new();
        for (index, (text, place)) in items.iter().enumerate() {
            let key = format!("{}[{index}]", self.key);
            match parse(text) {
                _ if items[..index].iter().any(|(earlier, _)| earlier == text) => {
                    source.note(place.clone(), &key, "stands here twice".to_owned());
                }
                Ok(value) => values.push(value),
                Err(words) => source.note(place.clone(), &key, words.to_string()),
            }
        }
        let texts: Vec<_> = items.iter().map(|(text, _)| text).collect();
        source.effective.borrow_mut().note(self.key, format!("{texts:?}"), place);
        (values.len() == items.len()).then_some(values)
    }
}
