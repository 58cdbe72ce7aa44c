//! Configuration: one TOML file and the environment become every module's Settings. All mistakes at once.
//!
//! [`reader`] reads a document key by key and notes what is wrong, `values` knows what a value of each kind looks like,
//! `sections` knows the keys. The modules never see any of it. What `catalogue` tells of the keys, the reader has noted, and the
//! words are those of the `example`.

mod catalogue;
mod effect;
mod effective;
mod environment;
mod example;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod mistake;
mod reader;
mod sections;
mod values;

use std::path::Path;

use toml::de::DeTable;

pub use catalogue::Catalogue;
pub use effective::Effective;
pub use environment::Environment;
pub use example::EXAMPLE;
pub use mistake::{Mistake, Mistakes, Place};

use crate::server::AdminSettings;
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

    /// Only where the admin listeners are. What else is wrong with the file does not matter.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn admin(file: &Path) -> Result<AdminSettings, Mistakes> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Mistakes::of_the_file(name.clone(), Place::File, format!("cannot be read: {error}")))?;
        let environment = Environment::of_the_process();
        let source = Source::new(&text, file.parent().unwrap_or(Path::new("")), &environment);
        let (document, errors) = DeTable::parse_recoverable(&text);
        if !errors.is_empty() {
            return Err(source.not_toml(&name, &errors));
        }
        let admin = sections::admin(&source.root(&document).section("admin"), None);
        admin.ok_or_else(|| source.mistakes(&name))
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

/// Of several names the one that a mistyped one is nearest to, if it is near.
fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let likeness = |name: &&str| strsim::jaro_winkler(&typed, &name.to_lowercase());
    let near = names.map(|name| (likeness(&name), name)).filter(|(likeness, _)| *likeness > NEAR);
    near.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// From 0 to 1; two letters that changed places, or one too many, are nearer.
const NEAR: f64 = 0.87;

#[cfg(test)]
mod tests;
