//! What every store promises, run against memory and against a real redis-server.

#[path = "../../tests/it/support/redis_server.rs"]
pub mod redis_server;

mod apart;
mod counters;
mod entra_user;
mod forms;
mod guarded;
mod redis_only;
mod sets;

use std::sync::Arc;
use std::time::Duration;

use super::{Advance, Announcement, Claim, Guarded, Listener, MemoryStore, Page, Redemption, Step, Store, StoreError};
use super::{RedisSettings, RedisStore};
use crate::clock::{Clock, Timestamp};
use crate::secret::random_bytes;
use apart::Apart;
use counters::*;
use guarded::*;
use redis_server::RedisServer;
use sets::*;

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

/// A number that a careless script would write as 1.8e+12.
const NOW: u64 = 1_800_000_000_000;
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
