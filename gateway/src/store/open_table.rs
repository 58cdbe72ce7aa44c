//! Sealed values of one type that the key ring alone opens: what an operator may see.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, name_of};
use crate::clock::{Clock, Timestamp};
use crate::sealed::{Index, Purpose, Sealer};

/// Records of type `T`, named `sallyport:<kind>:<index>` and opened without a secret of their owner. What opens something
/// else has no place here: that is for a [`super::Table`].
pub struct OpenTable<T> {
    store: Arc<dyn Store>,
    sealer: Sealer,
    clock: Clock,
    kind: &'static str,
    purpose: Purpose,
    values: PhantomData<fn() -> T>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    /// As in a [`super::Table`]: a store restored from a backup revives nothing.
    expires: Timestamp,
    value: T,
}

impl<T: Serialize + DeserializeOwned> OpenTable<T> {
    pub fn new(store: Arc<dyn Store>, sealer: Sealer, clock: Clock, kind: &'static str, purpose: Purpose) -> Self {
        Self { store, sealer, clock, kind, purpose, values: PhantomData }
    }

    pub async fn put(&self, index: Index, value: &T, lifetime: Duration) -> Result<(), StoreError> {
        let (name, sealed) = self.seal(index, value, lifetime);
        self.store.put(&name, sealed.as_bytes(), lifetime).await
    }

    /// Writes over a record that is still there, and says whether it was.
    pub async fn replace(&self, index: Index, value: &T, lifetime: Duration) -> Result<bool, StoreError> {
        let (name, sealed) = self.seal(index, value, lifetime);
        self.store.replace(&name, sealed.as_bytes(), lifetime).await
    }

    pub async fn get(&self, index: Index) -> Result<Option<T>, StoreError> {
        let name = name_of(self.kind, index);
        let sealed = self.store.get(&name).await?;
        self.open(&name, sealed)
    }

    /// Reads and removes. One that does not open is removed as well.
    pub async fn take(&self, index: Index) -> Result<Option<T>, StoreError> {
        let name = name_of(self.kind, index);
        let sealed = self.store.take(&name).await?;
        self.open(&name, sealed)
    }

    pub async fn holds(&self, index: Index) -> Result<bool, StoreError> {
        self.store.holds(&name_of(self.kind, index)).await
    }

    /// The name is authenticated: a record that was moved to another one does not open (T37).
    fn seal(&self, index: Index, value: &T, lifetime: Duration) -> (String, String) {
        let name = name_of(self.kind, index);
        let envelope = Envelope { expires: self.clock.now().after(lifetime), value };
        let sealed = self.sealer.seal(self.purpose, &[name.as_bytes()], &envelope);
        (name, sealed)
    }

    fn open(&self, name: &str, sealed: Option<Vec<u8>>) -> Result<Option<T>, StoreError> {
        let Some(sealed) = sealed else { return Ok(None) };
        // What is no text opens no better than an empty one.
        let text = std::str::from_utf8(&sealed).unwrap_or_default();
        let envelope: Envelope<T> = self
            .sealer
            .open(self.purpose, &[name.as_bytes()], text)
            .map_err(|cause| StoreError::Unreadable { kind: self.kind, cause })?;
        Ok(Some(envelope)
            .filter(|envelope| !envelope.expires.has_passed(self.clock.now()))
            .map(|envelope| envelope.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::KeyRing;
    use crate::store::MemoryStore;

    const MINUTE: Duration = Duration::from_secs(60);
    const ONE: Index = Index([1; 32]);
    const OTHER: Index = Index([2; 32]);

    fn table(store: &Arc<MemoryStore>, clock: &Clock, purpose: Purpose, sealer: &Sealer) -> OpenTable<String> {
        OpenTable::new(store.clone(), sealer.clone(), clock.clone(), "test", purpose)
    }

    #[tokio::test]
    async fn a_record_opens_under_its_own_name_for_its_own_purpose_until_its_end() {
        let clock = Clock::manual(Timestamp::from_unix(1_000));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        let own = table(&store, &clock, Purpose::Listing, &sealer);
        own.put(ONE, &"hers".to_owned(), MINUTE).await.unwrap();
        assert_eq!(own.get(ONE).await.unwrap().as_deref(), Some("hers"));
        assert_eq!(own.get(OTHER).await.unwrap(), None);

        let sealed = store.get(&name_of("test", ONE)).await.unwrap().unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"hers"));
        store.put(&name_of("test", OTHER), &sealed, MINUTE).await.unwrap();
        assert!(matches!(own.get(OTHER).await, Err(StoreError::Unreadable { .. })), "moved");
        let foreign = table(&store, &clock, Purpose::Client, &sealer);
        assert!(matches!(foreign.get(ONE).await, Err(StoreError::Unreadable { .. })), "for another purpose");
        let elsewhere = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        let elsewhere = table(&store, &clock, Purpose::Listing, &elsewhere);
        assert!(matches!(elsewhere.get(ONE).await, Err(StoreError::Unreadable { .. })), "of another ring");
        store.put(&name_of("test", OTHER), &[0xff, 0xfe], MINUTE).await.unwrap();
        assert!(matches!(own.take(OTHER).await, Err(StoreError::Unreadable { .. })), "no text at all");
        assert_eq!(own.get(OTHER).await.unwrap(), None, "taken all the same");

        clock.advance(MINUTE);
        store.put(&name_of("test", ONE), &sealed, MINUTE).await.unwrap();
        assert_eq!(own.get(ONE).await.unwrap(), None, "restored after its end");
        assert!(!own.replace(OTHER, &"revived".to_owned(), MINUTE).await.unwrap());
    }
}
