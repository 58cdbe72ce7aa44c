//! What a connection carries with it from its entrance to each of its requests.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pingora::protocols::raw_connect::ProxyDigest;

use super::idle::{Activity, IdleConnections};
use super::limits::RESETS_WITHIN;

/// Whether a request has come on it and is under way, how many were taken back, and whatever is to live as long as it does.
pub struct Connected {
    requested: AtomicBool,
    activity: Activity,
    /// `None` where many clients come on this connection: one of them must not end it for the others.
    resets: Option<Mutex<Resets>>,
    worn_out: AtomicBool,
    _held: Box<dyn Any + Send + Sync>,
}

struct Resets {
    since: Instant,
    count: u32,
}

impl Connected {
    /// `is_shared`: it is a trusted proxy's, on which many clients come.
    pub fn new(held: impl Any + Send + Sync, is_shared: bool, idle: Arc<IdleConnections>) -> Self {
        let resets = (!is_shared).then(|| Mutex::new(Resets { since: Instant::now(), count: 0 }));
        Self {
            requested: AtomicBool::new(false),
            activity: Activity::new(idle),
            resets,
            worn_out: AtomicBool::new(false),
            _held: Box::new(held),
        }
    }

    pub fn of(digest: Option<&Arc<ProxyDigest>>) -> Option<&Self> {
        (**digest?.user_data.as_ref()?).downcast_ref()
    }

    /// A request has come. [`Connected::answered`] is for its end.
    pub fn requested(&self) {
        self.requested.store(true, Ordering::Relaxed);
        self.activity.begin();
    }

    pub fn answered(&self) {
        self.activity.end();
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
            self.worn_out.store(true, Ordering::Relaxed);
            self.activity.call();
        }
    }

    /// It must end now: by which limit, as the metric calls it.
    pub async fn is_over(&self) -> &'static str {
        loop {
            self.activity.called().await;
            if self.worn_out.load(Ordering::Relaxed) {
                return "resets";
            }
            // A stream of HTTP/2 that was just accepted says so from a task of its own.
            tokio::task::yield_now().await;
            if self.activity.is_idle() {
                return "idle";
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn over(connected: &Connected) -> Option<&'static str> {
        timeout(Duration::from_millis(10), connected.is_over()).await.ok()
    }

    #[tokio::test]
    async fn so_many_resets_and_one_more() {
        let connected = Connected::new((), false, Arc::default());
        (0..3).for_each(|_| connected.count_reset(3));
        assert_eq!(over(&connected).await, None);
        connected.count_reset(3);
        assert_eq!(over(&connected).await, Some("resets"));
    }

    #[tokio::test]
    async fn a_proxys_connection_is_not_closed_for_one_of_its_clients() {
        let connected = Connected::new((), true, Arc::default());
        (0..100).for_each(|_| connected.count_reset(3));
        assert_eq!(over(&connected).await, None);
    }

    #[tokio::test]
    async fn it_makes_room_only_while_nothing_is_under_way() {
        let idle = Arc::new(IdleConnections::default());
        let connected = Connected::new((), false, idle.clone());
        connected.requested();
        connected.answered();
        idle.shed(1);
        connected.requested();
        assert_eq!(over(&connected).await, None, "a request came in the meantime");
        connected.answered();
        idle.shed(1);
        assert_eq!(over(&connected).await, Some("idle"));
    }
}
