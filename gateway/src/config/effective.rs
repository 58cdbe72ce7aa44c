//! What a configuration amounts to.

use std::collections::BTreeMap;
use std::fmt;

use super::Place;
use super::effect::{general, is_live};
use crate::server::{Content, Key, Keys};

/// Every key that has a value, in the order of reading. Holds no secret: those are in files, and only files are named.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    entries: Vec<Entry>,
    /// By key, of files whose content is taken when the configuration is read.
    contents: BTreeMap<String, Content>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    /// As TOML writes it.
    value: String,
    place: Place,
}

impl Effective {
    pub(super) fn note(&mut self, key: String, value: String, place: Place) {
        self.entries.push(Entry { key, value, place });
    }

    pub(super) fn note_content(&mut self, key: String, content: Content) {
        self.contents.insert(key, content);
    }

    /// For a server that is to compare them with those of another reading.
    pub fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        for Entry { key, value, place } in &self.entries {
            let name = general(key);
            let (is_set, is_live) = (*place != Place::Default, is_live(&name));
            let content = self.contents.get(key).copied();
            keys.add(name, Key { value: value.clone(), content, is_set, is_live });
        }
        keys
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { key, value, place } in &self.entries {
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
