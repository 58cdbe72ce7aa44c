//! What every store promises, run against memory and against a real redis-server.

#[path = "../../tests/it/support/redis_server.rs"]
mod redis_server;

mod apart;
mod entra_user;
mod forms;
mod redis_only;

use std::sync::Arc;
use std::time::Duration;

use super::{Advance, Announcement, Claim, Guarded, Listener, MemoryStore, Page, Redemption, Step, Store, StoreError};
use super::{RedisSettings, RedisStore};
use crate::clock::{Clock, Timestamp};
use crate::secret::random_bytes;
use apart::Apart;
use redis_server::RedisServer;

const NAME: &str = "sallyport:test:one";
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const RIGHT: [u8; 32] = [1; 32];
const WRONG: [u8; 32] = [2; 32];
const EPITAPH: [u8; 32] = [9; 32];
/// Every byte there is: a store must not take one for the end of a text, or for a frame of its own.
const VALUE: [u8; 256] = {
    let mut value = [0; 256];
    let mut index = 0;
    while index < 256 {
        value[index] = index as u8;
        index += 1;
    }
    value
};

/// A store, and the time that it goes by.
struct Subject {
    store: Arc<dyn Store>,
    clock: Option<Clock>,
    _server: Option<RedisServer>,
}

impl Subject {
    fn memory() -> Option<Self> {
        let clock = Clock::manual(Timestamp::from_unix(1_000));
        Some(Self { store: Arc::new(MemoryStore::new(clock.clone())), clock: Some(clock), _server: None })
    }

    fn redis() -> Option<Self> {
        let server = RedisServer::start()?;
        Some(Self { store: Arc::new(redis_store(&server.url())), clock: None, _server: Some(server) })
    }

    async fn second_passes(&self) {
        match &self.clock {
            Some(clock) => clock.advance(SECOND),
            None => tokio::time::sleep(SECOND + Duration::from_millis(50)).await,
        }
    }

    async fn put_guarded(&self, lifetime: Duration) {
        let value = Guarded { guard: &RIGHT, epitaph: &EPITAPH, value: &VALUE };
        self.store.put_guarded(NAME, value, lifetime).await.unwrap();
    }

    async fn redeem(&self, guess: [u8; 32]) -> Redemption {
        redeem(&*self.store, NAME, claim(guess)).await.unwrap()
    }
}

/// Somebody's own.
fn claim(guard: [u8; 32]) -> Claim {
    let (grace, epitaph_lifetime) = (Duration::from_secs(30), MINUTE);
    Claim { guard, claimant: random_bytes(), now: at(100), grace, insists: false, epitaph_lifetime }
}

/// Claims and settles.
async fn redeem(store: &dyn Store, name: &str, claim: Claim) -> Result<Redemption, StoreError> {
    let found = store.redeem(name, &claim).await?;
    if matches!(found, Redemption::Value(_)) {
        assert!(store.settle(name, &claim).await?);
    }
    Ok(found)
}

fn redis_store(url: &str) -> RedisStore {
    RedisStore::new(RedisSettings::new(url.parse().unwrap())).unwrap()
}

macro_rules! promises {
    ($($promise:ident)*) => {
        promises!(memory: $($promise)*);
        promises!(redis: $($promise)*);

        /// Every promise at once, of one store that all of them share: each has its own names.
        async fn keeps_every_promise(store: Arc<dyn Store>) {
            let mut kept = tokio::task::JoinSet::new();
            $(
                let own = Apart::new(store.clone(), stringify!($promise));
                kept.spawn($promise(Subject { store: Arc::new(own), clock: None, _server: None }));
            )*
            while let Some(promise) = kept.join_next().await {
                promise.unwrap();
            }
        }
    };
    ($kind:ident: $($promise:ident)*) => {
        mod $kind {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    if let Some(subject) = super::Subject::$kind() {
                        super::$promise(subject).await;
                    }
                }
            )*
        }
    };
}

