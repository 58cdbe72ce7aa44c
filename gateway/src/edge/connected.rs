//! What a connection carries with it from its entrance to each of its requests.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pingora::protocols::raw_connect::ProxyDigest;
use tokio::sync::Notify;

use super::limits::RESETS_WITHIN;

/// Whether a request has come on it, how many were taken back, and whatever is to live as long as it does.
pub struct Connected {
    requested: AtomicBool,
    /// `None` where many clients come on this connection: one of them must not end it for the others.
    resets: Option<Mutex<Resets>>,
    worn_out: Notify,
    _held: Box<dyn Any + Send + Sync>,
}

struct Resets {
    since: Instant,
    count: u32,
}

impl Connected {
    /// `is_shared`: it is a trusted proxy's, on which many clients come.
    pub fn new(held: impl Any + Send + Sync, is_shared: bool) -> Self {
        let resets = (!is_shared).then(|| Mutex::new(Resets { since: Instant::now(), count: 0 }));
        Self { requested: AtomicBool::new(false), resets, worn_out: Notify::new(), _held: Box::new(held) }
    }

    pub fn of(digest: Option<&Arc<ProxyDigest>>) -> Option<&Self> {
        (**digest?.user_data.as_ref()?).downcast_ref()
    }

    /// A request has come.
    pub fn requested(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// A request of HTTP/2 was taken back before its answer had ended; `limit` is how many may be within [`RESETS_WITHIN`].
    pub fn count_reset(&self, limit: u32) {
        let Some(resets) = &self.resets else { return };
        // Nothing panics while it is locked.
        let mut resets = resets.lock().unwrap_or_else(PoisonError::into_inner);
        if resets.since.elapsed() > RESETS_WITHIN {
            *resets = Resets { since: Instant::now(), count: 0 };
        }
        resets.count = resets.count.saturating_add(1);
        if resets.count > limit {
            self.worn_out.notify_one();
        }
    }

    /// Too many requests were taken back.
    pub async fn worn_out(&self) {
        self.worn_out.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_resets_and_one_more() {
        let connected = Connected::new((), false);
        (0..3).for_each(|_| connected.count_reset(3));
        let soon = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, connected.worn_out()).await.is_err());
        connected.count_reset(3);
        assert!(tokio::time::timeout(soon, connected.worn_out()).await.is_ok());
    }

    #[tokio::test]
    async fn a_proxys_connection_is_not_closed_for_one_of_its_clients() {
        let connected = Connected::new((), true);
        (0..100).for_each(|_| connected.count_reset(3));
        let soon = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, connected.worn_out()).await.is_err());
    }
}
