//! How the last reload of the configuration went, for whoever asks.

use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::Timestamp;

/// Shared by who reloads and who is asked.
#[derive(Clone, Default)]
pub struct Reloads(Arc<RwLock<Last>>);

#[derive(Clone, Debug, Default)]
pub struct Last {
    /// `None`: the configuration is that of the start.
    pub at: Option<Timestamp>,
    /// What was wrong with it, a line each; then the configuration before it stays.
    pub mistakes: Vec<String>,
    /// Of the last good one: keys that have changed and still are as they were at the start.
    pub at_next_start: Vec<String>,
}

/// A configuration that was good. Names of keys.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    pub changed: Vec<String>,
    pub at_next_start: Vec<String>,
}

impl Reloads {
    pub fn last(&self) -> Last {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn took(&self, at: Timestamp, reloaded: Reloaded) {
        let last = Last { at: Some(at), mistakes: Vec::new(), at_next_start: reloaded.at_next_start };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = last;
    }

    pub fn refused(&self, at: Timestamp, mistakes: Vec<String>) {
        let mut last = self.0.write().unwrap_or_else(PoisonError::into_inner);
        (last.at, last.mistakes) = (Some(at), mistakes);
    }
}
