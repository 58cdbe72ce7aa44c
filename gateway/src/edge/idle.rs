//! The connections on which nothing is under way. They are kept for their clients' convenience, and are the first to go when
//! files or places run out (1.11).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Those of this process, the longest idle first.
#[derive(Default)]
pub struct IdleConnections(Mutex<ByAge>);

#[derive(Default)]
struct ByAge {
    last: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// What one connection does. Until its first request it is neither idle nor busy: that time is bounded otherwise.
pub struct Activity {
    all: Arc<IdleConnections>,
    /// Its place by age, 0 for none. This and the next change under the lock of `all` only.
    place: AtomicU64,
    under_way: AtomicU32,
    call: Arc<Notify>,
}

impl IdleConnections {
    /// Tells the `count` that have been idle for longest to make room.
    pub fn shed(&self, count: usize) {
        let mut by_age = self.lock();
        for _ in 0..count {
            let Some((_, connection)) = by_age.waiting.pop_first() else { return };
            connection.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByAge> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity {
    pub fn new(all: Arc<IdleConnections>) -> Self {
        Self { all, place: AtomicU64::new(0), under_way: AtomicU32::new(0), call: Arc::default() }
    }

    /// One more request is under way on it.
    pub fn begin(&self) {
        let mut by_age = self.all.lock();
        self.under_way.fetch_add(1, Ordering::Relaxed);
        by_age.waiting.remove(&self.place.swap(0, Ordering::Relaxed));
    }

    /// One of those that began has ended.
    pub fn end(&self) {
        let mut by_age = self.all.lock();
        if self.under_way.fetch_sub(1, Ordering::Relaxed) == 1 {
            by_age.last += 1;
            self.place.store(by_age.last, Ordering::Relaxed);
            by_age.waiting.insert(self.place.load(Ordering::Relaxed), self.call.clone());
        }
    }

    /// Has whoever waits for [`Activity::called`] look again.
    pub fn call(&self) {
        self.call.notify_one();
    }

    /// It was told to make room, or [`Activity::call`]ed. By now it may be busy again.
    pub async fn called(&self) {
        self.call.notified().await;
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.all.lock().waiting.remove(self.place.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_called(activity: &Activity) -> bool {
        timeout(Duration::from_millis(10), activity.called()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_goes_first_and_who_is_busy_stays() {
        let all = Arc::new(IdleConnections::default());
        let [new, busy, first, second, third] = std::array::from_fn(|_| Activity::new(all.clone()));
        for idle in [&busy, &first, &second, &third] {
            idle.begin();
            idle.end();
        }
        busy.begin();
        busy.begin();
        busy.end();
        all.shed(2);
        assert!(is_called(&first).await && is_called(&second).await);
        assert!(!is_called(&third).await && !is_called(&busy).await && !is_called(&new).await);
        assert!(first.is_idle() && !busy.is_idle());
        busy.end();
        third.begin();
        third.end();
        all.shed(1);
        assert!(is_called(&busy).await && !is_called(&third).await, "since its last request");
        drop(third);
        all.shed(1);
        assert!(all.lock().waiting.is_empty());
    }
}
