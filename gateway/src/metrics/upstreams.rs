//! What is counted for each upstream. Their names are the operator's, from the configuration; no others are counted.

use std::collections::HashMap;

use prometheus::{IntCounter, IntGauge};

use super::family::{Family, Maker};
use super::labels::{CODE_CLASSES, SERVER_STATES, UPSTREAM_CAUSES};

pub struct UpstreamMetrics {
    by_name: HashMap<String, Upstream>,
}

struct Upstream {
    answered: Family<IntCounter>,
    failures: Family<IntCounter>,
    ejections: IntCounter,
    servers: Family<IntGauge>,
}

impl UpstreamMetrics {
    pub fn new<'a>(make: &Maker<'_>, names: impl IntoIterator<Item = &'a str>) -> Self {
        let answered = make.counters(
            "sallyport_upstream_answers_total",
            "Answers of upstreams' servers, by class of status.",
            &["upstream", "code_class"],
        );
        let failures = make.counters(
            "sallyport_upstream_failures_total",
            "Requests that an upstream did not answer whole, by cause; none_well: no server could be asked.",
            &["upstream", "cause"],
        );
        let ejections = make.counters(
            "sallyport_upstream_ejections_total",
            "Servers that got no requests for a while after several in a row without an answer.",
            &["upstream"],
        );
        let servers = make.gauges(
            "sallyport_upstream_servers",
            "Addresses of an upstream's servers, by state; only those that are ready get new sessions.",
            &["upstream", "state"],
        );
        let upstream = |name: &str| {
            let (answered, failures, servers, named) =
                (answered.clone(), failures.clone(), servers.clone(), [name; 3].map(str::to_owned));
            let [of_answers, of_failures, of_servers] = named;
            Upstream {
                answered: Family::new(CODE_CLASSES, move |class| answered.with_label_values(&[&of_answers, class])),
                failures: Family::new(UPSTREAM_CAUSES, move |cause| failures.with_label_values(&[&of_failures, cause])),
                ejections: ejections.with_label_values(&[name]),
                servers: Family::new(SERVER_STATES, move |state| servers.with_label_values(&[&of_servers, state])),
            }
        };
        Self { by_name: names.into_iter().map(|name| (name.to_owned(), upstream(name))).collect() }
    }

    pub fn answered(&self, upstream: &str, code_class: &str) {
        if let Some(upstream) = self.by_name.get(upstream) {
            upstream.answered.count(code_class);
        }
    }

    pub fn failed(&self, upstream: &str, cause: &str) {
        if let Some(upstream) = self.by_name.get(upstream) {
            upstream.failures.count(cause);
        }
    }

    pub fn ejected(&self, upstream: &str) {
        if let Some(upstream) = self.by_name.get(upstream) {
            upstream.ejections.inc();
        }
    }

    /// In the order of their states.
    pub fn servers(&self, upstream: &str, counts: [i64; SERVER_STATES.len()]) {
        let Some(upstream) = self.by_name.get(upstream) else { return };
        for (state, count) in SERVER_STATES.iter().zip(counts) {
            upstream.servers.of(state).set(count);
        }
    }
}