promises! {
    a_value_is_read_as_often_as_asked_until_it_is_removed
    a_value_is_taken_once
    of_many_takers_one_wins
    writing_replaces
    names_do_not_meet
    nothing_outlives_its_lifetime
    what_would_live_for_less_than_a_second_is_not_kept
    a_guarded_value_is_redeemed_once_and_leaves_its_epitaph
    of_many_redeemers_one_wins
    a_wrong_guess_burns_nothing
    a_claim_that_is_asked_for_again_is_the_same_and_is_settled_once
    what_was_claimed_and_not_settled_goes_to_who_insists_with_the_same_guard
    a_wrong_guess_or_a_late_one_spends_what_was_claimed
    a_guarded_value_is_invisible_to_readers_and_takers
    a_plain_value_is_not_redeemable
    plain_and_guarded_replace_each_other
    a_removed_guarded_value_leaves_no_epitaph
    an_epitaph_lives_as_long_as_asked
    only_what_is_there_is_replaced
    only_what_is_not_there_is_put_new
    of_many_who_put_new_one_wins
    only_the_same_value_is_removed
    a_counter_moves_for_who_knows_where_it_stands
    a_repetition_is_one_within_the_grace_and_a_reuse_after
    of_many_who_advance_one_moves_and_all_learn_where_to
    a_counter_lives_from_its_last_move
    a_counter_is_invisible_to_everybody_else
    what_is_there_is_held_whatever_it_is
    a_set_has_its_members_until_their_ends_by_the_callers_clock
    a_set_is_read_page_by_page_in_the_order_of_ends
    a_member_whose_end_is_moved_is_in_the_set_once
    of_many_who_enlist_at_once_all_are_in_the_set
    a_set_is_gone_with_its_last_member
    who_listens_hears_what_is_announced_from_then_on
}

async fn a_value_is_read_as_often_as_asked_until_it_is_removed(Subject { store, .. }: Subject) {
    assert_eq!(store.get(NAME).await.unwrap(), None);
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap().unwrap(), VALUE);
    assert_eq!(store.get(NAME).await.unwrap().unwrap(), VALUE);
    store.remove(NAME).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap(), None);
    store.remove(NAME).await.expect("removing nothing is no failure");
}

async fn a_value_is_taken_once(Subject { store, .. }: Subject) {
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    assert_eq!(store.take(NAME).await.unwrap().unwrap(), VALUE);
    assert_eq!(store.take(NAME).await.unwrap(), None);
    assert_eq!(store.get(NAME).await.unwrap(), None);
}

async fn of_many_takers_one_wins(Subject { store, .. }: Subject) {
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    let taken = at_once(|| {
        let store = store.clone();
        async move { store.take(NAME).await.unwrap() }
    });
    let mut winners = taken.await;
    winners.retain(Option::is_some);
    assert_eq!(winners, [Some(VALUE.to_vec())]);
}

async fn writing_replaces(Subject { store, .. }: Subject) {
    store.put(NAME, b"old", SECOND).await.unwrap();
    store.put(NAME, b"", MINUTE).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap(), Some(Vec::new()), "an empty value is a value");
}

async fn names_do_not_meet(Subject { store, .. }: Subject) {
    store.put("sallyport:test:a", b"a", MINUTE).await.unwrap();
    store.put("sallyport:test:b", b"b", MINUTE).await.unwrap();
    store.remove("sallyport:test:a").await.unwrap();
    assert_eq!(store.get("sallyport:test:b").await.unwrap().unwrap(), b"b");
}

async fn nothing_outlives_its_lifetime(subject: Subject) {
    let store = &subject.store;
    let taken = "sallyport:test:taken";
    store.put("sallyport:test:read", &VALUE, SECOND).await.unwrap();
    store.put(taken, &VALUE, SECOND).await.unwrap();
    store.put("sallyport:test:longer", &VALUE, MINUTE).await.unwrap();
    subject.put_guarded(SECOND).await;
    subject.second_passes().await;
    assert_eq!(store.get("sallyport:test:read").await.unwrap(), None);
    assert_eq!(store.take(taken).await.unwrap(), None);
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    assert_eq!(store.get("sallyport:test:longer").await.unwrap().unwrap(), VALUE);
}

