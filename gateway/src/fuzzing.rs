//! What strangers send, made up by a machine: one function for each parser that they reach, with what must hold of any input.
//!
//! Each takes any bytes, and panics where a promise is broken. They stand beside what they try, since most of that is private.
//! Nothing of it is in a program that people run: tests compile it, which replay the corpora of `gateway/fuzz`, and so does
//! `gateway/fuzz` itself, where libFuzzer makes up more (`docs/fuzzing.md`).

mod hop;
mod plain;
mod token;

pub use crate::sealed::fuzzing::SEALER;
pub use plain::{Anything, Plain, reopens};

use crate::{browser, config, edge, oauth, server, session};

/// Takes one input.
pub type Target = fn(&[u8]);

/// By the names of their corpora. The crate `entra` has its own, for what is private there.
pub const TARGETS: [(&str, Target); 15] = [
    ("authorize", oauth::fuzzing::authorize),
    ("bearer", bearer),
    ("challenge", edge::fuzzing::challenge),
    ("config", config::fuzzing::config),
    ("cookie", browser::fuzzing::cookie),
    ("form", oauth::fuzzing::form),
    ("hop", hop::hop),
    ("message", edge::fuzzing::message),
    ("metadata_document", oauth::fuzzing::metadata_document),
    ("proxy_protocol", server::fuzzing::proxy_protocol),
    ("record", session::fuzzing::record),
    ("redirect_uri", oauth::fuzzing::redirect_uri),
    ("registration", oauth::fuzzing::registration),
    ("sse", edge::fuzzing::sse),
    ("token", token::token),
];

/// The public URL in everything that is fuzzed.
pub const ISSUER: &str = "https://mcp.example.com";
/// The one resource.
pub const RESOURCE: &str = "https://mcp.example.com/mcp";

#[cfg(fuzzing)]
/// The target of this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> Target {
    let mut all = TARGETS.iter().chain(&entra::fuzzing::TARGETS);
    all.find(|(other, _)| *other == name).expect("FUZZ_TARGET is the name of a target").1
}

/// One `Authorization` header, as the edge reads it and as the token endpoint does.
fn bearer(input: &[u8]) {
    oauth::fuzzing::bearer(input);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn corpora() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
    }

    /// Everything that was once found is in there, and must stay mended.
    #[test]
    fn the_corpora_hold() {
        for (name, target) in TARGETS {
            let files: Vec<_> = std::fs::read_dir(corpora().join(name)).unwrap().collect();
            assert!(!files.is_empty(), "{name} has no corpus");
            for file in files {
                let file = file.unwrap().path();
                eprintln!("{}", file.display());
                target(&std::fs::read(file).unwrap());
            }
        }
    }

    #[test]
    fn each_target_has_a_corpus_and_each_corpus_a_target() {
        let folders = std::fs::read_dir(corpora()).unwrap();
        let folders: BTreeSet<_> = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
        let targets: BTreeSet<_> =
            TARGETS.iter().map(|(name, _)| *name).chain(["id_token"]).map(str::to_owned).collect();
        assert_eq!(folders, targets);
    }
}
