//! Where records live between requests: [`Store`] keeps bytes, [`Table`] keeps sealed values of one type.
//!
//! The store is not trusted. What it holds is sealed under a key that also needs a secret which only the browser or the
//! client has (T36); every record is bound to its own name (T37) and carries its own end of life, so that a restored
//! backup revives nothing.

mod announcements;
#[cfg(test)]
pub mod conformance;
mod generations;
mod locks;
mod memory;
mod observed;
mod open_table;
mod redis;
#[cfg(test)]
mod switchable;
mod table;

use std::time::Duration;

use async_trait::async_trait;

pub use announcements::{Announcement, Listener};
pub use generations::Generations;
pub use locks::{Held, Locks};
pub use memory::MemoryStore;
pub use observed::{Observed, Observer, Operation};
pub use open_table::OpenTable;
pub use redis::{AZURE_REDIS, BreakerSettings, EntraUser, RedisSettings, RedisStore};
pub use redis::{Facts, Inspection, inspect};
pub use redis::{RedisUrl, RedisUrlError, SettingsError};
#[cfg(test)]
pub use switchable::Switchable;
pub use table::{Redeemed, Table};

use crate::clock::Timestamp;
use crate::sealed::Index;

/// Which store to use.
#[derive(Clone, Debug)]
pub enum Settings {
    /// For one replica: nothing survives a restart.
    Memory,
    Redis(RedisSettings),
}

/// A digest of what a guarded value is bound to.
pub type Guard = [u8; 32];

/// What is kept of a guarded value once it was redeemed: enough to end what it gave when it is tried again (T10).
pub type Epitaph = [u8; 32];

/// Bytes under names, each with a lifetime. Memory and Redis promise the same: see the conformance suite.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes `value`, replacing what was there. It is gone after `lifetime`, in whole seconds: what would live for less
    /// than one is not kept at all.
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError>;

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Reads and removes in one step: of many callers, one gets the value.
    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    async fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Writes `value` only where there is something: what was removed is not revived by somebody who read it before.
    /// Whether it was written. A lifetime of less than a second removes.
    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError>;

    /// Writes `value` only where there is nothing: of many callers, one gets `true`. A lifetime of less than a second
    /// writes nothing.
    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError>;

    /// Removes what [`Store::put_new`] or [`Store::put`] wrote, only if it is still `value`. Whether it was.
    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError>;

    /// Writes a value that only [`Store::redeem`] can read.
    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError>;

    /// Compares and claims in one step. A wrong guess leaves the value where it is (T11); the right one gets it, and
    /// nobody else does unless it is never settled.
    async fn redeem(&self, name: &str, claim: &Claim) -> Result<Redemption, StoreError>;

    /// Ends a claim: of the value, only its epitaph is left for `claim.epitaph_lifetime`, so that a second redemption is
    /// recognised. Whether the claim still counted; of many claimants that is said to one, as often as it asks.
    async fn settle(&self, name: &str, claim: &Claim) -> Result<bool, StoreError>;

    /// Writes a counter that stands at 0 and that only [`Store::advance`] can read, replacing what was there.
    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError>;

    /// Compares and moves in one step: who presents where the counter stands moves it by one, and it lives for
    /// `step.lifetime` from then on (a second at least).
    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError>;

    /// Whether there is something under `name`, without reading it.
    async fn holds(&self, name: &str) -> Result<bool, StoreError>;

    /// Adds `member` to a set until `ends`, or moves its end. Members whose end has come go as others are added, and the
    /// set with its last one. What has ended already is not added.
    async fn enlist(&self, set: &str, member: &[u8], ends: Timestamp, now: Timestamp) -> Result<(), StoreError>;

    /// The members of a set that have not ended, those that end first first, a page at a time.
    async fn enlisted(&self, set: &str, page: Page) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Takes a member out of a set. That it is not in it is no failure.
    async fn strike(&self, set: &str, member: &[u8]) -> Result<(), StoreError>;

    /// Says `message` to everybody who listens to `topic`, in every replica. Whether anybody heard it nobody knows.
    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError>;

    /// What is announced on `topic` by any replica, this one included. Nothing is heard until it is asked for.
    fn listen(&self, topic: &'static str) -> Box<dyn Listener>;
}

/// A part of a set: a store that serves others meanwhile never gives more than a page at once.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub now: Timestamp,
    /// How many members come before it.
    pub skip: usize,
    /// How many it has at most.
    pub size: usize,
}

/// What is presented to a guarded value.
///
/// Redis may take a value out and its answer be lost on the way. That must neither lose the code nor make a thief of who
/// asks again, so a value is first claimed and then settled: until it is settled, nobody has said that the answer came.
#[derive(Clone, Copy)]
pub struct Claim {
    pub guard: Guard,
    /// Whose it is; random. Asking again under it changes nothing.
    pub claimant: [u8; 16],
    pub now: Timestamp,
    /// For how long after it was claimed first an unsettled value may go to another claimant, the last second included.
    pub grace: Duration,
    /// Whether to claim what another has claimed and not settled.
    pub insists: bool,
    pub epitaph_lifetime: Duration,
}

/// What is presented to a counter.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where the caller believes that the counter stands.
    pub presented: u32,
    pub now: Timestamp,
    /// For how long after a move the place before it is still taken for an honest repetition, the last second included.
    pub grace: Duration,
    pub lifetime: Duration,
}

/// What [`Store::advance`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// The counter stood at what was presented, and now stands here.
    Rotated(u32),
    /// Somebody moved it from there to here a moment ago. Nothing is changed.
    Repeated(u32),
    /// It was moved from there long ago, or further since: whoever asks has an old value. Nothing is changed.
    Reused,
    /// There is no such counter, or it has never stood there.
    Missing,
}

impl Advance {
    /// The rules, for a counter that stands at `current` since `moved`. Redis has them in a script of its own.
    fn of(current: u32, moved: Timestamp, step: &Step) -> Self {
        let since = step.now.unix().saturating_sub(moved.unix());
        match step.presented.checked_add(1) {
            Some(next) if step.presented == current => Advance::Rotated(next),
            Some(next) if next == current && since <= step.grace.as_secs() => Advance::Repeated(current),
            _ if step.presented < current => Advance::Reused,
            _ => Advance::Missing,
        }
    }
}

/// `sallyport:<kind>:<keyed hash of the id>`.
fn name_of(kind: &str, index: Index) -> String {
    format!("sallyport:{kind}:{}", index.to_text())
}

/// A value, what it is bound to, and what remains of it.
#[derive(Clone, Copy)]
pub struct Guarded<'a> {
    pub guard: &'a Guard,
    pub epitaph: &'a Epitaph,
    pub value: &'a [u8],
}

/// What [`Store::redeem`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Redemption {
    /// The guard matched, and the value is the claimant's.
    Value(Vec<u8>),
    /// Another with the same guard claimed it a moment ago, and has not settled it.
    Claimed,
    /// There is a value, bound to something else. It is still there.
    Mismatch,
    /// It was redeemed before.
    Spent(Epitaph),
    Missing,
}

/// Why the store did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Transient: the caller says "try later", never "who are you".
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The record is there but not ours: altered, moved, or of another version.
    #[error("a record of type {kind} does not open: {cause}")]
    Unreadable { kind: &'static str, cause: crate::sealed::OpenError },
}
