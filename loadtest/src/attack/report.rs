//! The table, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use url::Url;

use super::case::{Row, Verdict};
use super::grade::Grade;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub target: String,
    pub version: &'static str,
    pub rows: Vec<Row>,
    pub grade: Grade,
    pub requests: u64,
    pub seconds: u64,
}

impl Report {
    pub fn new(target: &Url, rows: Vec<Row>, requests: u64, took: Duration) -> Self {
        let grade = Grade::of(&rows);
        Self {
            target: target.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            rows,
            grade,
            requests,
            seconds: took.as_secs(),
        }
    }

    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed(_)))
    }

    fn count(&self, name: &str) -> usize {
        self.rows.iter().filter(|row| row.verdict.name() == name).count()
    }
}

/// Markdown that a terminal shows as well.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Target {}: grade **{}**", self.target, self.grade)?;
        let counts = ["pass", "FAIL", "advice", "not applicable", "not tried"];
        let counts = counts.map(|name| format!("{} {name}", self.count(name))).join(", ");
        writeln!(f, "\n{counts}. {} requests in {} s.\n", self.requests, self.seconds)?;
        writeln!(f, "| case | severity | what was tried | verdict | evidence | source |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            let (severity, verdict) = (row.severity.name(), row.verdict.name());
            let evidence = cell(row.verdict.evidence());
            writeln!(f, "| {} | {severity} | {} | {verdict} | {evidence} | {} |", row.id, row.tried, row.source)?;
        }
        Ok(())
    }
}

/// What a target said is somebody else's text: on one line, in no cell but its own, and not a terminal's command.
fn cell(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars().take(LONGEST) {
        match letter {
            '|' => shown.push_str("\\|"),
            '<' => shown.push_str("&lt;"),
            _ if letter.is_control() => shown.push('·'),
            _ => shown.push(letter),
        }
    }
    if text.chars().count() > LONGEST {
        shown.push('…');
    }
    shown
}

const LONGEST: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::case::Severity;

    #[test]
    fn a_targets_words_stay_in_their_cell() {
        let evidence = "a|b\n\u{1b}[31m<script>".to_owned() + &"x".repeat(300);
        let verdict = Verdict::Failed(evidence);
        let rows = vec![Row { id: "D1", severity: Severity::Low, tried: "t", source: "s", verdict }];
        let url = Url::parse("http://localhost:1/mcp").unwrap();
        let text = Report::new(&url, rows, 1, Duration::ZERO).to_string();
        let row = text.lines().last().unwrap();
        assert!(row.contains("a\\|b··[31m&lt;script>xxx") && row.contains('…'), "{row}");
        assert!(!text.contains('\u{1b}'));
    }
}
