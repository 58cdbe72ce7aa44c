//! What a page claims names the test that shows it.

use super::project::{Tests, read};

/// The rows of all tables whose last column is `shown by`: the first cell, and what the last one names.
fn claims(page: &str) -> Vec<(String, Vec<String>)> {
    let text = read(page);
    let mut rows = Vec::new();
    let mut is_claims = false;
    for line in text.lines() {
        if !line.starts_with('|') {
            is_claims = false;
        } else if line.ends_with("| shown by |") {
            is_claims = true;
        } else if is_claims && !line.starts_with("| ---") {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            let names = cells.last().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
            rows.push((cells[0].trim().to_owned(), names));
        }
    }
    rows
}

/// At least `least` rows, each with a test or more, all of which are there.
fn are_shown(page: &str, least: usize, tests: &Tests) -> Vec<(String, Vec<String>)> {
    let claims = claims(page);
    assert!(claims.len() >= least, "{page} has {} rows", claims.len());
    for (what, names) in &claims {
        assert!(!names.is_empty(), "{page}: {what} names nothing");
        for name in names {
            assert!(tests.has(name), "{page}: {what} names {name}, which is no test");
        }
    }
    claims
}

#[test]
fn every_error_code_is_met_by_the_test_that_it_names() {
    let tests = Tests::of_project();
    let claims = are_shown("docs/errors.md", 27, &tests);
    let codes: Vec<_> = claims.iter().filter(|(what, _)| what.contains("SP-")).collect();
    // The crate's own tests see to it that these are all there are.
    assert!(codes.len() > 20);
    for (what, names) in codes {
        let code = what.trim_matches('`');
        // Tests of the module `oauth` compare the number alone.
        let (whole, number) = (format!("\"{code}\""), format!("\"{}\"", &code["SP-".len()..]));
        for name in names {
            let body = tests.body(name);
            assert!(body.contains(&whole) || body.contains(&number), "{name} does not look for {code}");
        }
    }
}

#[test]
fn what_is_said_of_failures_and_of_tokens_is_shown() {
    let tests = Tests::of_project();
    are_shown("docs/failure.md", 30, &tests);
    are_shown("docs/token-format.md", 6, &tests);
}
