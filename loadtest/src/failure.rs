//! Why a request has no good answer. Counted, and told by kind: no text of the target's gets into a report.

use std::fmt;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Failure {
    /// Nobody listens, or the listener has no room.
    NoConnection,
    /// The connection ended in the middle of an exchange.
    Broken,
    TimedOut,
    /// Not the status that the work expects.
    Status {
        got: u16,
        expected: u16,
    },
    /// The right status, but not what an answer must have.
    Content(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection => formatter.write_str("no connection"),
            Self::Broken => formatter.write_str("the answer broke off"),
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::Status { got, expected } => write!(formatter, "status {got} instead of {expected}"),
            Self::Content(what) => write!(formatter, "no {what} in the answer"),
        }
    }
}
