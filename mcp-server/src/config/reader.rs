//! A TOML document read key by key, so that every mistake is found in one pass and has a line.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

/// Collects the mistakes of one document.
pub(super) struct Reader {
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    mistakes: RefCell<Vec<Mistake>>,
}

/// One table. Keys that nobody asked for by the time of [`Section::finish`] are unknown.
pub(super) struct Section<'a> {
    reader: Rc<Reader>,
    table: &'a DeTable<'a>,
    path: String,
    line: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl Reader {
    pub fn parse(text: &str) -> Result<(Spanned<DeTable<'_>>, Rc<Self>), Vec<Mistake>> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let reader = Self { lines, mistakes: RefCell::default() };
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok((document, Rc::new(reader)));
        }
        let mistake = |error: &toml::de::Error| Mistake {
            line: reader.line(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            words: error.message().to_owned(),
        };
        let mut mistakes: Vec<_> = errors.iter().map(mistake).collect();
        mistakes.sort_by_key(|mistake| mistake.line);
        Err(mistakes)
    }

    pub fn root<'a>(self: &Rc<Self>, document: &'a Spanned<DeTable<'a>>) -> Section<'a> {
        let table = document.get_ref();
        Section { reader: Rc::clone(self), table, path: String::new(), line: 1, asked: RefCell::default() }
    }

    /// What was found, from the top of the file to its end.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.borrow().clone();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at)
    }
}

impl<'a> Section<'a> {
    /// A string that must be there.
    pub fn text<T, E: Display>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match self.value(key) {
            Some(value) => self.parsed(key, value, parse),
            None => self.mistake(key, "is missing"),
        }
    }

    /// A string with a default that parses.
    pub fn text_or<T, E: Display>(
        &self,
        key: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.value(key) {
            Some(value) => self.parsed(key, value, parse),
            None => self.accept(key, self.line, parse(default)),
        }
    }

    /// A string that may be absent: the outer `None` is a mistake, the inner one absence.
    pub fn optional_text<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        match self.value(key) {
            Some(value) => self.parsed(key, value, parse).map(Some),
            None => Some(None),
        }
    }

    /// `true` or `false`.
    pub fn flag_or(&self, key: &'static str, default: bool) -> Option<bool> {
        let Some(value) = self.value(key) else { return Some(default) };
        let flag = value.get_ref().as_bool().ok_or("must be true or false");
        self.accept(key, self.line_of(value), flag)
    }

    /// A list of at least one string that must be there.
    pub fn texts<T, E: Display>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        let Some(value) = self.value(key) else { return self.mistake(key, "is missing") };
        let line = self.line_of(value);
        let Some(list) = value.get_ref().as_array().filter(|list| !list.is_empty()) else {
            return self.accept(key, line, Err("must be a list of strings, not empty"));
        };
        // Every entry is looked at, for its own mistake.
        let parsed: Vec<_> = list.iter().map(|entry| self.parsed(key, entry, &parse)).collect();
        parsed.into_iter().collect()
    }

    /// A list with a default that parses.
    pub fn texts_or<T, E: Display>(
        &self,
        key: &'static str,
        default: &[&str],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        match self.value(key) {
            Some(_) => self.texts(key, parse),
            None => default.iter().map(|text| self.accept(key, self.line, parse(text))).collect(),
        }
    }

    /// A table that must be there.
    pub fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let Some(value) = self.value(key) else { return self.mistake(key, "is missing") };
        let line = self.line_of(value);
        let Some(table) = value.get_ref().as_table() else {
            return self.accept(key, line, Err("must be a table"));
        };
        let reader = Rc::clone(&self.reader);
        Some(Section { reader, table, path: self.path_of(key), line, asked: RefCell::default() })
    }

    /// Notes a mistake about a key, at its line or the section's.
    pub fn mistake<T>(&self, key: &'static str, words: &str) -> Option<T> {
        let line = self
            .table
            .iter()
            .find(|(found, _)| found.get_ref() == key)
            .map_or(self.line, |(found, _)| self.reader.line(found.span().start));
        self.accept(key, line, Err(words))
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(&self) {
        for (key, _) in self.table {
            let name = key.get_ref();
            if !self.asked.borrow().iter().any(|asked| asked == name) {
                let line = self.reader.line(key.span().start);
                self.note(self.path_of(name), line, "is not a known key");
            }
        }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.iter().find(|(found, _)| found.get_ref() == key).map(|(_, value)| value)
    }

    fn parsed<T, E: Display>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let line = self.line_of(value);
        match value.get_ref().as_str() {
            Some(text) => self.accept(key, line, parse(text)),
            None => self.accept(key, line, Err("must be a string")),
        }
    }

    fn accept<T, E: Display>(&self, key: &str, line: usize, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|words| self.note(self.path_of(key), line, &words.to_string())).ok()
    }

    fn note(&self, key: String, line: usize, words: &str) {
        self.reader.mistakes.borrow_mut().push(Mistake { line, key, words: words.to_owned() });
    }

    fn line_of(&self, value: &Spanned<DeValue<'_>>) -> usize {
        self.reader.line(value.span().start)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
