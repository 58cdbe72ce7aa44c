//! Hearing from other replicas which sessions have ended: what is at hand of them is forgotten, what is open is cut. And of which
//! ones the record has changed, so that it is read again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Sessions;
use super::cache::Cache;
use super::watch::OpenStreams;
use crate::clock::Clock;
use crate::sealed::Index;
use crate::store::{Announcement, Listener, Store};

/// What is announced on: a [`Word`]. Who may write there can end sessions here for five minutes, which is less than what the same
/// rights in the store can.
pub const REVOKED: &str = "sallyport:revoked";

/// What is said of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// 32 bytes, its index.
    Ended(Index),
    /// 33 bytes, its index and [`CHANGED`]. A replica that does not know this form looks again after half a minute.
    Changed(Index),
}

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
            tokio::spawn(hear(ear, listener, self.store.clone(), self.clock.clone())).abort_handle()
        });
    }
}

async fn hear(ear: Ear, mut listener: Box<dyn Listener>, store: Arc<dyn Store>, clock: Clock) {
    loop {
        match listener.next().await {
            Announcement::Listening => {
                // Whoever begins anew has nothing at hand, and must not while the store comes back on another connection: for
                // that moment the known would be told to come later (R3). What is said meanwhile waits; a second at most.
                let _ = timeout(STORE_FIRST, answers(&*store)).await;
                ear.cache.hear();
            }
            Announcement::Lost => {
                tracing::warn!("revocations of other replicas may be missed: sessions are looked up every second");
                ear.cache.deafen();
            }
            Announcement::Said(message) => match Word::parse(&message) {
                Some(Word::Ended(session)) => {
                    ear.cache.revoke(session, clock.now());
                    ear.streams.ended(session);
                }
                Some(Word::Changed(session)) => ear.cache.change(session, clock.now()),
                None => tracing::warn!(length = message.len(), "an announcement that names no session"),
            },
        }
    }
}

/// Waits until the store answers. There is nothing under the name.
async fn answers(store: &dyn Store) {
    while store.get(REVOKED).await.is_err() {
        sleep(POLL).await;
    }
}

impl Word {
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Ended(session) => session.0.to_vec(),
            Self::Changed(session) => [&session.0[..], &[CHANGED]].concat(),
        }
    }

    fn parse(message: &[u8]) -> Option<Self> {
        match message.split_first_chunk::<32>()? {
            (session, []) => Some(Self::Ended(Index(*session))),
            (session, [CHANGED]) => Some(Self::Changed(Index(*session))),
            _ => None,
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

const CHANGED: u8 = 1;
const STORE_FIRST: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::clock::Timestamp;
    use crate::secret::SecretKey;
    use crate::session::cache::{Entry, Verifier};
    use crate::store::Switchable;

    /// Says these, the last one first.
    struct Scripted(Vec<Announcement>);

    #[async_trait]
    impl Listener for Scripted {
        async fn next(&mut self) -> Announcement {
            match self.0.pop() {
                Some(announcement) => announcement,
                None => std::future::pending().await,
            }
        }
    }

    #[test]
    fn what_is_said_is_heard_as_it_was_meant() {
        let session = Index([7; 32]);
        for word in [Word::Ended(session), Word::Changed(session)] {
            assert_eq!(Word::parse(&word.to_bytes()), Some(word));
        }
        for other in [&[][..], &[7; 31], &[7; 33], &[7; 34]] {
            assert_eq!(Word::parse(other), None, "{other:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_hears_again_begins_anew_when_the_store_answers_or_a_second_later() {
        let (session, verifier) = (Index([7; 32]), || Verifier::of(&SecretKey::new([1; 32])));
        for (back_after, kept_for) in [(300, 300), (60_000, 1000)] {
            let now = Timestamp::from_unix(1_000_000);
            let clock = Clock::manual(now);
            let (cache, store) = (Arc::new(Cache::new(10)), Arc::new(Switchable::new(clock.clone())));
            let entry = Entry::of("token", verifier(), now.after(Duration::from_secs(99)), None, now, cache.epoch());
            cache.keep(session, Arc::new(entry.unwrap()), cache.epoch());
            store.switch(false);
            let listener = Box::new(Scripted(vec![Announcement::Listening]));
            let hearing = tokio::spawn(hear(
                Ear { cache: cache.clone(), streams: OpenStreams::default() },
                listener,
                store.clone(),
                clock,
            ));
            sleep(Duration::from_millis(kept_for - 10)).await;
            assert!(cache.stale(session, &verifier(), now).is_some(), "it stands in for the store");
            store.switch(back_after < 1000);
            sleep(Duration::from_millis(100)).await;
            assert!(cache.stale(session, &verifier(), now).is_none(), "its end may have been missed");
            hearing.abort();
        }
    }
}
