//! A store that tells somebody how each request to it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Advance, Claim, Guarded, Listener, Page, Redemption, Step, Store, StoreError};
use crate::clock::Timestamp;

/// Told of every request that came to its end; not of one that nobody waits for any more. It may not block.
pub trait Observer: Send + Sync {
    /// `well`: the store answered, whatever it said.
    fn ended(&self, operation: Operation, well: bool, took: Duration);
}

/// What a store is asked to do: a method of [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Put,
    Get,
    Take,
    Remove,
    Replace,
    PutNew,
    RemoveIf,
    PutGuarded,
    Redeem,
    Settle,
    StartCounter,
    Advance,
    Holds,
    Enlist,
    Enlisted,
    Strike,
    Announce,
}

impl Operation {
    /// In the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Put,
        Self::Get,
        Self::Take,
        Self::Remove,
        Self::Replace,
        Self::PutNew,
        Self::RemoveIf,
        Self::PutGuarded,
        Self::Redeem,
        Self::Settle,
        Self::StartCounter,
        Self::Advance,
        Self::Holds,
        Self::Enlist,
        Self::Enlisted,
        Self::Strike,
        Self::Announce,
    ];

    /// A label for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Take => "take",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::PutNew => "put_new",
            Self::RemoveIf => "remove_if",
            Self::PutGuarded => "put_guarded",
            Self::Redeem => "redeem",
            Self::Settle => "settle",
            Self::StartCounter => "start_counter",
            Self::Advance => "advance",
            Self::Holds => "holds",
            Self::Enlist => "enlist",
            Self::Enlisted => "enlisted",
            Self::Strike => "strike",
            Self::Announce => "announce",
        }
    }
}

pub struct Observed {
    inner: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
}

impl Observed {
    pub fn new(inner: Arc<dyn Store>, observer: Arc<dyn Observer>) -> Self {
        Self { inner, observer }
    }

    async fn note<T>(
        &self,
        operation: Operation,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let answer = asked.await;
        self.observer.ended(operation, answer.is_ok(), begun.elapsed());
        answer
    }
}

#[async_trait]
impl Store for Observed {
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.note(Operation::Put, self.inner.put(name, value, lifetime)).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.note(Operation::Get, self.inner.get(name)).await
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.note(Operation::Take, self.inner.take(name)).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.note(Operation::Remove, self.inner.remove(name)).await
    }

    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.note(Operation::Replace, self.inner.replace(name, value, lifetime)).await
    }

    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.note(Operation::PutNew, self.inner.put_new(name, value, lifetime)).await
    }

    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        self.note(Operation::RemoveIf, self.inner.remove_if(name, value)).await
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        self.note(Operation::PutGuarded, self.inner.put_guarded(name, value, lifetime)).await
    }

    async fn redeem(&self, name: &str, claim: &Claim) -> Result<Redemption, StoreError> {
        self.note(Operation::Redeem, self.inner.redeem(name, claim)).await
    }

    async fn settle(&self, name: &str, claim: &Claim) -> Result<bool, StoreError> {
        self.note(Operation::Settle, self.inner.settle(name, claim)).await
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.note(Operation::StartCounter, self.inner.start_counter(name, now, lifetime)).await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        self.note(Operation::Advance, self.inner.advance(name, step)).await
    }

    async fn holds(&self, name: &str) -> Result<bool, StoreError> {
        self.note(Operation::Holds, self.inner.holds(name)).await
    }

    async fn enlist(&self, set: &str, member: &[u8], ends: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        self.note(Operation::Enlist, self.inner.enlist(set, member, ends, now)).await
    }

    async fn enlisted(&self, set: &str, page: Page) -> Result<Vec<Vec<u8>>, StoreError> {
        self.note(Operation::Enlisted, self.inner.enlisted(set, page)).await
    }

    async fn strike(&self, set: &str, member: &[u8]) -> Result<(), StoreError> {
        self.note(Operation::Strike, self.inner.strike(set, member)).await
    }

    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.note(Operation::Announce, self.inner.announce(topic, message)).await
    }

    fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        self.inner.listen(topic)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::Switchable;
    use super::*;
    use crate::clock::Clock;

    #[derive(Default)]
    struct Notes(Mutex<Vec<(&'static str, bool)>>);

    impl Observer for Notes {
        fn ended(&self, operation: Operation, well: bool, _: Duration) {
            self.0.lock().unwrap().push((operation.name(), well));
        }
    }

    #[tokio::test]
    async fn each_request_is_told_of_once_with_its_name_and_whether_it_was_answered() {
        assert!(Operation::ALL.iter().enumerate().all(|(number, operation)| *operation as usize == number));
        let (notes, inner) = (Arc::new(Notes::default()), Arc::new(Switchable::new(Clock::system())));
        let store = Observed::new(inner.clone(), notes.clone());
        let second = Duration::from_secs(1);
        store.put("a", b"1", second).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), Some(b"1".to_vec()));
        inner.switch(false);
        assert!(store.take("a").await.is_err());
        assert_eq!(*notes.0.lock().unwrap(), [("put", true), ("get", true), ("take", false)]);
    }
}
