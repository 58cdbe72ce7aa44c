//! The sessions whose record was written anew a moment ago, in a way that every replica must know of at once.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::sealed::Index;

/// With when that was heard. Of what was read before, nothing may be kept.
#[derive(Default)]
pub(super) struct Changed(RwLock<HashMap<Index, Timestamp>>);

impl Changed {
    /// So that no flood of changes fills the memory.
    pub const AT_MOST: usize = 10_000;

    /// `false` when others had to be forgotten for it.
    pub fn remember(&self, session: Index, now: Timestamp) -> bool {
        // Every change to the map is one call: a panic elsewhere leaves it whole.
        let mut changed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if changed.len() >= Self::AT_MOST {
            changed.retain(|_, heard| !heard.after(LONGEST_READ).has_passed(now));
        }
        let room = changed.len() < Self::AT_MOST;
        if !room {
            changed.clear();
        }
        changed.insert(session, now);
        room
    }

    /// Whether what was read at this moment may be from before the change. Within its second nobody can tell.
    pub fn is_since(&self, session: Index, read: Timestamp) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&session).is_some_and(|heard| read <= *heard)
    }
}

/// Longer than any question to the store is waited for.
const LONGEST_READ: Duration = Duration::from_secs(60);
