//! Where records live between requests: [`Store`] keeps bytes, [`Table`] keeps sealed values of one type.
//!
//! The store is not trusted. What it holds is sealed under a key that also needs a secret which only the browser or the
//! client has (T36); every record is bound to its own name (T37) and carries its own end of life, so that a restored
//! backup revives nothing.

#[cfg(test)]
mod conformance;
mod memory;
mod redis;
mod table;

use std::time::Duration;

use async_trait::async_trait;

pub use memory::MemoryStore;
pub use redis::{RedisSettings, RedisStore, RedisUrl, RedisUrlError, SettingsError};
pub use table::{Redeemed, Table};

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

    /// Writes a value that only [`Store::redeem`] can read.
    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError>;

    /// Compares and takes in one step. A wrong guess leaves the value where it is (T11); the right one leaves its epitaph
    /// for `epitaph_lifetime`, so that a second redemption is recognised.
    async fn redeem(&self, name: &str, guard: &Guard, epitaph_lifetime: Duration) -> Result<Redemption, StoreError>;
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
    /// The guard matched; nobody else gets the value.
    Value(Vec<u8>),
    /// There is a value, bound to something else. It is still there.
    Mismatch,
    /// It was redeemed before.
    Spent(Epitaph),
    Missing,
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Transient: the caller says "try later", never "who are you".
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The record is there but not ours: altered, moved, or of another version.
    #[error("a record of type {kind} does not open: {cause}")]
    Unreadable { kind: &'static str, cause: crate::sealed::OpenError },
}
