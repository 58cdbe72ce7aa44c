//! One question for everybody who asks the same at the same time.
//!
//! Its tests are beside it: `tests/schedules.rs` compiles this file a second time.

use std::collections::HashMap;
use std::hash::Hash;

use crate::sync::{Arc, Mutex, MutexGuard, OnceCell, PoisonError};

/// Holds only questions that somebody waits for the answer of.
pub struct Flights<Q: Copy + Eq + Hash, T>(Mutex<HashMap<Q, Open<T>>>);

struct Open<T> {
    answer: Arc<OnceCell<T>>,
    /// Changed with the map locked only: so whoever leaves last knows it, and nobody can come meanwhile.
    waiting: usize,
}

/// A place among those who wait.
struct Seat<'a, Q: Copy + Eq + Hash, T> {
    flights: &'a Flights<Q, T>,
    question: Q,
    answer: Arc<OnceCell<T>>,
}

impl<Q: Copy + Eq + Hash, T: Clone> Flights<Q, T> {
    /// The first one's `ask` is run; when whoever runs it goes away, another one's is.
    pub async fn share(&self, question: Q, ask: impl Future<Output = T>) -> T {
        let seat = self.seat(question);
        seat.answer.get_or_init(|| ask).await.clone()
    }
}

impl<Q: Copy + Eq + Hash, T> Flights<Q, T> {
    fn seat(&self, question: Q) -> Seat<'_, Q, T> {
        let mut open = self.open();
        let place = open.entry(question).or_default();
        if place.answer.initialized() {
            // An answer counts for those who waited for it and for nobody after, though some of them may still be here.
            *place = Open::default();
        }
        place.waiting += 1;
        Seat { flights: self, question, answer: place.answer.clone() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Q, Open<T>>> {
        // Nothing panics while it is locked; a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.open().is_empty()
    }
}

impl<Q: Copy + Eq + Hash, T> Default for Flights<Q, T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self { answer: Arc::new(OnceCell::new()), waiting: 0 }
    }
}

impl<Q: Copy + Eq + Hash, T> Drop for Seat<'_, Q, T> {
    fn drop(&mut self) {
        let mut open = self.flights.open();
        let Some(place) = open.get_mut(&self.question).filter(|place| Arc::ptr_eq(&place.answer, &self.answer)) else {
            return;
        };
        place.waiting -= 1;
        if place.waiting == 0 {
            open.remove(&self.question);
        }
    }
}
