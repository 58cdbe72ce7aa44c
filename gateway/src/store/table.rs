//! Sealed values of one type in a [`Store`].

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Claim, Epitaph, Guard, Guarded, Redemption, Store, StoreError, name_of};
use crate::clock::{Clock, Timestamp};
use crate::sealed::{Id, Index, OpenError, Sealer};
use crate::secret::{SecretKey, random_bytes};

/// How long a spent record is remembered, so that its second use is recognised.
const EPITAPH_LIFETIME: Duration = Duration::from_secs(600);
/// How long a value whose claim was lost on the way is kept for the same request.
const GRACE: Duration = Duration::from_secs(30);
/// How long another's claim is given to be settled: longer than a claimant that still lives takes.
const DOUBT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);

/// Records of type `T`, named `sallyport:<kind>:<keyed hash of the id>`.
///
/// Each is opened with the secret that its owner holds; without it neither the store nor the key ring gives it away.
pub struct Table<T> {
    store: Arc<dyn Store>,
    sealer: Sealer,
    clock: Clock,
    kind: &'static str,
    values: PhantomData<fn() -> T>,
}

/// What [`Table::redeem`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Redeemed<T> {
    Value(T),
    Mismatch,
    Spent(Epitaph),
    Missing,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    /// Judged here and not only by the store: a store restored from a backup revives nothing.
    expires: Timestamp,
    value: T,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    pub fn new(store: Arc<dyn Store>, sealer: Sealer, clock: Clock, kind: &'static str) -> Self {
        Self { store, sealer, clock, kind, values: PhantomData }
    }

    pub async fn put(&self, id: &Id, secret: &SecretKey, value: &T, lifetime: Duration) -> Result<(), StoreError> {
        let (name, sealed) = self.seal(id, secret, value, lifetime)?;
        self.store.put(&name, &sealed, lifetime).await
    }

    /// Writes over a record that is still there, and says whether it was: a record that was removed meanwhile stays dead.
    pub async fn replace(
        &self,
        id: &Id,
        secret: &SecretKey,
        value: &T,
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let (name, sealed) = self.seal(id, secret, value, lifetime)?;
        self.store.replace(&name, &sealed, lifetime).await
    }

    pub async fn get(&self, id: &Id, secret: &SecretKey) -> Result<Option<T>, StoreError> {
        let Some(name) = self.name(id) else { return Ok(None) };
        let sealed = self.store.get(&name).await?;
        self.open(&name, secret, sealed)
    }

    /// Reads and removes: of many callers, one gets the value.
    pub async fn take(&self, id: &Id, secret: &SecretKey) -> Result<Option<T>, StoreError> {
        let Some(name) = self.name(id) else { return Ok(None) };
        let sealed = self.store.take(&name).await?;
        self.open(&name, secret, sealed)
    }

    /// Whether there is a record, by what an index remembers of it.
    pub async fn holds(&self, index: Index) -> Result<bool, StoreError> {
        self.store.holds(&name_of(self.kind, index)).await
    }

    /// Removes a record by what an epitaph or an index remembers of it.
    pub async fn remove(&self, index: Index) -> Result<(), StoreError> {
        self.store.remove(&name_of(self.kind, index)).await
    }

    /// Writes a value that is redeemed once, by whoever presents the same guard.
    pub async fn put_guarded(
        &self,
        id: &Id,
        secret: &SecretKey,
        value: &T,
        guard: &Guard,
        epitaph: &Epitaph,
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        // The guard is sealed too: whoever can write to the store must not be able to bind a code to a challenge of his own.
        let (name, sealed) = self.seal(id, secret, &(guard, value), lifetime)?;
        self.store.put_guarded(&name, Guarded { guard, epitaph, value: &sealed }, lifetime).await
    }

    /// Of many callers with the right guard, one gets the value.
    ///
    /// A store that goes silent leaves open whether it gave the value away, and asking again must neither find a code burnt
    /// nor look like theft, which would end the session that nobody has yet. So the value is claimed first, and settled when
    /// it has arrived. Until then only the same guard, which knows the verifier, claims it anew, and anybody else spends it.
    pub async fn redeem(&self, id: &Id, secret: &SecretKey, guard: &Guard) -> Result<Redeemed<T>, StoreError> {
        let Some(name) = self.name(id) else { return Ok(Redeemed::Missing) };
        let mut claim = Claim {
            guard: *guard,
            claimant: random_bytes(),
            now: self.clock.now(),
            grace: GRACE,
            insists: false,
            epitaph_lifetime: EPITAPH_LIFETIME,
        };
        Ok(match self.claim(&name, &mut claim).await? {
            Redemption::Value(sealed) => match self.open::<(Guard, T)>(&name, secret, Some(sealed))? {
                Some((bound_to, value)) if bound_to == *guard => {
                    self.settle(&name, &claim).await?;
                    Redeemed::Value(value)
                }
                Some(_) => return Err(StoreError::Unreadable { kind: self.kind, cause: OpenError::Forged }),
                None => Redeemed::Missing,
            },
            Redemption::Claimed => return Err(StoreError::Unavailable("another redemption is under way".into())),
            Redemption::Mismatch => Redeemed::Mismatch,
            Redemption::Spent(epitaph) => Redeemed::Spent(epitaph),
            Redemption::Missing => Redeemed::Missing,
        })
    }

    /// Another's claim is waited for: a claimant that lives settles within a moment, and then this one comes second.
    async fn claim(&self, name: &str, claim: &mut Claim) -> Result<Redemption, StoreError> {
        let doubted = Instant::now();
        loop {
            let found = match self.store.redeem(name, claim).await {
                // A silent store may have given it to us. Asking again as the same claimant is safe.
                Err(StoreError::Unavailable(_)) => self.store.redeem(name, claim).await?,
                found => found?,
            };
            if found != Redemption::Claimed || claim.insists {
                return Ok(found);
            }
            sleep(POLL).await;
            claim.insists = doubted.elapsed() >= DOUBT;
        }
    }

    /// When the store goes silent now, the value is here all the same: better that one request may be answered twice, with
    /// the same session, than that its code was redeemed by nobody.
    async fn settle(&self, name: &str, claim: &Claim) -> Result<(), StoreError> {
        let settled = match self.store.settle(name, claim).await {
            Err(StoreError::Unavailable(_)) => self.store.settle(name, claim).await,
            settled => settled,
        };
        match settled {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Unavailable("another request with the same proof was faster".into())),
            Err(cause) => {
                tracing::warn!(%cause, kind = self.kind, "a redemption was not settled; the same request may come again");
                Ok(())
            }
        }
    }

    fn seal<V: Serialize>(
        &self,
        id: &Id,
        secret: &SecretKey,
        value: &V,
        lifetime: Duration,
    ) -> Result<(String, Vec<u8>), StoreError> {
        let name = self.name(id).ok_or_else(|| StoreError::Unavailable("the id's key has left the ring".into()))?;
        let envelope = Envelope { expires: self.clock.now().after(lifetime), value };
        let sealed = self.sealer.seal_record(&name, secret, &envelope);
        Ok((name, sealed))
    }

    fn open<V: DeserializeOwned>(
        &self,
        name: &str,
        secret: &SecretKey,
        sealed: Option<Vec<u8>>,
    ) -> Result<Option<V>, StoreError> {
        let Some(sealed) = sealed else { return Ok(None) };
        let envelope: Envelope<V> = self
            .sealer
            .open_record(name, secret, &sealed)
            .map_err(|cause| StoreError::Unreadable { kind: self.kind, cause })?;
        Ok(Some(envelope)
            .filter(|envelope| !envelope.expires.has_passed(self.clock.now()))
            .map(|envelope| envelope.value))
    }

    fn name(&self, id: &Id) -> Option<String> {
        self.sealer.index(id).map(|index| name_of(self.kind, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::KeyRing;
    use crate::store::MemoryStore;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Fixture {
        store: Arc<MemoryStore>,
        sealer: Sealer,
        clock: Clock,
        table: Table<String>,
    }

    fn fixture() -> Fixture {
        let clock = Clock::manual(Timestamp::from_unix(1_000));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        let table = Table::new(store.clone(), sealer.clone(), clock.clone(), "test");
        Fixture { store, sealer, clock, table }
    }

    fn claim(clock: &Clock) -> Claim {
        let (now, grace) = (clock.now(), GRACE);
        let (claimant, epitaph_lifetime) = (random_bytes(), EPITAPH_LIFETIME);
        Claim { guard: [1; 32], claimant, now, grace, insists: false, epitaph_lifetime }
    }

    #[tokio::test]
    async fn a_record_moved_to_another_name_does_not_open() {
        let Fixture { store, sealer, table, .. } = fixture();
        let (a, b, secret) = (sealer.new_id(), sealer.new_id(), SecretKey::random());
        table.put(&a, &secret, &"hers".into(), MINUTE).await.unwrap();
        let stolen = store.get(&table.name(&a).unwrap()).await.unwrap().unwrap();
        store.put(&table.name(&b).unwrap(), &stolen, MINUTE).await.unwrap();
        assert!(matches!(table.get(&b, &secret).await, Err(StoreError::Unreadable { .. })));
    }

    #[tokio::test]
    async fn a_record_restored_after_its_end_stays_dead() {
        let Fixture { store, sealer, clock, table } = fixture();
        let (id, secret) = (sealer.new_id(), SecretKey::random());
        table.put(&id, &secret, &"old".into(), MINUTE).await.unwrap();
        let backup = store.get(&table.name(&id).unwrap()).await.unwrap().unwrap();
        clock.advance(MINUTE);
        store.put(&table.name(&id).unwrap(), &backup, MINUTE).await.unwrap();
        assert_eq!(table.get(&id, &secret).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_guarded_record_is_redeemed_once_and_survives_wrong_guesses() {
        let Fixture { sealer, table, .. } = fixture();
        let (id, secret) = (sealer.new_id(), SecretKey::random());
        table.put_guarded(&id, &secret, &"grant".into(), &[1; 32], &[9; 32], MINUTE).await.unwrap();
        assert_eq!(table.get(&id, &secret).await.unwrap(), None, "only redeem reads it");
        assert_eq!(table.redeem(&id, &secret, &[2; 32]).await.unwrap(), Redeemed::Mismatch);
        assert_eq!(table.redeem(&id, &secret, &[1; 32]).await.unwrap(), Redeemed::Value("grant".into()));
        assert_eq!(table.redeem(&id, &secret, &[1; 32]).await.unwrap(), Redeemed::Spent([9; 32]));
        assert_eq!(table.redeem(&sealer.new_id(), &secret, &[1; 32]).await.unwrap(), Redeemed::Missing);
    }

    /// A replica that claimed and died, or never learned that it has.
    #[tokio::test]
    async fn what_a_claimant_did_not_settle_is_redeemed_once_more_by_the_same_guard_alone() {
        for (guard, passed, found) in [
            ([1; 32], 0, Redeemed::Value("grant".to_owned())),
            ([1; 32], 30, Redeemed::Value("grant".to_owned())),
            ([1; 32], 31, Redeemed::Spent([9; 32])),
            ([2; 32], 0, Redeemed::Spent([9; 32])),
        ] {
            let Fixture { store, sealer, clock, table } = fixture();
            let (id, secret) = (sealer.new_id(), SecretKey::random());
            table.put_guarded(&id, &secret, &"grant".into(), &[1; 32], &[9; 32], MINUTE).await.unwrap();
            let lost = claim(&clock);
            store.redeem(&table.name(&id).unwrap(), &lost).await.unwrap();
            clock.advance(Duration::from_secs(passed));
            assert_eq!(table.redeem(&id, &secret, &guard).await.unwrap(), found, "{passed} s");
            assert!(!store.settle(&table.name(&id).unwrap(), &lost).await.unwrap(), "the first comes too late");
            assert_eq!(table.redeem(&id, &secret, &[1; 32]).await.unwrap(), Redeemed::Spent([9; 32]));
        }
    }

    /// T37: a writer to the store who intercepted a code binds it to a challenge of his own.
    #[tokio::test]
    async fn a_guard_exchanged_in_the_store_redeems_nothing() {
        let Fixture { store, sealer, clock, table } = fixture();
        let (id, secret) = (sealer.new_id(), SecretKey::random());
        table.put_guarded(&id, &secret, &"grant".into(), &[1; 32], &[9; 32], MINUTE).await.unwrap();
        let name = table.name(&id).unwrap();
        let Redemption::Value(value) = store.redeem(&name, &claim(&clock)).await.unwrap() else { panic!("not there") };
        store.put_guarded(&name, Guarded { guard: &[2; 32], epitaph: &[9; 32], value: &value }, MINUTE).await.unwrap();
        assert!(matches!(table.redeem(&id, &secret, &[2; 32]).await, Err(StoreError::Unreadable { .. })));
    }
}
