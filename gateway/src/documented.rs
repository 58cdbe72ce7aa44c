//! For tests only: pages of docs/ beside the code that they tell of. Tables that are made from code are written anew by
//! `make docs-reference`; of the others the names are compared.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Several tables may be on one page.
static WRITING: Mutex<()> = Mutex::new(());

fn file(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page)
}

pub fn read(page: &str) -> String {
    std::fs::read_to_string(file(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// That the part of a page between its two marks is `fresh`. With `UPDATE_DOCS` set it becomes so.
pub fn is_generated(page: &str, name: &str, fresh: &str) {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let document = read(page);
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("{page} has no mark {begin}"));
    let (old, after) = rest.split_once(END).unwrap_or_else(|| panic!("{page} has no mark {END}"));
    if old == fresh {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/{page} is not what the code says of {name}: run `make docs-reference`"
    );
    std::fs::write(file(page), format!("{before}{begin}{fresh}{END}{after}")).unwrap();
}

/// A table of generated rows.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    let rows: String = rows.into_iter().map(|cells| line(&cells)).collect();
    line(&head) + &line(&rule) + &rows
}

/// The cells of the first table under a heading, without its head.
pub fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let (_, after) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{page} has no {heading}"));
    let lines = after.lines().take_while(|line| !line.starts_with("## "));
    let table = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.skip(2).map(cells).collect()
}

/// A bar behind a backslash is none between cells.
pub fn cells(line: &str) -> Vec<String> {
    let inside = line.trim_matches('|').replace("\\|", "\0");
    inside.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// What stands between backticks.
pub fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

const END: &str = "<!-- generated: end -->";
