//! How often a session may call, an address may be refused, and a connection of HTTP/2 take its requests back; and how much
//! may be under way in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
    /// Requests and streams that are under way to all servers, of all sessions together.
    pub exchanges: u32,
    /// Requests that a connection of HTTP/2 may take back within [`RESETS_WITHIN`].
    pub resets: u32,
}

pub struct Limits {
    /// Of one session's requests, how many may be under way. Slow tools would otherwise let one session take all sockets.
    at_once: usize,
    requests: Arc<Rates<Index>>,
    refusals: Arc<Rates<SourceAddress>>,
    exchanges: u32,
    /// Exchanges, of these limits and of those before.
    under_way: Arc<AtomicU32>,
    resets: u32,
}

/// The place of one exchange among all, until it is dropped.
pub struct Exchange(Arc<AtomicU32>);

/// An answer costs more than a reset that forestalls it: rapid resets (CVE-2023-44487) are bounded over such a time.
pub const RESETS_WITHIN: Duration = Duration::from_secs(10);

/// Another request must end first; nobody knows when.
const UNDER_WAY: Duration = Duration::from_secs(1);

impl LimitSettings {
    pub const UNBOUNDED: Self =
        Self { requests: Rate::UNBOUNDED, refusals: Rate::UNBOUNDED, exchanges: u32::MAX, resets: u32::MAX };
}

impl Limits {
    pub fn new(settings: LimitSettings) -> Self {
        Self {
            at_once: usize::try_from(settings.requests.at_once()).unwrap_or(usize::MAX),
            requests: Arc::new(Rates::new(settings.requests)),
            refusals: Arc::new(Rates::new(settings.refusals)),
            exchanges: settings.exchanges,
            under_way: Arc::default(),
            resets: settings.resets,
        }
    }

    /// Goes on with what those `before` have counted: a reload must not give anybody a fresh start. A rate that is another one
    /// begins anew.
    pub fn after(self, before: &Self) -> Self {
        Self {
            requests: Rates::after(self.requests, &before.requests),
            refusals: Rates::after(self.refusals, &before.refusals),
            under_way: before.under_way.clone(),
            ..self
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

    /// A place for one more exchange with a server; `None` when too much is under way. Each has a connection of its own, and
    /// over HTTP/2 one client's connection can carry a hundred.
    pub fn exchange(&self) -> Option<Exchange> {
        let one_more = |under_way| (under_way < self.exchanges).then_some(under_way + 1);
        self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Exchange(self.under_way.clone()))
    }

    pub fn resets(&self) -> u32 {
        self.resets
    }

    /// # Errors
    /// When the address was refused too often.
    pub fn refusal(&self, source: SourceAddress) -> Result<(), Duration> {
        self.refusals.count(&source)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_counts_under_the_limits_that_follow_too() {
        let limits = |exchanges| Limits::new(LimitSettings { exchanges, ..LimitSettings::UNBOUNDED });
        let before = limits(2);
        let (one, other) = (before.exchange().unwrap(), before.exchange().unwrap());
        assert!(before.exchange().is_none());
        let wider = limits(3).after(&before);
        let third = wider.exchange().unwrap();
        assert!(wider.exchange().is_none());
        drop((one, other));
        let narrower = limits(1).after(&wider);
        assert!(narrower.exchange().is_none(), "the third one is still there");
        drop(third);
        assert!(narrower.exchange().is_some());
    }
}
