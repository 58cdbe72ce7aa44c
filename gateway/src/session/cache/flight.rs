//! One question for everybody who asks the same at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::Verifier;
use crate::sealed::Index;

/// The secret is part of the question: nobody gets the answer to another one's.
type Question = (Index, Verifier);

/// Holds only questions that somebody waits for the answer of.
pub(super) struct Flights<T>(Mutex<HashMap<Question, Arc<OnceCell<T>>>>);

/// A place among those who wait.
struct Seat<'a, T> {
    flights: &'a Flights<T>,
    question: Question,
    answer: Arc<OnceCell<T>>,
}

impl<T: Clone> Flights<T> {
    /// The first one's `ask` is run; when whoever runs it goes away, another one's is.
    pub async fn share(&self, question: Question, ask: impl Future<Output = T>) -> T {
        let answer = self.open().entry(question).or_default().clone();
        let seat = Seat { flights: self, question, answer };
        seat.answer.get_or_init(|| ask).await.clone()
    }
}

impl<T> Flights<T> {
    fn open(&self) -> MutexGuard<'_, HashMap<Question, Arc<OnceCell<T>>>> {
        // Every change to the map is one call: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        let mut open = self.flights.open();
        let same = open.get(&self.question).is_some_and(|answer| Arc::ptr_eq(answer, &self.answer));
        // An answer counts for those who waited for it and for nobody after. Without one, the map's and ours: nobody else
        // waits, and nobody can begin to while the map is locked.
        if same && (self.answer.initialized() || Arc::strong_count(&self.answer) == 2) {
            open.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::secret::SecretKey;

    fn question(secret: u8) -> Question {
        (Index([1; 32]), Verifier::of(&SecretKey::new([secret; 32])))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_asks_for_all_and_nothing_is_left() {
        let (flights, asked) = (Arc::new(Flights::default()), Arc::new(AtomicUsize::new(0)));
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..100_u8 {
            let (flights, asked) = (flights.clone(), asked.clone());
            callers.spawn(async move {
                let ask = async {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    caller % 2
                };
                assert_eq!(flights.share(question(caller % 2), ask).await, caller % 2);
            });
        }
        callers.join_all().await;
        assert_eq!(asked.load(Ordering::SeqCst), 2, "one for each secret");
        assert!(flights.open().is_empty());
        assert_eq!(flights.share(question(0), async { 7 }).await, 7, "an old answer is nobody's");
    }

    #[tokio::test]
    async fn when_the_one_who_asks_goes_away_another_one_asks() {
        let flights = Flights::default();
        let never = flights.share(question(1), std::future::pending::<u8>());
        let patient = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            flights.share(question(1), async { 7 }).await
        };
        let (given_up, answer) = tokio::join!(tokio::time::timeout(Duration::from_millis(50), never), patient);
        assert!(given_up.is_err());
        assert_eq!(answer, 7);
        assert!(flights.open().is_empty());
    }
}
