//! The first tier: sessions that were looked up a moment ago, in this process.
//!
//! An entry spares a call of the store and stands in for it while it is out. It is never more than the store has said:
//! it serves only a token whose secret opened the record, it dies with what it holds, and what was revoked is
//! remembered for longer than any entry can serve. How long an entry counts for new depends on whether revocations of
//! other replicas are heard (`listening`).

mod changed;
mod entry;
mod flight;
#[cfg(test)]
mod flight_tests;
mod revoked;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::sealed::Index;
use crate::store::StoreError;
use changed::Changed;
pub use entry::{Entry, Verifier};
use flight::Flights;
use revoked::Revoked;

/// What the store said of a session: nothing if it knows none.
pub type Found = Result<Option<Arc<Entry>>, StoreError>;

pub struct Cache {
    /// `None`: there is no first tier.
    entries: Option<quick_cache::sync::Cache<Index, Arc<Entry>>>,
    revoked: Revoked,
    changed: Changed,
    /// The secret is part of the question: nobody gets the answer to another one's.
    flights: Flights<(Index, Verifier), Found>,
    /// Whether revocations of other replicas are heard.
    hearing: AtomicBool,
    /// Entries of an older one are worth nothing.
    epoch: AtomicU64,
}

impl Cache {
    /// For so many sessions; 0 keeps none.
    pub fn new(sessions: usize) -> Self {
        Self {
            entries: (sessions > 0).then(|| quick_cache::sync::Cache::new(sessions)),
            revoked: Revoked::default(),
            changed: Changed::default(),
            flights: Flights::default(),
            hearing: AtomicBool::default(),
            epoch: AtomicU64::default(),
        }
    }

    pub fn is_on(&self) -> bool {
        self.entries.is_some()
    }

    /// An entry that needs no confirmation.
    pub fn fresh(&self, session: Index, verifier: &Verifier, now: Timestamp) -> Option<Arc<Entry>> {
        let limit = if self.hearing.load(Ordering::Acquire) { FRESH } else { FRESH_UNHEARD };
        self.valid(session, verifier, now, limit)
    }

    /// An entry that stands in for a store that does not answer.
    pub fn stale(&self, session: Index, verifier: &Verifier, now: Timestamp) -> Option<Arc<Entry>> {
        self.valid(session, verifier, now, STALE)
    }

    /// Keeps what the store said in this epoch, which began before the store was asked.
    pub fn keep(&self, session: Index, entry: Arc<Entry>, epoch: u64) {
        // An entry that slips in after the change is worth nothing: its own epoch is compared when it is to serve.
        if epoch == self.epoch()
            && entry.epoch == epoch
            && let Some(entries) = &self.entries
        {
            let confirmed = entry.confirmed;
            entries.insert(session, entry);
            // Afterwards: whoever notes a change first notes it and then forgets.
            if self.changed.is_since(session, confirmed) {
                entries.remove(&session);
            }
        }
    }

    /// Whatever was read of the session until now is out of date, also what look-ups that are on their way will bring.
    pub fn change(&self, session: Index, now: Timestamp) {
        if !self.changed.remember(session, now) {
            self.begin_anew();
        }
        self.forget(session);
    }

    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.len())
    }

    pub fn forget(&self, session: Index) {
        if let Some(entries) = &self.entries {
            entries.remove(&session);
        }
    }

    /// Ends the session here and now, also for look-ups that are on their way.
    pub fn revoke(&self, session: Index, now: Timestamp) {
        if !self.revoked.remember(session, now) {
            // Some were forgotten to make room: no entry that they might have had may serve any more.
            self.begin_anew();
        }
        self.forget(session);
    }

    pub fn is_revoked(&self, session: Index, now: Timestamp) -> bool {
        self.revoked.contains(session, now)
    }

    /// From now on revocations are heard; until now some may have been missed.
    pub fn hear(&self) {
        self.begin_anew();
        self.hearing.store(true, Ordering::Release);
    }

    /// From now on revocations may be missed.
    pub fn deafen(&self) {
        self.hearing.store(false, Ordering::Release);
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Asks the store once for everybody who wants the same session with the same secret at the same time.
    pub async fn ask_once(&self, session: Index, verifier: Verifier, ask: impl Future<Output = Found>) -> Found {
        self.flights.share((session, verifier), ask).await
    }

    fn valid(&self, session: Index, verifier: &Verifier, now: Timestamp, limit: Duration) -> Option<Arc<Entry>> {
        let entry = self.entries.as_ref()?.get(&session)?;
        let valid = entry.epoch == self.epoch()
            && entry.is_for(verifier)
            && entry.is_younger_than(limit, now)
            && !entry.ends.has_passed(now);
        valid.then_some(entry)
    }

    fn begin_anew(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        if let Some(entries) = &self.entries {
            entries.clear();
        }
    }
}

