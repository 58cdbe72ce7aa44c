//! Configuration: one TOML file and the environment become every module's Settings. All mistakes at once.
//!
//! [`reader`] reads a document key by key and notes what is wrong, `values` knows what a value of each kind looks like,
//! `sections` knows the keys. The modules never see any of it.

mod effective;
mod environment;
mod mistake;
mod reader;
mod sections;
mod values;

use std::path::Path;

use toml::de::DeTable;

pub use effective::Effective;
pub use environment::Environment;
pub use mistake::{Mistake, Mistakes, Place};

use crate::{log, server};
use reader::Source;

/// What `serve` needs.
pub struct Config {
    pub log: log::Settings,
    pub server: server::Settings,
    /// Every key that has a value, and where it is from.
    pub effective: Effective,
}

impl Config {
    /// Reads the file and the process's environment, and opens every file that they name. Nothing is contacted.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn load(file: &Path) -> Result<Self, Mistakes> {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let folder = file.parent().unwrap_or(Path::new(""));
                Self::parse(&name, &text, folder, &Environment::of_the_process())
            }
            Err(error) => Err(Mistakes::of_the_file(name, Place::File, format!("cannot be read: {error}"))),
        }
    }

    /// Reads a file's `text`. Relative paths in it start at `folder`, and mistakes call the file `name`.
    pub fn parse(name: &str, text: &str, folder: &Path, environment: &Environment) -> Result<Self, Mistakes> {
        let source = Source::new(text, folder, environment);
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(source.not_toml(name, &errors));
        }
        let root = source.root(&document);
        let sections = sections::read(&root);
        root.finish();
        let (mistakes, effective) = source.finish(name);
        match sections {
            Some((log, server)) if mistakes.found.is_empty() => Ok(Self { log, server, effective }),
            _ => Err(mistakes),
        }
    }
}

#[cfg(test)]
mod tests;