async fn what_would_live_for_less_than_a_second_is_not_kept(subject: Subject) {
    let store = &subject.store;
    store.put(NAME, b"old", MINUTE).await.unwrap();
    store.put(NAME, b"new", Duration::from_millis(999)).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap(), None);
    subject.put_guarded(Duration::ZERO).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
}

async fn a_guarded_value_is_redeemed_once_and_leaves_its_epitaph(subject: Subject) {
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Spent(EPITAPH));
    assert_eq!(
        subject.redeem(WRONG).await,
        Redemption::Spent(EPITAPH),
        "a stolen code ends what it gave, guard or not"
    );
}

async fn of_many_redeemers_one_wins(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    let store = subject.store.clone();
    let redeemed = at_once(|| {
        let store = store.clone();
        async move {
            let claim = claim(RIGHT);
            let found = store.redeem(NAME, &claim).await.unwrap();
            (found != Redemption::Claimed && store.settle(NAME, &claim).await.unwrap(), found)
        }
    });
    let redeemed = redeemed.await;
    let won = |(settled, found): &&(bool, Redemption)| *settled && *found == Redemption::Value(VALUE.to_vec());
    let lost = |(settled, found): &&(bool, Redemption)| {
        !settled && matches!(found, Redemption::Claimed | Redemption::Spent(EPITAPH))
    };
    assert_eq!((redeemed.iter().filter(won).count(), redeemed.iter().filter(lost).count()), (1, CALLERS - 1));
}

async fn a_wrong_guess_burns_nothing(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    let mut nearly = RIGHT;
    nearly[31] ^= 1;
    for guess in [WRONG, nearly, EPITAPH, [0; 32]] {
        assert_eq!(subject.redeem(guess).await, Redemption::Mismatch);
    }
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
}

async fn a_claim_that_is_asked_for_again_is_the_same_and_is_settled_once(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    let (store, mine) = (&subject.store, claim(RIGHT));
    assert!(!store.settle(NAME, &mine).await.unwrap(), "nothing is claimed");
    for _ in 0..3 {
        assert_eq!(store.redeem(NAME, &mine).await.unwrap(), Redemption::Value(VALUE.to_vec()));
    }
    assert_eq!(store.redeem(NAME, &claim(RIGHT)).await.unwrap(), Redemption::Claimed);
    assert!(!store.settle(NAME, &claim(RIGHT)).await.unwrap(), "another's claim");
    assert_eq!((store.get(NAME).await.unwrap(), store.take(NAME).await.unwrap()), (None, None));
    for _ in 0..3 {
        assert!(store.settle(NAME, &mine).await.unwrap(), "asked again, it is told the same");
    }
    assert_eq!(store.redeem(NAME, &mine).await.unwrap(), Redemption::Spent(EPITAPH), "settled is settled");
    assert!(!store.settle(NAME, &claim(RIGHT)).await.unwrap());
}

async fn what_was_claimed_and_not_settled_goes_to_who_insists_with_the_same_guard(subject: Subject) {
    subject.put_guarded(SECOND).await;
    let (store, first) = (&subject.store, claim(RIGHT));
    let insisting = |now| Claim { insists: true, now: at(now), ..claim(RIGHT) };
    assert_eq!(store.redeem(NAME, &first).await.unwrap(), Redemption::Value(VALUE.to_vec()));
    subject.second_passes().await;
    let (second, third) = (insisting(115), insisting(130));
    for claim in [&second, &third] {
        assert_eq!(store.redeem(NAME, claim).await.unwrap(), Redemption::Value(VALUE.to_vec()));
    }
    assert!(!store.settle(NAME, &first).await.unwrap() && !store.settle(NAME, &second).await.unwrap());
    assert!(store.settle(NAME, &third).await.unwrap(), "one of them has it");
    assert_eq!(store.redeem(NAME, &insisting(130)).await.unwrap(), Redemption::Spent(EPITAPH));
    let brief = Claim { epitaph_lifetime: SECOND, ..claim(RIGHT) };
    subject.put_guarded(MINUTE).await;
    store.redeem(NAME, &brief).await.unwrap();
    subject.second_passes().await;
    assert_eq!(store.redeem(NAME, &insisting(100)).await.unwrap(), Redemption::Missing, "it lives like an epitaph");
}