/// For how long the store need not be asked again. It bounds how late a revocation counts whose announcement was lost
/// without anybody noticing.
const FRESH: Duration = Duration::from_secs(30);
/// The same while announcements are known to be missed.
const FRESH_UNHEARD: Duration = Duration::from_secs(1);
/// For how long after it was confirmed an entry stands in for the store.
pub const STALE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretKey;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);
    const SESSION: Index = Index([7; 32]);

    fn later(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    fn verifier(secret: u8) -> Verifier {
        Verifier::of(&SecretKey::new([secret; 32]))
    }

    fn cache() -> Cache {
        let cache = Cache::new(10);
        cache.hear();
        keep(&cache, 3600);
        cache
    }

    fn keep(cache: &Cache, lives: u64) {
        let entry = Entry::of("token", verifier(1), later(lives), None, NOW, cache.epoch()).unwrap();
        cache.keep(SESSION, Arc::new(entry), cache.epoch());
    }

    #[test]
    fn an_entry_is_fresh_for_half_a_minute_and_stands_in_for_five() {
        let cache = cache();
        for (age, fresh, stale) in
            [(0, true, true), (29, true, true), (30, false, true), (299, false, true), (300, false, false)]
        {
            assert_eq!(cache.fresh(SESSION, &verifier(1), later(age)).is_some(), fresh, "{age}");
            assert_eq!(cache.stale(SESSION, &verifier(1), later(age)).is_some(), stale, "{age}");
        }
        // A clock that was set back makes nothing younger.
        let before = Timestamp::from_unix(NOW.unix() - 1);
        assert!(cache.fresh(SESSION, &verifier(1), before).is_none());
    }

    #[test]
    fn it_serves_nobody_who_could_not_have_opened_the_record() {
        let cache = cache();
        assert!(cache.fresh(SESSION, &verifier(2), NOW).is_none() && cache.stale(SESSION, &verifier(2), NOW).is_none());
        assert!(cache.fresh(Index([8; 32]), &verifier(1), NOW).is_none());
    }

    #[test]
    fn it_ends_with_what_it_holds() {
        let cache = cache();
        keep(&cache, 10);
        assert!(cache.fresh(SESSION, &verifier(1), later(9)).is_some());
        assert!(cache.fresh(SESSION, &verifier(1), later(10)).is_none());
        assert!(cache.stale(SESSION, &verifier(1), later(10)).is_none());
    }

    #[test]
    fn what_is_not_heard_makes_entries_old_within_a_second_and_worthless_when_it_is_heard_again() {
        let cache = cache();
        cache.deafen();
        assert!(cache.fresh(SESSION, &verifier(1), NOW).is_some());
        assert!(cache.fresh(SESSION, &verifier(1), later(1)).is_none());
        assert!(cache.stale(SESSION, &verifier(1), later(1)).is_some());
        let epoch = cache.epoch();
        let entry = Arc::new(Entry::of("token", verifier(1), later(99), None, NOW, epoch).unwrap());
        cache.hear();
        assert!(cache.stale(SESSION, &verifier(1), later(1)).is_none(), "its revocation may have been missed");
        cache.keep(SESSION, entry, epoch);
        assert!(cache.fresh(SESSION, &verifier(1), NOW).is_none(), "an answer that was on its way comes too late");
    }

    #[test]
    fn a_revocation_outlives_every_entry() {
        let cache = cache();
        cache.revoke(SESSION, NOW);
        assert!(cache.stale(SESSION, &verifier(1), NOW).is_none());
        // The answer to a question that was asked before.
        keep(&cache, 3600);
        for age in [0, 30, 299] {
            assert!(cache.is_revoked(SESSION, later(age)), "{age}");
        }
        assert!(!cache.is_revoked(SESSION, later(300)));
        assert!(cache.stale(SESSION, &verifier(1), later(300)).is_none());
    }

    #[test]
    fn what_was_read_before_a_change_serves_no_more_and_what_is_read_after_it_does() {
        let cache = cache();
        cache.change(SESSION, later(5));
        assert!(cache.stale(SESSION, &verifier(1), later(5)).is_none());
        // The answer to a question that was asked before.
        keep(&cache, 3600);
        assert!(cache.stale(SESSION, &verifier(1), later(5)).is_none());
        let entry = Entry::of("token", verifier(1), later(3600), None, later(6), cache.epoch()).unwrap();
        cache.keep(SESSION, Arc::new(entry), cache.epoch());
        assert!(cache.fresh(SESSION, &verifier(1), later(6)).is_some());
        assert!(!cache.is_revoked(SESSION, later(6)));
    }

    #[test]
    fn changes_that_are_too_many_to_remember_end_every_entry() {
        let cache = cache();
        for number in 0..=Changed::AT_MOST as u64 {
            let mut index = [0; 32];
            index[..8].copy_from_slice(&number.to_be_bytes());
            cache.change(Index(index), NOW);
        }
        assert!(cache.stale(SESSION, &verifier(1), NOW).is_none());
    }

    #[test]
    fn revocations_that_are_too_many_to_remember_end_every_entry() {
        let cache = cache();
        for number in 0..=Revoked::AT_MOST as u64 {
            let mut index = [0; 32];
            index[..8].copy_from_slice(&number.to_be_bytes());
            cache.revoke(Index(index), NOW);
        }
        assert!(cache.stale(SESSION, &verifier(1), NOW).is_none());
    }

    #[test]
    fn it_is_bounded_and_can_be_off() {
        let cache = Cache::new(10);
        for number in 0..1000_u16 {
            let mut index = [0; 32];
            index[..2].copy_from_slice(&number.to_be_bytes());
            let entry = Entry::of("token", verifier(1), later(99), None, NOW, cache.epoch()).unwrap();
            cache.keep(Index(index), Arc::new(entry), cache.epoch());
        }
        assert!(cache.entries.as_ref().unwrap().len() <= 10);
        let off = Cache::new(0);
        keep(&off, 3600);
        assert!(!off.is_on() && off.fresh(SESSION, &verifier(1), NOW).is_none());
    }
}
