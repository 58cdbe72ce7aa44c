//! What is counted for each upstream. Their names are the operator's, from the configuration; what has left it is not shown any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::family::{Family, Maker};
use super::http::code_class;
use super::labels::{CODE_CLASSES, SERVER_STATES, UPSTREAM_CAUSES};

pub struct UpstreamMetrics {
    answered: IntCounterVec,
    failures: IntCounterVec,
    ejections: IntCounterVec,
    servers: IntGaugeVec,
    by_name: Mutex<HashMap<String, Arc<UpstreamCounts>>>,
}

/// The series of one upstream, held by whoever counts: found without a lock.
pub struct UpstreamCounts {
    answered: Family<IntCounter>,
    failures: Family<IntCounter>,
    ejections: IntCounter,
    servers: Family<IntGauge>,
}

impl UpstreamMetrics {
    pub fn new(make: &Maker<'_>) -> Self {
        Self {
            answered: make.counters(
                "sallyport_upstream_answers_total",
                "Answers of upstreams' servers, by class of status.",
                &["upstream", "code_class"],
            ),
            failures: make.counters(
                "sallyport_upstream_failures_total",
                "Requests that an upstream did not answer whole, by cause; none_well: no server could be asked.",
                &["upstream", "cause"],
            ),
            ejections: make.counters(
                "sallyport_upstream_ejections_total",
                "Servers that got no requests for a while after several in a row without an answer.",
                &["upstream"],
            ),
            servers: make.gauges(
                "sallyport_upstream_servers",
                "Addresses of an upstream's servers, by state; only those that are ready get new sessions.",
                &["upstream", "state"],
            ),
            by_name: Mutex::default(),
        }
    }

    /// The series of an upstream, all at zero if there were none.
    pub fn of(&self, name: &str) -> Arc<UpstreamCounts> {
        self.by_name().entry(name.to_owned()).or_insert_with(|| Arc::new(self.make(name))).clone()
    }

    pub fn find(&self, name: &str) -> Option<Arc<UpstreamCounts>> {
        self.by_name().get(name).cloned()
    }

    /// Lets go of the series of all others. What still runs for one of them counts for nobody.
    pub fn keep(&self, names: &[&str]) {
        self.by_name().retain(|name, _| {
            let stays = names.contains(&name.as_str());
            if !stays {
                // One that was never there need not be removed.
                CODE_CLASSES.iter().for_each(|class| drop(self.answered.remove_label_values(&[name.as_str(), class])));
                UPSTREAM_CAUSES
                    .iter()
                    .for_each(|cause| drop(self.failures.remove_label_values(&[name.as_str(), cause])));
                SERVER_STATES.iter().for_each(|state| drop(self.servers.remove_label_values(&[name.as_str(), state])));
                drop(self.ejections.remove_label_values(&[name]));
            }
            stays
        });
    }

    fn make(&self, name: &str) -> UpstreamCounts {
        let (answered, failures, servers) = (self.answered.clone(), self.failures.clone(), self.servers.clone());
        let [of_answers, of_failures, of_servers] = [name; 3].map(str::to_owned);
        UpstreamCounts {
            answered: Family::new(CODE_CLASSES, move |class| answered.with_label_values(&[&of_answers, class])),
            failures: Family::new(UPSTREAM_CAUSES, move |cause| failures.with_label_values(&[&of_failures, cause])),
            ejections: self.ejections.with_label_values(&[name]),
            servers: Family::new(SERVER_STATES, move |state| servers.with_label_values(&[&of_servers, state])),
        }
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Arc<UpstreamCounts>>> {
        // Every change to the map is one call: a panic elsewhere leaves it whole.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UpstreamCounts {
    /// A server's answer began.
    pub fn answered(&self, status: u16) {
        self.answered.count(code_class(status));
    }

    pub fn failed(&self, cause: &'static str) {
        self.failures.count(cause);
    }

    pub fn ejected(&self) {
        self.ejections.inc();
    }

    /// How many servers are in each state now, in the order of the states.
    pub(super) fn servers(&self, counts: [i64; SERVER_STATES.len()]) {
        for (state, count) in SERVER_STATES.iter().zip(counts) {
            self.servers.of(state).set(count);
        }
    }
}
