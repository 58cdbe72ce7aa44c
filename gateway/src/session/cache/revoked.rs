//! The sessions that ended a moment ago.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::STALE;
use crate::clock::Timestamp;
use crate::sealed::Index;

/// With when each may be forgotten: no entry that was confirmed before its revocation serves any more by then.
#[derive(Default)]
pub(super) struct Revoked(RwLock<HashMap<Index, Timestamp>>);

impl Revoked {
    /// So that no flood of revocations fills the memory.
    pub const AT_MOST: usize = 100_000;

    /// `false` when others had to be forgotten for it.
    pub fn remember(&self, session: Index, now: Timestamp) -> bool {
        // Every change to the map is one call: a panic elsewhere leaves it whole.
        let mut revoked = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if revoked.len() >= Self::AT_MOST {
            revoked.retain(|_, until| !until.has_passed(now));
        }
        let room = revoked.len() < Self::AT_MOST;
        if !room {
            revoked.clear();
        }
        revoked.insert(session, now.after(STALE));
        room
    }

    pub fn contains(&self, session: Index, now: Timestamp) -> bool {
        self.read().get(&session).is_some_and(|until| !until.has_passed(now))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Index, Timestamp>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
