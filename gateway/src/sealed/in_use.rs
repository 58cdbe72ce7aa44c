//! A value that is replaced as a whole while it is in use.
//!
//! `tests/schedules.rs` compiles this file a second time.

use crate::sync::{Arc, ArcSwap, Guard, Mutex, PoisonError};

pub struct InUse<T> {
    /// What an operation loads once and keeps to its end, so that it never mixes two values. Nobody waits for a replacement.
    current: ArcSwap<T>,
    /// Between the look at the present value and its replacement nobody else replaces it.
    replacing: Mutex<()>,
}

impl<T> InUse<T> {
    pub fn new(value: T) -> Self {
        Self { current: ArcSwap::from_pointee(value), replacing: Mutex::new(()) }
    }

    pub fn load(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// # Errors
    /// When the present value does not admit its successor. It stays then.
    pub fn replace<E>(&self, successor: impl FnOnce(&T) -> Result<T, E>) -> Result<(), E> {
        // It guards nothing that a panic could have left half done.
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let successor = successor(&self.load())?;
        self.current.store(Arc::new(successor));
        Ok(())
    }
}
