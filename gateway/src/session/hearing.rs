//! Hearing from other replicas which sessions have ended: what is at hand of them is forgotten, what is open is cut.

use std::sync::{Arc, OnceLock};

use tokio::task::AbortHandle;

use super::Sessions;
use super::cache::Cache;
use super::watch::OpenStreams;
use crate::clock::Clock;
use crate::sealed::Index;
use crate::store::{Announcement, Listener};

/// What the end of a session is announced on: its index, 32 bytes. Who may write there can end sessions here for five
/// minutes, which is less than what the same rights in the store can.
pub(super) const REVOKED: &str = "sallyport:revoked";

/// The task that listens. It ends with its owner, or before with the runtime that serves.
#[derive(Default)]
pub(super) struct Hearing(OnceLock<AbortHandle>);

/// Whoever does not listen any more must say so, however that came.
struct Ear {
    cache: Arc<Cache>,
    streams: OpenStreams,
}

impl Sessions {
    /// The first request begins it, so that it runs where requests are served and not where the server was built.
    pub(super) fn begin_to_hear(&self) {
        self.hearing.0.get_or_init(|| {
            let listener = self.store.listen(REVOKED);
            let ear = Ear { cache: self.cache.clone(), streams: self.streams.clone() };
            tokio::spawn(hear(ear, listener, self.clock.clone())).abort_handle()
        });
    }
}

async fn hear(ear: Ear, mut listener: Box<dyn Listener>, clock: Clock) {
    loop {
        match listener.next().await {
            Announcement::Listening => ear.cache.hear(),
            Announcement::Lost => {
                tracing::warn!("revocations of other replicas may be missed: sessions are looked up every second");
                ear.cache.deafen();
            }
            Announcement::Said(message) => match message.try_into() {
                Ok(session) => {
                    ear.cache.revoke(Index(session), clock.now());
                    ear.streams.ended(Index(session));
                }
                Err(message) => tracing::warn!(length = message.len(), "a revocation that names no session"),
            },
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.cache.deafen();
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}
