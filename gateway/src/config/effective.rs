//! What a configuration amounts to.

use std::fmt;

use super::Place;

/// Every key that has a value, in the order of reading. Holds no secret: those are in files, and only files are named.
#[derive(Clone, Debug, Default)]
pub struct Effective(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    /// As TOML writes it.
    value: String,
    place: Place,
}

impl Effective {
    pub(super) fn note(&mut self, key: String, value: String, place: Place) {
        self.0.push(Entry { key, value, place });
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { key, value, place } in &self.0 {
            write!(formatter, "{key} = {value}")?;
            match place {
                Place::Default => writeln!(formatter, "  # default")?,
                Place::Variable(name) => writeln!(formatter, "  # {name}")?,
                Place::File | Place::Line(_) => writeln!(formatter)?,
            }
        }
        Ok(())
    }
}