async fn a_wrong_guess_or_a_late_one_spends_what_was_claimed(subject: Subject) {
    let store = &subject.store;
    let late = Claim { insists: true, now: at(131), ..claim(RIGHT) };
    let wrong = Claim { insists: true, ..claim(WRONG) };
    for replay in [late, wrong] {
        subject.put_guarded(MINUTE).await;
        let first = claim(RIGHT);
        assert_eq!(store.redeem(NAME, &first).await.unwrap(), Redemption::Value(VALUE.to_vec()));
        assert_eq!(store.redeem(NAME, &replay).await.unwrap(), Redemption::Spent(EPITAPH));
        assert!(!store.settle(NAME, &first).await.unwrap() && !store.settle(NAME, &replay).await.unwrap());
        assert_eq!(store.redeem(NAME, &first).await.unwrap(), Redemption::Spent(EPITAPH));
    }
}

async fn a_guarded_value_is_invisible_to_readers_and_takers(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.store.get(NAME).await.unwrap(), None);
    assert_eq!(subject.store.take(NAME).await.unwrap(), None);
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()), "taking did not consume it");
    assert_eq!(subject.store.get(NAME).await.unwrap(), None);
    assert_eq!(subject.store.take(NAME).await.unwrap(), None);
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Spent(EPITAPH), "taking did not remove the epitaph");
}

async fn a_plain_value_is_not_redeemable(subject: Subject) {
    // The bytes of a guarded frame, written as a plain value: what a caller stores never passes for a frame.
    let forged = [b"L", &RIGHT[..], &EPITAPH, b"forged"].concat();
    subject.store.put(NAME, &forged, MINUTE).await.unwrap();
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    assert_eq!(subject.store.get(NAME).await.unwrap().unwrap(), forged);
}

async fn plain_and_guarded_replace_each_other(subject: Subject) {
    subject.store.put(NAME, b"plain", MINUTE).await.unwrap();
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.store.get(NAME).await.unwrap(), None);
    subject.store.put(NAME, b"plain", MINUTE).await.unwrap();
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()), "a new value replaces an epitaph");
}

async fn a_removed_guarded_value_leaves_no_epitaph(subject: Subject) {
    subject.put_guarded(MINUTE).await;
    subject.store.remove(NAME).await.unwrap();
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
}

async fn an_epitaph_lives_as_long_as_asked(subject: Subject) {
    subject.put_guarded(SECOND).await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
    subject.second_passes().await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Spent(EPITAPH), "it outlives the value");
    subject.put_guarded(MINUTE).await;
    let brief = Claim { epitaph_lifetime: SECOND, ..claim(RIGHT) };
    let redeemed = redeem(&*subject.store, NAME, brief).await.unwrap();
    assert_eq!(redeemed, Redemption::Value(VALUE.to_vec()));
    subject.second_passes().await;
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
}

