//! What is counted of requests to the store.

use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::family::Maker;
use super::labels::RESULTS;
use crate::store::{Observer, Operation};

/// Told by the store.
pub struct StoreMetrics {
    /// By operation, and by whether it was answered.
    requests: [[IntCounter; 2]; Operation::ALL.len()],
    duration: Histogram,
}

impl StoreMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let requests = make.counters(
            "sallyport_store_requests_total",
            "Requests to the store, by operation and result; failed: it did not answer, or not in time.",
            &["op", "result"],
        );
        let duration = make.histogram(
            "sallyport_store_request_duration_seconds",
            "From a request to the store to its answer, or its end.",
        );
        let of = |operation: Operation| {
            let [ok, failed] = [RESULTS[0], RESULTS[1]];
            [ok, failed].map(|result| requests.with_label_values(&[operation.name(), result]))
        };
        Self { requests: Operation::ALL.map(of), duration }
    }
}

impl Observer for StoreMetrics {
    fn ended(&self, operation: Operation, well: bool, took: Duration) {
        self.requests[operation as usize][usize::from(!well)].inc();
        self.duration.observe(took.as_secs_f64());
    }
}
