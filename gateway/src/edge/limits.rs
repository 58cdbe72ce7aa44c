//! How often a session may call, and an address may be refused.

use std::time::Duration;

use crate::rate::{Rate, Rates};
use crate::sealed::Index;
use crate::source::SourceAddress;

#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Of a session.
    pub requests: Rate,
    /// Answers of 401 for an address.
    pub refusals: Rate,
}

pub struct Limits {
    /// Of one session's requests, how many may be under way. Slow tools would otherwise let one session take all sockets.
    at_once: usize,
    requests: Rates<Index>,
    refusals: Rates<SourceAddress>,
}

/// Another request must end first; nobody knows when.
const UNDER_WAY: Duration = Duration::from_secs(1);

impl LimitSettings {
    pub const UNBOUNDED: Self = Self { requests: Rate::UNBOUNDED, refusals: Rate::UNBOUNDED };
}

impl Limits {
    pub fn new(settings: LimitSettings) -> Self {
        Self {
            at_once: usize::try_from(settings.requests.at_once()).unwrap_or(usize::MAX),
            requests: Rates::new(settings.requests),
            refusals: Rates::new(settings.refusals),
        }
    }

    /// `under_way`: how many requests of the session are being served, this one included.
    ///
    /// # Errors
    /// When the session calls too often, or too much at once: for how long to wait.
    pub fn request(&self, session: Index, under_way: usize) -> Result<(), Duration> {
        if under_way > self.at_once {
            return Err(UNDER_WAY);
        }
        self.requests.count(&session)
    }

    /// # Errors
    /// When the address was refused too often.
    pub fn refusal(&self, source: SourceAddress) -> Result<(), Duration> {
        self.refusals.count(&source)
    }
}
