//! The threat model names what shows each of its rows, and what it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names of the tests in all Rust files below a folder: functions right below an attribute that makes one a test.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests_in(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

fn tests_in(text: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        is_test |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some((name, _)) = function.and_then(|rest| rest.split_once('(')) {
            if is_test {
                found.insert(name.to_owned());
            }
            is_test = false;
        }
    }
}

/// A row's id, and what its last cell names.
fn row(line: &str) -> Option<(&str, Vec<&str>)> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let (id, shown_by) = (cells.first()?, cells.last()?);
    let number = id.strip_prefix(['T', 'S', 'M'])?;
    number.parse::<u32>().ok()?;
    Some((id, shown_by.split('`').skip(1).step_by(2).collect()))
}

#[test]
fn each_threat_names_what_shows_that_it_is_met() {
    let text = fs::read_to_string(project().join("docs/threat-model.md")).unwrap();
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    let ids: Vec<&str> = rows.iter().map(|(id, _)| *id).collect();
    let expected = [('T', 44), ('S', 18), ('M', 7)];
    let expected: Vec<String> =
        expected.iter().flat_map(|(kind, last)| (1..=*last).map(move |n| format!("{kind}{n}"))).collect();
    assert_eq!(ids, expected, "each once, in order");

    let mut tests = BTreeSet::new();
    for package in ["gateway", "entra", "mcp-server"] {
        tests_below(&project().join(package), &mut tests);
    }
    let clients = project().join("gateway/tests/clients");
    let is_there = |name: &str| tests.contains(name) || (name.ends_with(".mjs") && clients.join(name).is_file());
    for (id, names) in rows {
        assert!(!names.is_empty(), "{id} names nothing");
        for name in names {
            assert!(is_there(name), "{id} names {name}, which is no test");
        }
    }
}

/// T43.
#[test]
fn everything_comes_from_the_registry_with_a_checksum() {
    let lock = fs::read_to_string(project().join("Cargo.lock")).unwrap();
    let mut ours = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let name = value("name").unwrap();
        match value("source") {
            None => ours.push(name),
            Some(source) => {
                assert!(source.starts_with("registry+"), "{name} comes from {source}");
                assert_eq!(value("checksum").map(|sum| sum.len()), Some(64), "{name}");
            }
        }
    }
    assert!(ours.iter().all(|name| is_member(name)), "{ours:?}");
}

/// Whether a member of the workspace has this name.
fn is_member(name: &str) -> bool {
    let workspace = fs::read_to_string(project().join("Cargo.toml")).unwrap();
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    let manifests = members.split('"').skip(1).step_by(2).map(|member| project().join(member).join("Cargo.toml"));
    let line = format!("name = \"{name}\"");
    manifests.into_iter().any(|path| fs::read_to_string(path).unwrap().lines().any(|found| found == line))
}
