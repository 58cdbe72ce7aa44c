//! When sessions were used last, written down for operators. Nobody waits for it, and losing it is harmless.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::background::Background;
use super::roster::Listing;
use super::{Sessions, reference};
use crate::clock::Timestamp;
use crate::sealed::Index;

#[derive(Default)]
pub(super) struct Uses {
    noted: Mutex<Noted>,
    running: Arc<Background>,
}

/// Whose use was noted in a minute of the clock.
#[derive(Default)]
struct Noted {
    minute: u64,
    sessions: HashSet<Index>,
}

impl Sessions {
    /// To be told whenever the store has said that the session lives: not at each request, but often enough. It reads
    /// nothing, and writes at most once a minute for a session.
    pub(super) fn note_use(&self, session: Index, listing: &Listing) {
        let now = self.clock.now();
        if !listing.created.after(MINUTE).has_passed(now) {
            // When it began is known.
            return;
        }
        let Some(running) = self.uses.running.begin(session) else { return };
        if !self.uses.is_first(session, now) {
            return;
        }
        let (roster, listing) = (self.roster.clone(), Listing { last_used: now, ..listing.clone() });
        tokio::spawn(async move {
            if let Err(error) = roster.note(session, &listing).await {
                tracing::debug!(session = reference(session), %error, "the use of a session was not noted");
            }
            drop(running);
        });
    }
}

impl Uses {
    /// Whether nobody was told so in this minute. More than there is room for are told that somebody was.
    fn is_first(&self, session: Index, now: Timestamp) -> bool {
        // Every change is one call: a panic elsewhere leaves it whole.
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.unix() / MINUTE.as_secs();
        if noted.minute != minute {
            *noted = Noted { minute, sessions: HashSet::new() };
        }
        noted.sessions.len() < AT_MOST && noted.sessions.insert(session)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Sessions in a minute.
const AT_MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_each() {
        let (uses, at) = (Uses::default(), Timestamp::from_unix);
        let (one, other) = (Index([1; 32]), Index([2; 32]));
        assert!(uses.is_first(one, at(600)) && uses.is_first(other, at(600)));
        assert!(!uses.is_first(one, at(600)) && !uses.is_first(one, at(659)));
        assert!(uses.is_first(one, at(660)));
        assert!(!uses.is_first(one, at(661)));
    }
}