async fn only_what_is_there_is_replaced(subject: Subject) {
    let store = &subject.store;
    assert!(!store.replace(NAME, b"revived", MINUTE).await.unwrap());
    assert_eq!(store.get(NAME).await.unwrap(), None);
    store.put(NAME, b"old", SECOND).await.unwrap();
    assert!(store.replace(NAME, &VALUE, MINUTE).await.unwrap());
    subject.second_passes().await;
    assert_eq!(store.get(NAME).await.unwrap().unwrap(), VALUE, "with its new lifetime");
    assert!(!store.replace(NAME, b"brief", Duration::from_millis(999)).await.unwrap());
    assert_eq!(store.get(NAME).await.unwrap(), None);
    store.put(NAME, b"old", SECOND).await.unwrap();
    subject.second_passes().await;
    assert!(!store.replace(NAME, b"late", MINUTE).await.unwrap(), "what has ended is not there");
}

async fn only_what_is_not_there_is_put_new(subject: Subject) {
    let store = &subject.store;
    assert!(!store.put_new(NAME, b"brief", Duration::ZERO).await.unwrap());
    assert_eq!(store.get(NAME).await.unwrap(), None);
    assert!(store.put_new(NAME, b"first", SECOND).await.unwrap());
    assert!(!store.put_new(NAME, b"second", MINUTE).await.unwrap());
    assert_eq!(store.get(NAME).await.unwrap().unwrap(), b"first");
    subject.second_passes().await;
    assert!(store.put_new(NAME, b"third", MINUTE).await.unwrap(), "a lock ends by itself");
}

async fn of_many_who_put_new_one_wins(Subject { store, .. }: Subject) {
    let won = at_once(|| {
        let store = store.clone();
        async move { store.put_new(NAME, &VALUE, MINUTE).await.unwrap() }
    });
    assert_eq!(won.await.into_iter().filter(|won| *won).count(), 1);
}

async fn only_the_same_value_is_removed(subject: Subject) {
    let store = &subject.store;
    assert!(!store.remove_if(NAME, b"mine").await.unwrap());
    store.put(NAME, b"another's", MINUTE).await.unwrap();
    assert!(!store.remove_if(NAME, b"mine").await.unwrap());
    assert!(!store.remove_if(NAME, b"another's ").await.unwrap());
    assert_eq!(store.get(NAME).await.unwrap().unwrap(), b"another's");
    assert!(store.remove_if(NAME, b"another's").await.unwrap());
    assert_eq!(store.get(NAME).await.unwrap(), None);
    subject.put_guarded(MINUTE).await;
    assert!(!store.remove_if(NAME, &VALUE).await.unwrap());
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
}

async fn a_counter_moves_for_who_knows_where_it_stands(Subject { store, .. }: Subject) {
    let advance = async |presented| store.advance(NAME, step(presented, 100)).await.unwrap();
    assert_eq!(advance(0).await, Advance::Missing);
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert_eq!(advance(1).await, Advance::Missing, "nobody was ever told that");
    assert_eq!(advance(u32::MAX).await, Advance::Missing);
    for presented in 0..12 {
        assert_eq!(advance(presented).await, Advance::Rotated(presented + 1));
    }
    assert_eq!(advance(10).await, Advance::Reused, "its successor was used");
    assert_eq!(advance(0).await, Advance::Reused);
    assert_eq!(advance(12).await, Advance::Rotated(13), "no refusal moves it");
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert_eq!(advance(0).await, Advance::Rotated(1));
    store.remove(NAME).await.unwrap();
    assert_eq!(advance(1).await, Advance::Missing);
}

async fn a_repetition_is_one_within_the_grace_and_a_reuse_after(Subject { store, .. }: Subject) {
    let advance = async |presented, now| store.advance(NAME, step(presented, now)).await.unwrap();
    store.start_counter(NAME, at(NOW), MINUTE).await.unwrap();
    assert_eq!(advance(0, NOW).await, Advance::Rotated(1));
    for now in [NOW, NOW + 1, NOW + 45, NOW - 7] {
        assert_eq!(advance(0, now).await, Advance::Repeated(1), "{now}: another replica's clock may be behind");
    }
    assert_eq!(advance(0, NOW + 46).await, Advance::Reused);
    assert_eq!(advance(1, NOW + 46).await, Advance::Rotated(2));
    assert_eq!(advance(1, NOW + 91).await, Advance::Repeated(2), "the grace is counted from the last move");
    assert_eq!(advance(1, NOW + 92).await, Advance::Reused);
}

