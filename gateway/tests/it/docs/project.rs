//! The project's files, as tests of the documentation read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The project's own folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub fn read(path: &str) -> String {
    fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a folder with this extension, but for what was built or fetched.
pub fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            let is_ours = !name.starts_with('.') && name != "node_modules" && !path.join("CACHEDIR.TAG").exists();
            if is_ours && !path.is_symlink() {
                files_below(&path, extension, found);
            }
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
}

/// The tests in the project's Rust files: names, and what stands in each.
pub struct Tests(BTreeMap<String, String>);

impl Tests {
    pub fn of_project() -> Self {
        let mut files = Vec::new();
        for package in ["gateway", "entra", "mcp-server"] {
            files_below(&project().join(package), "rs", &mut files);
        }
        let mut tests = Self(BTreeMap::new());
        files.iter().for_each(|file| tests.read(&fs::read_to_string(file).unwrap()));
        tests
    }

    /// Whether there is a Rust test of this name, or a driver of a real client.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
            || (name.ends_with(".mjs") && project().join("gateway/tests/clients").join(name).is_file())
    }

    /// What stands in the tests of this name.
    pub fn body(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Functions right below an attribute that makes one a test, up to the brace that closes them. One that is ignored shows nothing.
    fn read(&mut self, text: &str) {
        let (mut is_test, mut is_ignored, mut open) = (false, false, None::<(String, String)>);
        for line in text.lines() {
            if let Some((name, end)) = &open {
                self.0.get_mut(name).unwrap().push_str(line);
                if line == end {
                    open = None;
                }
                continue;
            }
            let inside = line.trim_start();
            is_test |= inside.starts_with("#[test") || inside.starts_with("#[tokio::test");
            is_ignored |= inside.starts_with("#[ignore");
            let function = inside.strip_prefix("async ").unwrap_or(inside).strip_prefix("fn ");
            let Some((name, _)) = function.and_then(|rest| rest.split_once('(')) else { continue };
            let shows = is_test && !is_ignored;
            (is_test, is_ignored) = (false, false);
            if shows {
                self.0.entry(name.to_owned()).or_default();
                let indent = &line[..line.len() - inside.len()];
                open = Some((name.to_owned(), format!("{indent}}}")));
            }
        }
    }
}

#[test]
fn a_test_that_is_ignored_shows_nothing() {
    let mut tests = Tests(BTreeMap::new());
    tests.read("#[test]\nfn runs() {\n}\n#[test]\n#[ignore = \"elsewhere\"]\nfn does_not() {\n}\n");
    assert!(tests.has("runs") && !tests.has("does_not"));
}
