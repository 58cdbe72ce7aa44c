//! How often a session may call, an address may be refused, and a connection of HTTP/2 take its requests back; and how much
//! may be under way in all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    requests: Rates<Index>,
    refusals: Rates<SourceAddress>,
    exchanges: Arc<Semaphore>,
    resets: u32,
}

/// The place of one exchange among all, until it is dropped.
pub struct Exchange {
    _place: OwnedSemaphorePermit,
}

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
            requests: Rates::new(settings.requests),
            refusals: Rates::new(settings.refusals),
            exchanges: Arc::new(Semaphore::new(settings.exchanges as usize)),
            resets: settings.resets,
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
        // It is never closed, so what fails is that none is left.
        let place = self.exchanges.clone().try_acquire_owned().ok()?;
        Some(Exchange { _place: place })
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
