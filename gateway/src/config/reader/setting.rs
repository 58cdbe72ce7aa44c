//! One key with a text, with `true` or `false`, or with a number.

use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::{Kind, Section, Table, kind};
use crate::config::values::word;
use crate::config::{Environment, Place};

/// A key on its way to a value.
pub struct Setting<'s> {
    section: &'s Section<'s>,
    /// With its path.
    key: String,
    state: State,
}

pub(super) enum State {
    Absent,
    /// Reported already.
    Broken,
    Found {
        text: String,
        place: Place,
    },
}

impl<'s> Setting<'s> {
    pub(super) fn read(section: &'s Section<'s>, key: &str) -> Self {
        Self::read_as(section, key, Kind::Text, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn read_flag(section: &'s Section<'s>, key: &str) -> Self {
        Self::read_as(section, key, Kind::Flag, "true or false", |value| value.as_bool().map(|flag| flag.to_string()))
    }

    pub(super) fn read_number(section: &'s Section<'s>, key: &str, range: &RangeInclusive<u32>) -> Self {
        let text = |value: &DeValue<'_>| value.as_integer().map(ToString::to_string);
        let setting = Self::read_as(section, key, Kind::Number, "a whole number", text);
        section.source.record.amend(&setting.key, |asked| asked.range = Some(range.clone()));
        setting
    }

    fn read_as(
        section: &'s Section<'s>,
        key: &str,
        kind_here: Kind,
        wanted: &str,
        text: impl FnOnce(&DeValue<'_>) -> Option<String>,
    ) -> Self {
        let path = section.path_of(key);
        section.source.record.note(&path, kind_here);
        let value = section.value(key);
        if let Some((place, text)) = from_environment(section, &path) {
            return Self { section, key: path, state: State::Found { text, place } };
        }
        let state = match value {
            None if matches!(section.table, Table::Broken) => State::Broken,
            None => State::Absent,
            Some(value) => match text(value.get_ref()) {
                Some(text) => State::Found { text, place: section.source.place(value) },
                None => {
                    let words = format!("must be {wanted}, and is {}", kind(value.get_ref()));
                    section.source.note(section.source.place(value), &path, words);
                    State::Broken
                }
            },
        };
        Self { section, key: path, state }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    pub fn or(self, default: &str) -> Self {
        self.section.source.record.amend(&self.key, |asked| asked.default = Some(default.to_owned()));
        let state = match self.state {
            State::Absent => State::Found { text: default.to_owned(), place: Place::Default },
            other => other,
        };
        Self { state, ..self }
    }

    /// What a variable says that others have named, such as `AZURE_FEDERATED_TOKEN_FILE`.
    pub fn or_variable(self, name: &str) -> Self {
        match (&self.state, self.section.source.environment.get(name)) {
            (State::Absent, Some(text)) => {
                let state = State::Found { text: text.to_owned(), place: Place::Variable(name.to_owned()) };
                Self { state, ..self }
            }
            _ => self,
        }
    }

    /// `what` says what belongs here.
    pub fn required(self, what: &str) -> Self {
        self.section.source.record.amend(&self.key, |asked| asked.required = true);
        if matches!(self.state, State::Absent) {
            self.section.source.note(self.section.place.clone(), &self.key, format!("is missing: {what}"));
            return Self { state: State::Broken, ..self };
        }
        self
    }

    /// `None` when there is no value, or when it is wrong and that has been noted.
    pub fn parse<T, E: Display>(self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.parse_showing(|text| format!("{text:?}"), parse)
    }

    /// One of a few words, each with what it means.
    pub fn one_of<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let names = || words.iter().map(|(word, _)| (*word).to_owned()).collect();
        self.section.source.record.amend(&self.key, |asked| asked.words = names());
        self.parse(|text| word(text, words))
    }

    pub(super) fn parse_flag(self) -> Option<bool> {
        self.parse_showing(str::to_owned, |text| text.parse().map_err(|_| "must be true or false"))
    }

    pub(super) fn parse_number(self, range: RangeInclusive<u32>) -> Option<u32> {
        self.parse_showing(str::to_owned, |text| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| format!("must be a whole number between {} and {}", range.start(), range.end()))
        })
    }

    fn parse_showing<T, E: Display>(
        self,
        show: impl FnOnce(&str) -> String,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let State::Found { text, place } = self.state else { return None };
        match parse(&text) {
            Ok(value) => {
                self.section.source.effective.borrow_mut().note(self.key, show(&text), place);
                Some(value)
            }
            Err(words) => {
                self.section.source.note(place, &self.key, words.to_string());
                None
            }
        }
    }
}

/// The environment wins over the file.
pub(super) fn from_environment(section: &Section<'_>, key: &str) -> Option<(Place, String)> {
    if !section.in_environment {
        return None;
    }
    let name = Environment::name_of(key);
    let text = section.source.environment.get(&name)?.to_owned();
    Some((Place::Variable(name), text))
}
