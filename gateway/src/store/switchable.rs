//! For tests: a store in memory that can be switched off, counts what it is asked, and whose records
//! somebody may alter.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{Advance, Claim, Guarded, Listener, MemoryStore, Page, Redemption, Step, Store, StoreError};
use crate::clock::{Clock, Timestamp};

pub struct Switchable {
    inner: MemoryStore,
    down: AtomicBool,
    calls: AtomicUsize,
    reads: AtomicU64,
    /// The number of the call from which on it is down.
    last: AtomicUsize,
    /// The number of the call that is done although nobody hears of it.
    lost: AtomicUsize,
    altered: AtomicBool,
    /// What is written under names that begin so is gone at once, as if somebody had removed it.
    losing: Mutex<Option<&'static str>>,
    /// The next [`Store::get`] waits for this, and fails.
    held: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Switchable {
    pub fn new(clock: Clock) -> Self {
        Self {
            inner: MemoryStore::new(clock),
            down: AtomicBool::default(),
            calls: AtomicUsize::default(),
            reads: AtomicU64::default(),
            last: AtomicUsize::new(usize::MAX),
            lost: AtomicUsize::new(usize::MAX),
            altered: AtomicBool::default(),
            losing: Mutex::default(),
            held: Mutex::default(),
        }
    }

    pub fn switch(&self, on: bool) {
        self.down.store(!on, Ordering::SeqCst);
        self.last.store(usize::MAX, Ordering::SeqCst);
        self.lost.store(usize::MAX, Ordering::SeqCst);
    }

    /// How often it was asked for anything.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How often [`Store::get`] was called, answered or not.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Goes down when it has answered so often.
    pub fn switch_off_after(&self, answers: usize) {
        self.last.store(self.calls() + answers, Ordering::SeqCst);
    }

    /// Does what it is asked next after so many answers, and does not say so.
    pub fn lose_answer_after(&self, answers: usize) {
        self.lost.store(self.calls() + answers, Ordering::SeqCst);
    }

    /// From now on every record comes back with its last byte changed.
    pub fn alter(&self, on: bool) {
        self.altered.store(on, Ordering::SeqCst);
    }

    /// From now on what [`Store::put`] writes under names that begin so is gone at once.
    pub fn lose(&self, beginning: Option<&'static str>) {
        *self.losing.lock().unwrap() = beginning;
    }

    /// The next [`Store::get`] has no answer, and that is known when what this gives is dropped.
    pub fn hold_next_read(&self) -> oneshot::Sender<()> {
        let (release, held) = oneshot::channel();
        *self.held.lock().unwrap() = Some(held);
        release
    }

    fn read(&self, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut value = value?;
        if self.altered.load(Ordering::SeqCst) {
            *value.last_mut().expect("no record is empty") ^= 1;
        }
        Some(value)
    }

    /// Does what it is asked, if it is on.
    async fn answer<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let lost = call == self.lost.load(Ordering::SeqCst);
        if !lost && (self.down.load(Ordering::SeqCst) || call >= self.last.load(Ordering::SeqCst)) {
            return Err(StoreError::Unavailable("switched off".into()));
        }
        match (asked.await, lost) {
            (Ok(_), true) => Err(StoreError::Unavailable("its answer was lost".into())),
            (answer, _) => answer,
        }
    }
}

#[async_trait]
impl Store for Switchable {
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        let lost = self.losing.lock().unwrap().is_some_and(|beginning| name.starts_with(beginning));
        match lost {
            true => self.answer(async { Ok(()) }).await,
            false => self.answer(self.inner.put(name, value, lifetime)).await,
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let held = self.held.lock().unwrap().take();
        if let Some(held) = held {
            // It is dropped, not sent to.
            let _ = held.await;
            return Err(StoreError::Unavailable("held until it was given up".into()));
        }
        self.answer(self.inner.get(name)).await.map(|value| self.read(value))
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.answer(self.inner.take(name)).await.map(|value| self.read(value))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.answer(self.inner.remove(name)).await
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        self.answer(self.inner.put_guarded(name, value, lifetime)).await
    }

    async fn redeem(&self, name: &str, claim: &Claim) -> Result<Redemption, StoreError> {
        Ok(match self.answer(self.inner.redeem(name, claim)).await? {
            Redemption::Value(value) => Redemption::Value(self.read(Some(value)).expect("there is one")),
            other => other,
        })
    }

    async fn settle(&self, name: &str, claim: &Claim) -> Result<bool, StoreError> {
        self.answer(self.inner.settle(name, claim)).await
    }

    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.answer(self.inner.replace(name, value, lifetime)).await
    }

    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.answer(self.inner.put_new(name, value, lifetime)).await
    }

    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.answer(self.inner.remove_if(name, value)).await
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.answer(self.inner.start_counter(name, now, lifetime)).await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        self.answer(self.inner.advance(name, step)).await
    }

    async fn holds(&self, name: &str) -> Result<bool, StoreError> {
        self.answer(self.inner.holds(name)).await
    }

    async fn enlist(&self, set: &str, member: &[u8], ends: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        self.answer(self.inner.enlist(set, member, ends, now)).await
    }

    async fn enlisted(&self, set: &str, page: Page) -> Result<Vec<Vec<u8>>, StoreError> {
        self.answer(self.inner.enlisted(set, page)).await
    }

    async fn strike(&self, set: &str, member: &[u8]) -> Result<(), StoreError> {
        self.answer(self.inner.strike(set, member)).await
    }

    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.answer(self.inner.announce(topic, message)).await
    }

    fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        self.inner.listen(topic)
    }
}
