//! A case, and what became of it.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::http::Trouble;
use super::subject::Subject;

/// What is tried.
pub struct Case {
    /// An area and a number, stable from version to version.
    pub id: &'static str,
    pub severity: Severity,
    /// The attack, in one line.
    pub tried: &'static str,
    /// What forbids it: a section of a specification, or a published attack. T and S are rows of the threat model.
    pub source: &'static str,
    pub run: for<'a> fn(&'a Subject) -> BoxFuture<'a, Outcome>,
}

pub type Outcome = Result<Verdict, Trouble>;

/// How bad it is when the attack works.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    /// Somebody gets a token or a session that is not his.
    Critical,
}

impl Severity {
    /// What the case counts in the grade.
    pub fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Medium => 2,
            Self::High => 4,
            Self::Critical => 8,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Each with its evidence or reason, in one line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "evidence")]
pub enum Verdict {
    Passed(String),
    Failed(String),
    /// Nothing works that must not, but a SHOULD is not followed. Counts for nothing.
    Advice(String),
    /// The target does not have what would be attacked.
    NotApplicable(String),
    Untried(String),
}

impl Verdict {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed(_) => "pass",
            Self::Failed(_) => "FAIL",
            Self::Advice(_) => "advice",
            Self::NotApplicable(_) => "not applicable",
            Self::Untried(_) => "not tried",
        }
    }

    pub fn evidence(&self) -> &str {
        let (Self::Passed(text)
        | Self::Failed(text)
        | Self::Advice(text)
        | Self::NotApplicable(text)
        | Self::Untried(text)) = self;
        text
    }
}

pub fn pass(evidence: impl Into<String>) -> Outcome {
    Ok(Verdict::Passed(evidence.into()))
}

pub fn fail(evidence: impl Into<String>) -> Outcome {
    Ok(Verdict::Failed(evidence.into()))
}

pub fn advice(evidence: impl Into<String>) -> Outcome {
    Ok(Verdict::Advice(evidence.into()))
}

pub fn not_applicable(reason: impl Into<String>) -> Outcome {
    Ok(Verdict::NotApplicable(reason.into()))
}

pub fn untried(reason: impl Into<String>) -> Outcome {
    Ok(Verdict::Untried(reason.into()))
}

/// Passes if nothing was found.
pub fn none_of(found: &[String], good: impl Into<String>) -> Outcome {
    if found.is_empty() { pass(good) } else { fail(found.join("; ")) }
}

/// A case with its verdict: a row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub id: &'static str,
    pub severity: Severity,
    pub tried: &'static str,
    pub source: &'static str,
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Row {
    pub fn new(case: &Case, verdict: Verdict) -> Self {
        Self { id: case.id, severity: case.severity, tried: case.tried, source: case.source, verdict }
    }
}
