//! docs/assurance.md: no row without a figure or a reason, and what is to repeat it is there.

use super::project::{Tests, project, read};

const COLUMNS: usize = 6;

fn rows() -> Vec<Vec<String>> {
    let text = read("docs/assurance.md");
    let mut rows = text.lines().skip_while(|line| !line.starts_with("| id |")).skip(2);
    let mut table = Vec::new();
    while let Some(row) = rows.next().and_then(|line| line.strip_prefix("| ")?.strip_suffix(" |")) {
        table.push(row.split('|').map(|cell| cell.trim().to_owned()).collect());
    }
    table
}

#[test]
fn each_row_of_assurance_has_a_figure_or_a_reason_and_can_be_repeated() {
    let rows = rows();
    let ids: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let numbered = |kind: char, last: u32| (1..=last).map(move |number| format!("{kind}{number}"));
    let others = ["attack", "model", "schedules", "memory"].map(str::to_owned);
    let expected: Vec<String> = numbered('I', 7).chain(numbered('R', 24)).chain(others).collect();
    assert_eq!(ids, expected, "each once, in order");

    let (tests, makefile) = (Tests::of_project(), read("Makefile"));
    for row in &rows {
        let id = &row[0];
        assert_eq!(row.len(), COLUMNS, "{id}: a cell of its own for everything");
        let [_, done, figure, seed, commit, again] = row.as_slice() else { unreachable!("counted above") };
        assert!(!done.is_empty(), "{id} says nothing of what was done");
        let is_missing = figure.starts_with("not reached: ");
        assert!(is_missing || figure.contains(|it: char| it.is_ascii_digit()), "{id}: {figure}");
        assert!(seed.chars().all(|it| it.is_ascii_digit()), "{id}: {seed} is no seed");
        let is_hash = |it: &str| (7..=12).contains(&it.len()) && it.chars().all(|it| it.is_ascii_hexdigit());
        assert!(commit.split(", ").all(is_hash) || is_missing && commit.is_empty(), "{id}: {commit} is no commit");
        let names: Vec<&str> = again.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{id} cannot be repeated");
        for name in names {
            let mut words = name.split(' ');
            let is_there = match (words.next(), words.next()) {
                (Some("make"), Some(target)) => makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
                (Some("cargo"), Some("run" | "test")) => names_a_package(name),
                _ => tests.has(name),
            };
            assert!(is_there, "{id} names {name}, which is not there");
        }
    }
}

/// Of the workspace, and its test program if it names one.
fn names_a_package(command: &str) -> bool {
    let words: Vec<&str> = command.split(' ').collect();
    let after = |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied();
    let folder = match after("-p") {
        Some("sallyport") => "gateway",
        Some(package) => package,
        None => return false,
    };
    let test = after("--test").is_none_or(|test| project().join(folder).join(format!("tests/{test}.rs")).is_file());
    project().join(folder).join("Cargo.toml").is_file() && test
}
