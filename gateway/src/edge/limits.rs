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
    requests: Rates<Index>,
    refusals: Rates<SourceAddress>,
}

impl LimitSettings {
    pub const UNBOUNDED: Self = Self { requests: Rate::UNBOUNDED, refusals: Rate::UNBOUNDED };
}

impl Limits {
    pub fn new(settings: LimitSettings) -> Self {
        Self { requests: Rates::new(settings.requests), refusals: Rates::new(settings.refusals) }
    }

    /// # Errors
    /// When the session calls too often: for how long to wait.
    pub fn request(&self, session: Index) -> Result<(), Duration> {
        self.requests.count(&session)
    }

    /// # Errors
    /// When the address was refused too often.
    pub fn refusal(&self, source: SourceAddress) -> Result<(), Duration> {
        self.refusals.count(&source)
    }
}