async fn of_many_who_advance_one_moves_and_all_learn_where_to(Subject { store, .. }: Subject) {
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    let advanced = at_once(|| {
        let store = store.clone();
        async move { store.advance(NAME, step(0, 100)).await.unwrap() }
    });
    let advanced = advanced.await;
    assert_eq!(advanced.iter().filter(|advance| **advance == Advance::Rotated(1)).count(), 1);
    assert_eq!(advanced.iter().filter(|advance| **advance == Advance::Repeated(1)).count(), CALLERS - 1);
}

async fn a_counter_lives_from_its_last_move(subject: Subject) {
    let store = &subject.store;
    let brief = |presented| Step { lifetime: Duration::ZERO, ..step(presented, 100) };
    store.start_counter(NAME, at(100), SECOND).await.unwrap();
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Rotated(1));
    subject.second_passes().await;
    assert_eq!(store.advance(NAME, brief(1)).await.unwrap(), Advance::Rotated(2));
    assert_eq!(store.advance(NAME, brief(1)).await.unwrap(), Advance::Repeated(2), "a second at least");
    subject.second_passes().await;
    assert_eq!(store.advance(NAME, step(2, 100)).await.unwrap(), Advance::Missing);
}

async fn a_counter_is_invisible_to_everybody_else(subject: Subject) {
    let store = &subject.store;
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap(), None);
    assert_eq!(store.take(NAME).await.unwrap(), None);
    assert!(!store.remove_if(NAME, b"0:100").await.unwrap());
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Missing);
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Rotated(1));
    // And what a caller stores never passes for a counter.
    store.put(NAME, b"C0:100", MINUTE).await.unwrap();
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Missing);
    subject.put_guarded(MINUTE).await;
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Missing);
}

async fn what_is_there_is_held_whatever_it_is(subject: Subject) {
    let store = &subject.store;
    assert!(!store.holds(NAME).await.unwrap());
    store.put(NAME, b"", SECOND).await.unwrap();
    assert!(store.holds(NAME).await.unwrap());
    subject.second_passes().await;
    assert!(!store.holds(NAME).await.unwrap());
    subject.put_guarded(MINUTE).await;
    assert!(store.holds(NAME).await.unwrap());
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert!(store.holds(NAME).await.unwrap());
    store.remove(NAME).await.unwrap();
    assert!(!store.holds(NAME).await.unwrap());
}

/// All that have not ended then.
async fn members(store: &dyn Store, now: u64) -> Vec<Vec<u8>> {
    store.enlisted(NAME, Page { now: at(now), skip: 0, size: 100 }).await.unwrap()
}

async fn a_set_has_its_members_until_their_ends_by_the_callers_clock(Subject { store, .. }: Subject) {
    let now = NOW;
    assert!(members(&*store, now).await.is_empty());
    store.enlist(NAME, &VALUE, at(now + 10), at(now)).await.unwrap();
    store.enlist(NAME, b"", at(now + 20), at(now)).await.unwrap();
    store.enlist(NAME, b"late", at(now), at(now)).await.unwrap();
    assert_eq!(members(&*store, now).await, [&VALUE[..], b""]);
    assert_eq!(members(&*store, now + 9).await.len(), 2);
    assert_eq!(members(&*store, now + 10).await, [b""], "its end is not a part of its life");
    store.enlist(NAME, b"new", at(now + 99), at(now + 10)).await.unwrap();
    assert_eq!(members(&*store, now).await, [&b""[..], b"new"], "what has ended is swept");
    store.strike(NAME, b"").await.unwrap();
    store.strike(NAME, b"nobody").await.expect("striking nothing is no failure");
    assert_eq!(members(&*store, now).await, [b"new"]);
}

