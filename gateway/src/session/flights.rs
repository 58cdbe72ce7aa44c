//! One caller at a time for each session, in this process.
//!
//! Its tests are beside it: `tests/schedules.rs` compiles this file a second time.

use std::collections::HashMap;
use std::hash::Hash;

use crate::sync::{Arc, Mutex, MutexGuard, OwnedMutexGuard, PoisonError, Queue};

/// Holds only sessions that somebody works on or waits for.
pub struct Flights<S: Copy + Eq + Hash>(Mutex<HashMap<S, Line>>);

#[derive(Default)]
struct Line {
    queue: Arc<Queue<()>>,
    /// Changed with the map locked only: so whoever leaves last knows it, and nobody can come meanwhile.
    callers: usize,
}

/// A caller's turn; the next one's begins when it is dropped.
pub struct Turn<'a, S: Copy + Eq + Hash> {
    flights: &'a Flights<S>,
    session: S,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<S: Copy + Eq + Hash> Flights<S> {
    pub async fn turn(&self, session: S) -> Turn<'_, S> {
        let queue = self.stand_in_line(session);
        // Made before the wait, so that whoever gives up waiting tidies up too.
        let mut turn = Turn { flights: self, session, guard: None };
        turn.guard = Some(queue.lock_owned().await);
        turn
    }

    fn stand_in_line(&self, session: S) -> Arc<Queue<()>> {
        let mut lines = self.lines();
        let line = lines.entry(session).or_default();
        line.callers += 1;
        line.queue.clone()
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<S, Line>> {
        // Nothing panics while it is locked; a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }
}

impl<S: Copy + Eq + Hash> Default for Flights<S> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<S: Copy + Eq + Hash> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        self.guard.take();
        let mut lines = self.flights.lines();
        let Some(line) = lines.get_mut(&self.session) else { return };
        line.callers -= 1;
        if line.callers == 0 {
            lines.remove(&self.session);
        }
    }
}
