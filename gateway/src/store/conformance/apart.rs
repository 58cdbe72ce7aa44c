//! A part of a store that others use at the same time: the same names mean other records.

use async_trait::async_trait;

use super::*;
use crate::store::{Listener, StoreError};

pub struct Apart {
    store: Arc<dyn Store>,
    part: &'static str,
}

impl Apart {
    pub fn new(store: Arc<dyn Store>, part: &'static str) -> Self {
        Self { store, part }
    }

    fn own(&self, name: &str) -> String {
        format!("{name}:{}", self.part)
    }
}

#[async_trait]
impl Store for Apart {
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.store.put(&self.own(name), value, lifetime).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(&self.own(name)).await
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.take(&self.own(name)).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.store.remove(&self.own(name)).await
    }

    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.store.replace(&self.own(name), value, lifetime).await
    }

    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.store.put_new(&self.own(name), value, lifetime).await
    }

    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.store.remove_if(&self.own(name), value).await
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        self.store.put_guarded(&self.own(name), value, lifetime).await
    }

    async fn redeem(&self, name: &str, claim: &Claim) -> Result<Redemption, StoreError> {
        self.store.redeem(&self.own(name), claim).await
    }

    async fn settle(&self, name: &str, claim: &Claim) -> Result<bool, StoreError> {
        self.store.settle(&self.own(name), claim).await
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.store.start_counter(&self.own(name), now, lifetime).await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        self.store.advance(&self.own(name), step).await
    }

    async fn holds(&self, name: &str) -> Result<bool, StoreError> {
        self.store.holds(&self.own(name)).await
    }

    async fn enlist(&self, set: &str, member: &[u8], ends: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        self.store.enlist(&self.own(set), member, ends, now).await
    }

    async fn enlisted(&self, set: &str, page: Page) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.enlisted(&self.own(set), page).await
    }

    async fn strike(&self, set: &str, member: &[u8]) -> Result<(), StoreError> {
        self.store.strike(&self.own(set), member).await
    }

    /// Topics are not apart: they are what a store's parts tell each other by.
    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.store.announce(topic, message).await
    }

    fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        self.store.listen(topic)
    }
}
