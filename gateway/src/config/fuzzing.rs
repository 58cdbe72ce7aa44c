//! Configuration files, as badly as they can be written.

use std::path::Path;

use super::{Config, Environment, Mistakes, Place};

/// A file; behind a NUL, lines of `NAME=value` are the environment.
pub fn config(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (text, variables) = input.split_once('\0').unwrap_or((input, ""));
    let variables = || variables.lines().filter_map(|line| line.split_once('='));
    let read = || {
        let environment: Environment =
            variables().map(|(name, value)| (format!("SALLYPORT_{name}"), value.to_owned())).collect();
        Config::parse(FILE, text, Path::new("/nonexistent"), &environment)
    };
    match (read(), read()) {
        (Ok(config), Ok(again)) => assert_eq!(config.effective.to_string(), again.effective.to_string()),
        (Err(mistakes), Err(again)) => {
            assert_eq!(mistakes.to_string(), again.to_string());
            are_told_well(&mistakes, text);
        }
        _ => panic!("the same text is good once and bad once"),
    }
}

/// A line for each, which says where it is and cannot steer a terminal.
fn are_told_well(mistakes: &Mistakes, text: &str) {
    assert!(!mistakes.found.is_empty(), "refused without a reason");
    for mistake in &mistakes.found {
        assert!(!mistake.words.is_empty());
        let says_where = !mistake.key.is_empty() || matches!(mistake.place, Place::Variable(_));
        assert!(says_where || mistake.words.starts_with("not TOML: "), "{mistake:?}");
        if let Place::Line(line) = mistake.place {
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "{mistake:?}");
        }
    }
    let shown = mistakes.to_string();
    assert_eq!(shown.matches('\n').count(), mistakes.found.len(), "{shown:?}");
    assert!(!shown.contains(|character: char| character.is_control() && character != '\n'), "{shown:?}");
}

const FILE: &str = "edge.toml";
