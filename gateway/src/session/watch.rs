//! Who is being served for which session now, so that its end reaches them: a stream may be open for hours, and must not
//! outlive the permission it was opened with.
//!
//! Every [`Admitted`](super::Admitted) holds a [`Watch`]. It is taken before the session is looked up: an end that falls
//! between the look-up and the stream is not missed. Entries live as long as their watches.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::sealed::Index;

/// The sessions that are in use in this process. Clones share one register.
#[derive(Clone, Default)]
pub struct OpenStreams(Arc<Mutex<HashMap<Index, Arc<Live>>>>);

#[derive(Default)]
struct Live {
    ended: AtomicBool,
    wake: Notify,
    /// Changed under the lock of the register only.
    watches: AtomicUsize,
    streams: AtomicU32,
}

/// Tells when one session ends. Held as long as something is served for it.
pub struct Watch {
    index: Index,
    session: Arc<Live>,
    register: OpenStreams,
}

/// One of the event streams that a session has open; counted until it is dropped.
pub struct StreamSlot(Arc<Live>);

impl OpenStreams {
    /// Begins to watch a session, whether there is one or not.
    pub fn watch(&self, index: Index) -> Watch {
        let session = {
            let mut register = self.lock();
            let session = register.entry(index).or_default();
            session.watches.fetch_add(1, Ordering::SeqCst);
            session.clone()
        };
        Watch { index, session, register: self.clone() }
    }

    /// The session has ended, here or at another replica: whoever watches it is told. Nobody may be.
    pub fn ended(&self, index: Index) {
        let session = self.lock().get(&index).cloned();
        if let Some(session) = session {
            session.ended.store(true, Ordering::SeqCst);
            session.wake.notify_waiters();
        }
    }

    /// Nothing is done under the lock that could leave the register half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<Index, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Comes to an end with the session; at once if that has ended already.
    pub async fn ended(&self) {
        // Before the flag is read: from here on no notification is missed.
        let woken = self.session.wake.notified();
        if !self.session.ended.load(Ordering::SeqCst) {
            woken.await;
        }
    }

    /// How many requests of the session are being served, this one included.
    pub fn requests(&self) -> usize {
        self.session.watches.load(Ordering::SeqCst)
    }

    /// How many event streams the session has open.
    pub fn streams(&self) -> u32 {
        self.session.streams.load(Ordering::SeqCst)
    }

    /// Counts one more, beyond any limit: its request has been answered already.
    pub fn open_stream(&self) -> StreamSlot {
        self.session.streams.fetch_add(1, Ordering::SeqCst);
        StreamSlot(self.session.clone())
    }

    /// Counts one more unless the session has `limit` of them.
    pub fn try_open_stream(&self, limit: u32) -> Option<StreamSlot> {
        let more = |open| (open < limit).then_some(open + 1);
        self.session.streams.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(StreamSlot(self.session.clone()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut register = self.register.lock();
        if self.session.watches.fetch_sub(1, Ordering::SeqCst) == 1 {
            register.remove(&self.index);
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watch(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: Index = Index([1; 32]);
    const OTHER: Index = Index([2; 32]);

    async fn has_ended(watch: &Watch) -> bool {
        tokio::time::timeout(Duration::from_millis(20), watch.ended()).await.is_ok()
    }

    #[tokio::test]
    async fn an_end_reaches_every_watch_of_its_session_and_no_other() {
        let streams = OpenStreams::default();
        let (early, late, other) = (streams.watch(ONE), streams.watch(ONE), streams.watch(OTHER));
        assert!(!has_ended(&early).await);
        let waiting = tokio::spawn(async move { early.ended().await });
        tokio::task::yield_now().await;
        streams.ended(ONE);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
        assert!(has_ended(&late).await, "also one that looks only now");
        assert!(!has_ended(&other).await);
    }

    #[test]
    fn entries_live_as_long_as_their_watches() {
        let streams = OpenStreams::default();
        let watches: Vec<_> = (0..10).map(|_| streams.watch(ONE)).collect();
        assert_eq!(streams.lock().len(), 1);
        drop(watches);
        assert!(streams.lock().is_empty());
        streams.ended(ONE);
        assert!(streams.lock().is_empty(), "an end that nobody waits for leaves nothing");
    }

    #[test]
    fn streams_are_counted_over_all_watches_of_a_session() {
        let streams = OpenStreams::default();
        let (one, same, other) = (streams.watch(ONE), streams.watch(ONE), streams.watch(OTHER));
        let slots: Vec<_> = (0..3).filter_map(|_| one.try_open_stream(2)).collect();
        assert_eq!(slots.len(), 2);
        assert!(same.try_open_stream(2).is_none() && other.try_open_stream(2).is_some());
        let beyond = same.open_stream();
        assert_eq!(one.streams(), 3);
        drop((slots, beyond));
        assert_eq!(same.streams(), 0);
        assert_eq!((one.requests(), other.requests()), (2, 1));
        drop(same);
        assert_eq!(one.requests(), 1);
    }
}
