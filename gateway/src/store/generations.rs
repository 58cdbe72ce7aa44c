//! Which of a session's refresh tokens is the newest.

use std::sync::Arc;
use std::time::Duration;

use super::{Advance, Step, Store, StoreError, name_of};
use crate::clock::Timestamp;
use crate::sealed::Index;

/// A counter for each session. It says nothing of what it counts, so it is not sealed; where it stands decides alone what
/// a refresh token is worth, whichever replica asks (T13).
pub struct Generations(Arc<dyn Store>);

impl Generations {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// From generation 0.
    pub async fn start(&self, session: Index, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.0.start_counter(&name_of(KIND, session), now, lifetime).await
    }

    pub async fn advance(&self, session: Index, step: Step) -> Result<Advance, StoreError> {
        self.0.advance(&name_of(KIND, session), step).await
    }

    pub async fn remove(&self, session: Index) -> Result<(), StoreError> {
        self.0.remove(&name_of(KIND, session)).await
    }
}

const KIND: &str = "generation";
