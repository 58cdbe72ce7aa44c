//! Who opens a connection over HTTP/2 to a server: one request at a time, so that those that come together share it.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lru::LruCache;
use pingora::prelude::Result;
use pingora::protocols::http::client::HttpSession;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

/// Whoever has waited so long opens one without its turn: connecting hangs for somebody.
const PATIENCE: Duration = Duration::from_secs(3);
/// Until the settings of a new connection have come: before, nobody knows how many requests the server takes at once.
const SETTLING: Duration = Duration::from_millis(20);
/// Servers that are remembered. To forget one costs connections, nothing else.
const SERVERS: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not 0");

/// The servers by what tells their connections apart.
pub struct Turns(std::sync::Mutex<LruCache<u64, Arc<Turn>>>);

#[derive(Default)]
struct Turn {
    /// The server was asked for either version and took HTTP/1.1, where everybody needs a connection.
    is_shared_by_none: AtomicBool,
    /// When the newest connection is open to others.
    settled: Mutex<Option<Instant>>,
}

impl Turns {
    pub fn new() -> Self {
        Self(std::sync::Mutex::new(LruCache::new(SERVERS)))
    }

    /// Waits for the turn to `open`: that takes a place on an open connection, or opens another, and says which.
    pub async fn wait(
        &self,
        server: u64,
        open: impl Future<Output = Result<(HttpSession, bool)>>,
    ) -> Result<(HttpSession, bool)> {
        let turn = self.of(server);
        let alone = || turn.is_shared_by_none.load(Ordering::Relaxed);
        let mut settled = if alone() { None } else { timeout(PATIENCE, turn.settled.lock()).await.ok() };
        if alone() {
            settled = None;
        }
        if let Some(moment) = settled.as_deref().copied().flatten().filter(|moment| *moment > Instant::now()) {
            sleep_until(moment).await;
        }
        let (http, reused) = open.await?;
        let is_http2 = matches!(http, HttpSession::H2(_));
        turn.is_shared_by_none.store(!is_http2, Ordering::Relaxed);
        if let Some(settled) = &mut settled
            && is_http2
            && !reused
        {
            **settled = Some(Instant::now() + SETTLING);
        }
        Ok((http, reused))
    }

    fn of(&self, server: u64) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get_or_insert(server, Arc::default).clone()
    }
}
