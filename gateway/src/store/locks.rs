//! Locks that all replicas see, for work that one of them should do.

use std::sync::Arc;
use std::time::Duration;

use super::{Store, StoreError, name_of};
use crate::sealed::Index;
use crate::secret::random_bytes;

/// A lock for each session. It saves work and is no proof of anything: it ends by itself when its holder is gone, and
/// whoever works under it must be done before ([`Locks::LIFETIME`]).
pub struct Locks(Arc<dyn Store>);

/// A lock that is ours.
#[derive(Debug)]
pub struct Held {
    name: String,
    /// Nobody else's: a holder that was too slow must not open what is another's by now.
    owner: [u8; 16],
}

impl Locks {
    pub const LIFETIME: Duration = Duration::from_secs(10);

    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// `None` while somebody else holds it.
    pub async fn acquire(&self, session: Index) -> Result<Option<Held>, StoreError> {
        let held = Held { name: name_of("lock", session), owner: random_bytes() };
        let acquired = self.0.put_new(&held.name, &held.owner, Self::LIFETIME).await?;
        Ok(acquired.then_some(held))
    }

    pub async fn release(&self, held: Held) {
        if let Err(cause) = self.0.remove_if(&held.name, &held.owner).await {
            tracing::warn!(%cause, "a lock was not released; it ends by itself");
        }
    }
}
