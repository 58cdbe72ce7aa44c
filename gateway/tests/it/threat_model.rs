//! The threat model names what shows each of its rows, and what it names is there.

use std::fs;

use crate::docs::project::{Tests, project};

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

    let tests = Tests::of_project();
    for (id, names) in rows {
        assert!(!names.is_empty(), "{id} names nothing");
        for name in names {
            assert!(tests.has(name), "{id} names {name}, which is no test");
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
