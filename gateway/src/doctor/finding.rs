//! One line of what the doctor says.

use serde::Serialize;

use crate::one_line::visible;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Ok,
    /// It works, and something will not.
    Warn,
    /// It does not work.
    Fail,
}

/// What was looked at, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name, such as `store.eviction`.
    pub check: &'static str,
    pub level: Level,
    pub says: String,
    /// What to do; whatever is not well has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

impl Finding {
    pub fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, says: says.into(), fix: None }
    }

    pub fn warn(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, says: says.into(), fix: Some(fix.into()) }
    }

    pub fn fail(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, says: says.into(), fix: Some(fix.into()) }
    }
}

/// A stranger's words, fit to stand beside ours.
pub fn shown(text: &str) -> String {
    visible(text, LONGEST).unwrap_or_else(|| "nothing".to_owned())
}

/// `3 days`, `1 hour`, in the largest unit that it fills.
pub fn span(seconds: u64) -> String {
    let units = [("day", 24 * 3600), ("hour", 3600), ("minute", 60), ("second", 1)];
    let (unit, size) = units.into_iter().find(|(_, size)| seconds >= *size).unwrap_or(("second", 1));
    match seconds / size {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

/// Characters. Causes of causes are long, and the last one matters.
const LONGEST: usize = 400;
