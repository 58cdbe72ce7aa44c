//! One letter for a table.
//!
//! The share of the weight of what was tried that passed: A from 95 %, B from 85 %, C from 70 %, D from 50 %, else F.
//! A failure of high severity caps it at B, a critical one at D. When more weight was left untried than tried there is no grade.

use std::fmt;

use serde::Serialize;

use super::case::{Row, Severity, Verdict};

#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd, Ord, Serialize)]
pub enum Letter {
    F,
    D,
    C,
    B,
    A,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Grade {
    /// None: too little was tried.
    pub letter: Option<Letter>,
    /// Weights.
    pub passed: u32,
    pub failed: u32,
    pub untried: u32,
}

impl Grade {
    pub fn of(rows: &[Row]) -> Self {
        let weight = |is: fn(&Verdict) -> bool| {
            rows.iter().filter(|row| is(&row.verdict)).map(|row| row.severity.weight()).sum::<u32>()
        };
        let passed = weight(|verdict| matches!(verdict, Verdict::Passed(_)));
        let failed = weight(|verdict| matches!(verdict, Verdict::Failed(_)));
        let untried = weight(|verdict| matches!(verdict, Verdict::Untried(_)));
        let tried = passed + failed;
        let worst = rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed(_))).map(|row| row.severity).max();
        let cap = match worst {
            Some(Severity::Critical) => Letter::D,
            Some(Severity::High) => Letter::B,
            _ => Letter::A,
        };
        let letter = (tried > 0 && untried <= tried).then(|| by_share(passed * 100 / tried).min(cap));
        Self { letter, passed, failed, untried }
    }
}

fn by_share(percent: u32) -> Letter {
    match percent {
        95.. => Letter::A,
        85.. => Letter::B,
        70.. => Letter::C,
        50.. => Letter::D,
        _ => Letter::F,
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.letter {
            Some(letter) => write!(f, "{letter:?}")?,
            None => write!(f, "none, for too little was tried")?,
        }
        write!(f, " ({} of {} points", self.passed, self.passed + self.failed)?;
        if self.untried > 0 {
            write!(f, "; {} not tried", self.untried)?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(severity: Severity, verdict: fn(String) -> Verdict) -> Row {
        Row { id: "X1", severity, tried: "", source: "", verdict: verdict(String::new()) }
    }

    fn letter(rows: &[Row]) -> Option<Letter> {
        Grade::of(rows).letter
    }

    #[test]
    fn a_bad_failure_caps_what_the_share_would_give() {
        let mut rows = vec![row(Severity::Critical, Verdict::Passed); 20];
        assert_eq!(letter(&rows), Some(Letter::A));
        rows.push(row(Severity::Low, Verdict::Failed));
        assert_eq!(letter(&rows), Some(Letter::A));
        rows.push(row(Severity::High, Verdict::Failed));
        assert_eq!(letter(&rows), Some(Letter::B));
        rows.push(row(Severity::Critical, Verdict::Failed));
        assert_eq!(letter(&rows), Some(Letter::D));
    }

    #[test]
    fn what_is_advice_or_not_there_counts_for_nothing() {
        let rows =
            [Verdict::Passed, Verdict::Advice, Verdict::NotApplicable].map(|verdict| row(Severity::High, verdict));
        assert_eq!(Grade::of(&rows), Grade { letter: Some(Letter::A), passed: 4, failed: 0, untried: 0 });
    }

    #[test]
    fn too_little_tried_is_no_grade() {
        assert_eq!(letter(&[]), None);
        let rows = [row(Severity::Low, Verdict::Passed), row(Severity::High, Verdict::Untried)];
        assert_eq!(letter(&rows), None);
        assert!(Grade::of(&rows).to_string().contains("too little"));
    }
}
