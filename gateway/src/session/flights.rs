//! One caller at a time for each session, in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use crate::sealed::Index;

/// Holds only sessions that somebody works on or waits for.
#[derive(Default)]
pub struct Flights(Mutex<HashMap<Index, Arc<Queue<()>>>>);

/// A caller's turn; the next one's begins when it is dropped.
pub struct Turn<'a> {
    flights: &'a Flights,
    session: Index,
    queue: Arc<Queue<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    pub async fn turn(&self, session: Index) -> Turn<'_> {
        let queue = self.queues().entry(session).or_default().clone();
        // Made before the wait, so that whoever gives up waiting tidies up too.
        let mut turn = Turn { flights: self, session, queue, guard: None };
        turn.guard = Some(turn.queue.clone().lock_owned().await);
        turn
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Index, Arc<Queue<()>>>> {
        // Every change to the map is one call: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard.take();
        let mut queues = self.flights.queues();
        // The map's and ours: nobody else waits, and nobody can begin to while the map is locked.
        if Arc::strong_count(&self.queue) == 2 {
            queues.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn turns_of_one_session_do_not_overlap_and_nothing_is_left() {
        let (flights, inside) = (Arc::new(Flights::default()), Arc::new(AtomicUsize::new(0)));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (flights, inside) = (flights.clone(), inside.clone());
            callers.spawn(async move {
                let _turn = flights.turn(Index([1; 32])).await;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::time::sleep(Duration::from_millis(1)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
            });
        }
        callers.join_all().await;
        assert!(flights.queues().is_empty());
    }

    #[tokio::test]
    async fn sessions_do_not_wait_for_each_other_and_who_gives_up_leaves_nothing() {
        let flights = Flights::default();
        let first = flights.turn(Index([1; 32])).await;
        drop(flights.turn(Index([2; 32])).await);
        let impatient = tokio::time::timeout(Duration::from_millis(10), flights.turn(Index([1; 32]))).await;
        assert!(impatient.is_err());
        drop(first);
        assert!(flights.queues().is_empty());
    }
}
