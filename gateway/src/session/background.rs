//! Renewals that nobody waits for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cache::Entry;
use super::renewal::Occasion;
use super::token::AccessToken;
use super::{NotRefreshed, Sessions, reference};
use crate::sealed::Index;
use crate::traces;

/// The sessions for which something is being done in the background.
#[derive(Default)]
pub(super) struct Background(Mutex<HashSet<Index>>);

/// One of them, until it is dropped.
pub(super) struct Running {
    background: Arc<Background>,
    session: Index,
}

impl Sessions {
    /// Begins to renew Entra's token if that is due and nobody has begun. The request goes on with the token there is: it
    /// neither waits for this nor learns what became of it (GU-7, GU-8).
    pub(super) fn renew_in_background(self: &Arc<Self>, token: &AccessToken, session: Index, entry: &Entry) {
        if !entry.should_be_renewed(self.clock.now()) {
            return;
        }
        let Some(running) = self.background.begin(session) else { return };
        if !entry.begin_renewal() {
            return;
        }
        let (sessions, handle) = (self.clone(), token.handle());
        tokio::spawn(traces::following("renew in background", async move {
            let running = running;
            match sessions.up_to_date(&handle, session, Occasion::Call).await {
                // What Entra said is logged where it was asked.
                Ok(_) | Err(NotRefreshed::Later { .. }) => {}
                Err(error) => tracing::warn!(session = reference(session), %error, "not renewed in the background"),
            }
            drop(running);
        }));
    }
}

impl Background {
    /// `None` when it runs already, or when as many run as may: the next request asks again.
    pub fn begin(self: &Arc<Self>, session: Index) -> Option<Running> {
        let mut running = self.running();
        let begun = running.len() < AT_MOST && running.insert(session);
        begun.then(|| Running { background: self.clone(), session })
    }

    fn running(&self) -> MutexGuard<'_, HashSet<Index>> {
        // Every change to the set is one call: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.background.running().remove(&self.session);
    }
}

/// Each is a few calls of the store, and a renewal one to Entra, which requests must not have to queue behind.
const AT_MOST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_sessions_at_a_time_and_each_once() {
        let background = Arc::new(Background::default());
        let mut running: Vec<_> = (0..AT_MOST as u8).map(|n| background.begin(Index([n; 32])).unwrap()).collect();
        assert!(background.begin(Index([255; 32])).is_none(), "there is no room");
        running.pop();
        assert!(background.begin(Index([0; 32])).is_none(), "it runs");
        assert!(background.begin(Index([255; 32])).is_some());
        drop(running);
        assert!(background.running().is_empty());
    }
}
