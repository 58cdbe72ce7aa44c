//! What is wrong with a configuration, and where.

use std::fmt;

/// Everything that is wrong with a configuration. Shown as one line each.
#[derive(Debug)]
pub struct Mistakes {
    /// As the user named the file.
    pub file: String,
    /// Never empty.
    pub found: Vec<Mistake>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    /// Dotted; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong and what would be right. Never the value: it could be a secret in the wrong place.
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    File,
    /// Of the file, from 1.
    Line(usize),
    /// Of the environment.
    Variable(String),
    /// Nobody wrote it.
    Default,
}

impl Mistakes {
    pub(super) fn of_the_file(file: String, place: Place, words: String) -> Self {
        Self { file, found: vec![Mistake { place, key: String::new(), words }] }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Mistake { place, key, words } in &self.found {
            match place {
                Place::File | Place::Default => write!(formatter, "{}: ", self.file)?,
                Place::Line(line) => write!(formatter, "{}:{line}: ", self.file)?,
                // Of a name that nobody knows anything may be part.
                Place::Variable(name) => write!(formatter, "environment {}: ", name.escape_debug())?,
            }
            match key.as_str() {
                "" => writeln!(formatter, "{words}")?,
                key => writeln!(formatter, "{key}: {words}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
