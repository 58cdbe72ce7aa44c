//! Every series, with its help text, in a registry of its own.
//!
//! Labels come from closed sets: no user, client, session or free text ever becomes one.

mod audit;
mod entra;

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use self::entra::EntraMetrics;

use crate::audit::Counts;

/// Seconds. The usual 5 ms floor would hide everything that happens here.
const BUCKETS: [f64; 14] = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: Histogram,
    admitted: IntCounter,
    lookups: IntCounterVec,
    rejected: IntCounterVec,
    in_flight: IntGauge,
    upstream_failures: IntCounterVec,
    upstream_ejections: IntCounterVec,
    first_byte: Histogram,
    streams_open: IntGauge,
    streams_ended: IntCounterVec,
    seals: IntCounterVec,
    ring_keys: IntGaugeVec,
    ring_reloads: IntCounterVec,
    certificate_ends: IntGauge,
    connections: IntGauge,
    limited: IntCounterVec,
    access_refused: IntCounterVec,
    certificate_reloads: IntCounterVec,
    entra: Arc<EntraMetrics>,
    audit: Counts,
}

/// Held by an event stream as long as it is open.
pub struct StreamOpen(IntGauge);

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let metrics = Self {
            entra: Arc::new(EntraMetrics::new(&registry)),
            audit: audit::register(&registry),
            registry,
            requests: counters("sallyport_http_requests_total", "Requests answered.", &["route", "code_class"]),
            duration: histogram(
                "sallyport_http_request_duration_seconds",
                "From the request's header to the end of its answer; event streams are not counted.",
            ),
            admitted: IntCounter::new("sallyport_token_admitted_total", "Requests let through to an upstream.")
                .expect("the counter is well-formed"),
            lookups: counters(
                "sallyport_session_lookups_total",
                "Sessions of admitted requests, by where they were found; stale: the store did not answer.",
                &["tier"],
            ),
            rejected: counters("sallyport_token_rejected_total", "Requests not let through, by reason.", &["reason"]),
            in_flight: IntGauge::new("sallyport_http_requests_in_flight", "Requests and streams being served now.")
                .expect("the gauge is well-formed"),
            upstream_failures: counters(
                "sallyport_upstream_failures_total",
                "Requests that an upstream did not answer whole, by cause.",
                &["upstream", "cause"],
            ),
            upstream_ejections: counters(
                "sallyport_upstream_ejections_total",
                "Servers that got no requests for a while after several in a row without an answer.",
                &["upstream"],
            ),
            first_byte: histogram(
                "sallyport_upstream_first_byte_seconds",
                "From the request's header to that of the upstream's answer.",
            ),
            streams_open: IntGauge::new("sallyport_streams_open", "Event streams that are open now.")
                .expect("the gauge is well-formed"),
            streams_ended: counters(
                "sallyport_streams_ended_total",
                "Event streams that ended, by who or what ended them.",
                &["cause"],
            ),
            seals: counters(
                "sallyport_seals_total",
                "Values sealed since the start, by the id of the key; random nonces last for 2^32 on all replicas together.",
                &["key"],
            ),
            ring_keys: IntGaugeVec::new(
                Opts::new("sallyport_keyring_keys", "Keys of the ring in use, by state."),
                &["state"],
            )
            .expect("the gauge is well-formed"),
            ring_reloads: counters(
                "sallyport_keyring_reloads_total",
                "Attempts to take the key ring's file anew, by result; one that failed left the ring in use as it was.",
                &["result"],
            ),
            certificate_ends: IntGauge::new(
                "sallyport_tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use ends; 0 without TLS.",
            )
            .expect("the gauge is well-formed"),
            connections: IntGauge::new("sallyport_connections", "Client connections open at the edge.")
                .expect("the gauge is well-formed"),
            limited: counters(
                "sallyport_limited_total",
                "Connections and requests turned away for there being too many, or too slow, by the limit that they met.",
                &["limit"],
            ),
            access_refused: counters(
                "sallyport_access_refused_total",
                "Sign-ins, sessions and calls that the rules on who may use what did not let through, by kind.",
                &["kind"],
            ),
            certificate_reloads: counters(
                "sallyport_tls_certificate_reloads_total",
                "Attempts to take the certificate's files anew, by result; one that failed left the certificate in use as it was.",
                &["result"],
            ),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// `status` 0: the client went away before an answer.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration, streamed: bool) {
        self.requests.with_label_values(&[route, code_class(status)]).inc();
        if !streamed {
            self.duration.observe(took.as_secs_f64());
        }
    }

    /// `tier` says where the session was found.
    pub fn admitted(&self, tier: &'static str) {
        self.admitted.inc();
        self.lookups.with_label_values(&[tier]).inc();
    }

    pub fn rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    pub fn upstream_failed(&self, upstream: &str, cause: &'static str) {
        self.upstream_failures.with_label_values(&[upstream, cause]).inc();
    }

    pub fn upstream_ejected(&self, upstream: &str) {
        self.upstream_ejections.with_label_values(&[upstream]).inc();
    }

    pub fn first_byte(&self, took: Duration) {
        self.first_byte.observe(took.as_secs_f64());
    }

    /// One more event stream is open, until the result is dropped.
    pub fn stream_opened(&self) -> StreamOpen {
        self.streams_open.inc();
        StreamOpen(self.streams_open.clone())
    }

    pub fn stream_ended(&self, cause: &'static str) {
        self.streams_ended.with_label_values(&[cause]).inc();
    }

    /// Counts what each key of the ring seals.
    pub fn seals(&self) -> &IntCounterVec {
        &self.seals
    }

    /// How many keys of a state the ring in use has.
    pub fn ring_keys(&self, state: &'static str, count: usize) {
        self.ring_keys.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn ring_reloaded(&self, well: bool) {
        self.ring_reloads.with_label_values(&[result(well)]).inc();
    }

    /// How many client connections are open.
    pub fn connections(&self, open: u32) {
        self.connections.set(open.into());
    }

    /// Somebody met a limit, by its name.
    pub fn limited(&self, limit: &'static str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// The rules on who may use what said no.
    pub fn access_refused(&self, kind: &'static str) {
        self.access_refused.with_label_values(&[kind]).inc();
    }

    /// In seconds since 1970.
    pub fn certificate_ends(&self, unix: u64) {
        self.certificate_ends.set(i64::try_from(unix).unwrap_or(i64::MAX));
    }

    pub fn certificate_reloaded(&self, well: bool) {
        self.certificate_reloads.with_label_values(&[result(well)]).inc();
    }

    pub fn in_flight(&self) -> &IntGauge {
        &self.in_flight
    }

    /// What the audit log counts with.
    pub fn audit(&self) -> Counts {
        self.audit.clone()
    }

    /// Counts requests to Entra.
    pub fn entra(&self) -> Arc<EntraMetrics> {
        self.entra.clone()
    }

    /// Shows how old is what this client keeps. For one client.
    pub fn shows_ages_of(&self, client: Arc<::entra::Client>) {
        self.registry.register(Box::new(entra::Ages::of(client))).expect("each series is registered once");
    }

    /// The Prometheus text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory does not fail");
        text
    }

    fn register(&self) {
        let build = IntGauge::with_opts(
            Opts::new("sallyport_build_info", "Always 1; the label names the version.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )
        .expect("the gauge is well-formed");
        build.set(1);
        for well in [true, false] {
            // There from the start: an alarm on a first failure needs the zero before it.
            self.ring_reloads.with_label_values(&[result(well)]);
        }
        let collectors: [Box<dyn prometheus::core::Collector>; 20] = [
            Box::new(build),
            Box::new(self.requests.clone()),
            Box::new(self.duration.clone()),
            Box::new(self.admitted.clone()),
            Box::new(self.lookups.clone()),
            Box::new(self.rejected.clone()),
            Box::new(self.in_flight.clone()),
            Box::new(self.upstream_failures.clone()),
            Box::new(self.upstream_ejections.clone()),
            Box::new(self.first_byte.clone()),
            Box::new(self.streams_open.clone()),
            Box::new(self.streams_ended.clone()),
            Box::new(self.seals.clone()),
            Box::new(self.ring_keys.clone()),
            Box::new(self.ring_reloads.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.limited.clone()),
            Box::new(self.access_refused.clone()),
            Box::new(self.certificate_ends.clone()),
            Box::new(self.certificate_reloads.clone()),
        ];
        for collector in collectors {
            self.registry.register(collector).expect("each series is registered once");
        }
    }
}

impl Drop for StreamOpen {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn histogram(name: &str, help: &str) -> Histogram {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()))
        .expect("the histogram is well-formed")
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("the counter is well-formed")
}

fn result(well: bool) -> &'static str {
    if well { "ok" } else { "failed" }
}

fn code_class(status: u16) -> &'static str {
    match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_a_help_text_and_two_registries_do_not_meet() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.rejected("missing");
        let text = String::from_utf8(one.render()).unwrap();
        assert!(text.contains("# HELP sallyport_token_rejected_total"));
        assert!(text.contains(r#"sallyport_token_rejected_total{reason="missing"} 1"#));
        assert!(!String::from_utf8(other.render()).unwrap().contains(r#"reason="missing""#));
    }
}
