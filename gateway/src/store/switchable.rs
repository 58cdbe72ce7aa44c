//! For tests: a store in memory that can be switched off, and counts what it is asked.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::{Advance, Guard, Guarded, Listener, MemoryStore, Redemption, Step, Store, StoreError};
use crate::clock::{Clock, Timestamp};

pub struct Switchable {
    inner: MemoryStore,
    down: AtomicBool,
    calls: AtomicUsize,
    reads: AtomicU64,
}

impl Switchable {
    pub fn new(clock: Clock) -> Self {
        Self {
            inner: MemoryStore::new(clock),
            down: AtomicBool::default(),
            calls: AtomicUsize::default(),
            reads: AtomicU64::default(),
        }
    }

    pub fn switch(&self, on: bool) {
        self.down.store(!on, Ordering::SeqCst);
    }

    /// How often it was asked for anything.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How often [`Store::get`] was called, answered or not.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.down.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("switched off".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Switchable {
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.check()?;
        self.inner.put(name, value, lifetime).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        self.inner.get(name).await
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.check()?;
        self.inner.take(name).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.check()?;
        self.inner.remove(name).await
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        self.check()?;
        self.inner.put_guarded(name, value, lifetime).await
    }

    async fn redeem(&self, name: &str, guard: &Guard, epitaph: Duration) -> Result<Redemption, StoreError> {
        self.check()?;
        self.inner.redeem(name, guard, epitaph).await
    }

    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.replace(name, value, lifetime).await
    }

    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.put_new(name, value, lifetime).await
    }

    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.remove_if(name, value).await
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.check()?;
        self.inner.start_counter(name, now, lifetime).await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        self.check()?;
        self.inner.advance(name, step).await
    }

    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.announce(topic, message).await
    }

    fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        self.inner.listen(topic)
    }
}
