//! The way to upstreams and back.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Histogram;

use super::family::{Family, Maker};
use super::upstreams::{UpstreamCounts, UpstreamMetrics};
use super::{Metrics, labels};

pub(super) struct RelayMetrics {
    upstreams: UpstreamMetrics,
    connect: Family<Histogram>,
    forwarded: Histogram,
    first_byte: Histogram,
}

impl RelayMetrics {
    pub fn new(make: &Maker<'_>) -> Self {
        Self {
            upstreams: UpstreamMetrics::new(make),
            connect: make.histogram_of(
                "sallyport_upstream_connect_duration_seconds",
                "What it took to have a connection to a server, with TLS; reused: one that waited.",
                "connection",
                labels::CONNECTION_KINDS,
            ),
            forwarded: make.histogram(
                "sallyport_forward_duration_seconds",
                "From the request's header until it goes to its server: what the edge adds on the way in.",
            ),
            first_byte: make.histogram(
                "sallyport_upstream_first_byte_seconds",
                "From the request's header to that of the upstream's answer.",
            ),
        }
    }
}

impl Metrics {
    /// What is counted for an upstream.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamCounts> {
        self.relay.upstreams.of(name)
    }

    /// How many servers of an upstream are ready, down, ejected, and draining now. Nothing, if it has left.
    pub fn upstream_servers(&self, name: &str, counts: [i64; labels::SERVER_STATES.len()]) {
        if let Some(upstream) = self.relay.upstreams.find(name) {
            upstream.servers(counts);
        }
    }

    /// There are no upstreams but these any more.
    pub fn keep_upstreams(&self, names: &[&str]) {
        self.relay.upstreams.keep(names);
    }

    /// There is a connection to a server; whether it is one that waited for a request.
    pub fn connected(&self, reused: bool, took: Duration) {
        self.relay.connect.observe(if reused { "reused" } else { "new" }, took.as_secs_f64());
    }

    /// A request goes to its server, this long after its header came.
    pub fn forwarded(&self, after: Duration) {
        self.relay.forwarded.observe(after.as_secs_f64());
    }

    pub fn first_byte(&self, took: Duration) {
        self.relay.first_byte.observe(took.as_secs_f64());
    }
}
