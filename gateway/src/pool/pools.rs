//! Every group there is, as the configuration of now has them.

use std::sync::Arc;

use tokio::sync::watch;

use super::Pool;

/// Shared by whoever shows the groups, looks after them, and replaces them.
#[derive(Clone)]
pub struct Pools(watch::Sender<Vec<Arc<Pool>>>);

impl Pools {
    pub fn new(pools: Vec<Arc<Pool>>) -> Self {
        Self(watch::Sender::new(pools))
    }

    /// In the order of the configuration.
    pub fn all(&self) -> Vec<Arc<Pool>> {
        self.0.borrow().clone()
    }

    pub fn replace(&self, pools: Vec<Arc<Pool>>) {
        self.0.send_replace(pools);
    }

    /// Tells of every change.
    pub fn watch(&self) -> watch::Receiver<Vec<Arc<Pool>>> {
        self.0.subscribe()
    }
}