async fn a_set_is_read_page_by_page_in_the_order_of_ends(Subject { store, .. }: Subject) {
    // Some end together.
    for number in (0..25_u8).rev() {
        store.enlist(NAME, &[number], at(NOW + 10 + u64::from(number / 10)), at(NOW)).await.unwrap();
    }
    let (mut read, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = store.enlisted(NAME, Page { now: at(NOW), skip: read.len(), size: 10 }).await.unwrap();
        pages.push(page.len());
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(pages, [10, 10, 5, 0]);
    assert_eq!(read, (0..25_u8).map(|number| vec![number]).collect::<Vec<_>>());
}

async fn a_member_whose_end_is_moved_is_in_the_set_once(Subject { store, .. }: Subject) {
    store.enlist(NAME, b"it", at(NOW + 10), at(NOW)).await.unwrap();
    store.enlist(NAME, b"it", at(NOW + 99), at(NOW)).await.unwrap();
    assert_eq!(members(&*store, NOW).await, [b"it"]);
    assert_eq!(members(&*store, NOW + 10).await, [b"it"]);
    store.enlist(NAME, b"it", at(NOW), at(NOW)).await.unwrap();
    assert!(members(&*store, NOW).await.is_empty());
}

async fn of_many_who_enlist_at_once_all_are_in_the_set(Subject { store, .. }: Subject) {
    let enlisted = at_once(|| {
        let store = store.clone();
        async move { store.enlist(NAME, &random_bytes::<32>(), at(NOW + 60), at(NOW)).await.unwrap() }
    });
    enlisted.await;
    assert_eq!(members(&*store, NOW).await.len(), CALLERS);
}

async fn a_set_is_gone_with_its_last_member(subject: Subject) {
    let store = &subject.store;
    // Of memory this is its own time, which the set's end is told by.
    let now = subject.clock.as_ref().map_or(NOW, |clock| clock.now().unix());
    store.enlist(NAME, b"first", at(now + 60), at(now)).await.unwrap();
    store.enlist(NAME, b"first", at(now + 1), at(now)).await.unwrap();
    assert!(store.holds(NAME).await.unwrap());
    subject.second_passes().await;
    assert!(!store.holds(NAME).await.unwrap(), "nobody need come to sweep it");
}

/// A number that a careless script would write as 1.8e+12.
const NOW: u64 = 1_800_000_000_000;

async fn who_listens_hears_what_is_announced_from_then_on(Subject { store, .. }: Subject) {
    store.announce(TOPIC, b"nobody").await.expect("nobody need be there");
    let (mut one, mut other) = (store.listen(TOPIC), store.listen(TOPIC));
    for listener in [&mut one, &mut other] {
        assert_eq!(heard(listener).await, Announcement::Listening);
    }
    // The least user of Redis may not, and then nobody hears it either.
    let _ = store.announce("sallyport:other", b"elsewhere").await;
    for message in [&VALUE[..], b"", b"again", b"again"] {
        store.announce(TOPIC, message).await.unwrap();
        for listener in [&mut one, &mut other] {
            assert_eq!(heard(listener).await, Announcement::Said(message.to_vec()));
        }
    }
}

const TOPIC: &str = "sallyport:revoked";

/// Bounded: five seconds.
async fn heard(listener: &mut Box<dyn Listener>) -> Announcement {
    tokio::time::timeout(5 * SECOND, listener.next()).await.expect("nothing was heard")
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn step(presented: u32, now: u64) -> Step {
    Step { presented, now: at(now), grace: Duration::from_secs(45), lifetime: MINUTE }
}

/// What each of many callers gets that start together.
async fn at_once<T: Send + 'static, Answer: Future<Output = T> + Send + 'static>(call: impl Fn() -> Answer) -> Vec<T> {
    let start = Arc::new(tokio::sync::Barrier::new(CALLERS));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (start, call) = (start.clone(), call());
        calls.spawn(async move {
            start.wait().await;
            call.await
        });
    }
    calls.join_all().await
}

const CALLERS: usize = 40;
