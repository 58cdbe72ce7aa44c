//! What a [`crate::Client`] tells whoever counts its requests (GU-14). It says kinds and numbers from closed sets, and nothing
//! that came from outside: whatever the observer makes labels of stays few.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;
use crate::aadsts::Code;

/// Told of every request to Entra, a repeated one too. Neither method may block.
pub trait Observer: Send + Sync {
    fn begun(&self, operation: Operation);

    /// Follows every [`Observer::begun`], also when nobody waits for the answer any more.
    fn ended(&self, operation: Operation, outcome: Outcome, code: Code, took: Duration);
}

/// What Entra is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    AuthorizationCode,
    RefreshToken,
    OnBehalfOf,
    ClientCredentials,
    Keys,
    Discovery,
}

/// What became of it, by who can mend it; as [`Error`], but for a token that was not to be trusted: the request was good then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Ok,
    UserMustAct,
    Refused,
    TryLater,
    SetUp,
    /// Given up by us before the answer.
    Cut,
}

impl Operation {
    pub const ALL: [Self; 6] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::OnBehalfOf,
        Self::ClientCredentials,
        Self::Keys,
        Self::Discovery,
    ];

    /// Grants by the name that OAuth gives them.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::OnBehalfOf => "on_behalf_of",
            Self::ClientCredentials => "client_credentials",
            Self::Keys => "keys",
            Self::Discovery => "discovery",
        }
    }
}

impl Outcome {
    pub const ALL: [Self; 6] = [Self::Ok, Self::UserMustAct, Self::Refused, Self::TryLater, Self::SetUp, Self::Cut];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::UserMustAct => "user_must_act",
            Self::Refused => "refused",
            Self::TryLater => "try_later",
            Self::SetUp => "set_up",
            Self::Cut => "cut",
        }
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error {
            Error::UserMustAct(_) => Self::UserMustAct,
            Error::Refused(_) => Self::Refused,
            Error::TryLater { .. } => Self::TryLater,
            Error::SetUp(_) | Error::Untrusted(_) | Error::OtherTenant { .. } => Self::SetUp,
        }
    }
}

/// For whoever counts nothing.
pub(crate) struct Nobody;

impl Observer for Nobody {
    fn begun(&self, _: Operation) {}
    fn ended(&self, _: Operation, _: Outcome, _: Code, _: Duration) {}
}

/// One request, observed from here until it is told how it ended, or dropped.
pub(crate) struct Observed {
    observer: Arc<dyn Observer>,
    operation: Operation,
    begun: Instant,
    ended: bool,
}

impl Observed {
    pub fn begin(observer: &Arc<dyn Observer>, operation: Operation) -> Self {
        observer.begun(operation);
        Self { observer: observer.clone(), operation, begun: Instant::now(), ended: false }
    }

    pub fn end(mut self, outcome: Outcome, code: Code) {
        self.tell(outcome, code);
    }

    fn tell(&mut self, outcome: Outcome, code: Code) {
        self.ended = true;
        self.observer.ended(self.operation, outcome, code, self.begun.elapsed());
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Outcome::Cut, Code::None);
        }
    }
}
