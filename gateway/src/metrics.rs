//! Every series, with its help text, in a registry of its own: docs/metrics.md is made from it.
//!
//! Labels come from closed sets (`labels`): no user, client, session or free text ever becomes one, and all together they are at most
//! 2,000 series for sixteen upstreams. What is counted for each request is found without a lock (`family`).

mod audit;
mod configuration;
mod entra;
mod family;
pub mod labels;
mod store;
#[cfg(test)]
mod tests;
mod upstreams;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, proto::MetricFamily,
};

pub use self::configuration::ConfigurationMetrics;
pub use self::entra::EntraMetrics;
use self::family::{Family, Maker};
use self::labels::{FAILED, OK};
pub use self::store::StoreMetrics;
pub use self::upstreams::UpstreamCounts;
use self::upstreams::UpstreamMetrics;
use crate::audit::Counts;
use crate::traces;

pub struct Metrics {
    registry: Registry,
    /// By route and class of status.
    requests: Family<Arc<Family<IntCounter>>>,
    duration: Family<Histogram>,
    refused: Family<IntCounter>,
    admitted: IntCounter,
    lookups: Family<IntCounter>,
    token_open: Histogram,
    session_lookup: Family<Histogram>,
    rejected: Family<IntCounter>,
    in_flight: IntGauge,
    upstreams: UpstreamMetrics,
    connect: Family<Histogram>,
    forwarded: Histogram,
    first_byte: Histogram,
    streams_open: IntGauge,
    streams_ended: Family<IntCounter>,
    oauth: Family<Arc<Family<IntCounter>>>,
    oauth_duration: Family<Histogram>,
    grants: Family<Arc<Family<IntCounter>>>,
    seals: IntCounterVec,
    ring_keys: Family<IntGauge>,
    ring_reloads: Family<IntCounter>,
    key_created: IntGauge,
    certificate_ends: IntGauge,
    certificate_reloads: Family<IntCounter>,
    connections: IntGauge,
    limited: Family<IntCounter>,
    access_refused: Family<IntCounter>,
    ready: IntGauge,
    draining: IntGauge,
    sessions_at_hand: IntGauge,
    redis_breakers: IntGauge,
    configuration: ConfigurationMetrics,
    entra: Arc<EntraMetrics>,
    store: Arc<StoreMetrics>,
    audit: Counts,
    traces: traces::Counts,
    /// Asked at each scrape for what nobody counts.
    looks: Mutex<Vec<Look>>,
}

/// Sets gauges to what is so now.
type Look = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Held by an event stream as long as it is open.
pub struct StreamOpen(IntGauge);

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        build_info(&make);
        registry.register(Box::new(ProcessCollector::for_self())).expect("each series is registered once");
        Self {
            entra: Arc::new(EntraMetrics::new(&registry)),
            store: Arc::new(StoreMetrics::new(&make)),
            audit: audit::register(&registry),
            configuration: ConfigurationMetrics::new(&make),
            upstreams: UpstreamMetrics::new(&make),
            requests: make.counter_grid(
                "sallyport_http_requests_total",
                "Requests answered, by what for and by class of status; none: the client went away before an answer.",
                ["route", "code_class"],
                labels::ROUTES,
                labels::CODE_CLASSES,
            ),
            duration: make.histogram_of(
                "sallyport_http_request_duration_seconds",
                "From the request's header to the end of its answer; event streams are not counted.",
                "route",
                labels::ROUTES,
            ),
            refused: make.counter_of(
                "sallyport_http_refused_total",
                "Requests that the edge itself said no to, by reason; upstream_*: instead of an upstream's answer.",
                "reason",
                labels::REFUSALS,
            ),
            admitted: make.counter("sallyport_token_admitted_total", "Requests let through to an upstream."),
            lookups: make.counter_of(
                "sallyport_session_lookups_total",
                "Sessions of admitted requests, by where they were found; stale: the store did not answer.",
                "tier",
                labels::TIERS,
            ),
            token_open: make.histogram(
                "sallyport_token_open_duration_seconds",
                "What it took to open the token of an admitted request.",
            ),
            session_lookup: make.histogram_of(
                "sallyport_session_lookup_duration_seconds",
                "What it took to find the session of an admitted request, by where it was found.",
                "tier",
                labels::TIERS,
            ),
            rejected: make.counter_of(
                "sallyport_token_rejected_total",
                "Requests not let through, by reason; revoked: this replica heard of the end, ended: the store does not know the session.",
                "reason",
                labels::REJECTIONS,
            ),
            in_flight: make.gauge("sallyport_http_requests_in_flight", "Requests and streams being served now."),
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
            streams_open: make.gauge("sallyport_streams_open", "Event streams that are open now."),
            streams_ended: make.counter_of(
                "sallyport_streams_ended_total",
                "Event streams that ended, by who or what ended them.",
                "cause",
                labels::STREAM_ENDS,
            ),
            oauth: make.counter_grid(
                "sallyport_oauth_requests_total",
                "Requests to the authorization server, by endpoint and by what became of them; SP-nnnn: a page with this code.",
                ["endpoint", "result"],
                labels::ENDPOINTS,
                labels::OAUTH_RESULTS,
            ),
            oauth_duration: make.histogram_of(
                "sallyport_oauth_request_duration_seconds",
                "What it took to answer a request whose body had arrived, by endpoint.",
                "endpoint",
                labels::ENDPOINTS,
            ),
            grants: make.counter_grid(
                "sallyport_grants_total",
                "Codes and refresh tokens presented, by why they gave no tokens; foreign: not ours, or another client's.",
                ["grant", "result"],
                labels::GRANTS,
                labels::GRANT_RESULTS,
            ),
            seals: make.counters(
                "sallyport_seals_total",
                "Values sealed since the start, by the id of the key; random nonces last for 2^32 on all replicas together.",
                &["key"],
            ),
            ring_keys: make.gauge_of(
                "sallyport_keyring_keys",
                "Keys of the ring in use, by state.",
                "state",
                labels::KEY_STATES,
            ),
            ring_reloads: make.counter_of(
                "sallyport_keyring_reloads_total",
                "Attempts to take the key ring's file anew, by result; one that failed left the ring in use as it was.",
                "result",
                labels::RESULTS,
            ),
            key_created: make.gauge(
                "sallyport_keyring_active_key_created_timestamp_seconds",
                "When the key that seals was made; 0 for one that is not in a file.",
            ),
            certificate_ends: make.gauge(
                "sallyport_tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use ends; 0 without TLS.",
            ),
            certificate_reloads: make.counter_of(
                "sallyport_tls_certificate_reloads_total",
                "Attempts to take the certificate's files anew, by result; one that failed left the certificate in use as it was.",
                "result",
                labels::RESULTS,
            ),
            connections: make.gauge("sallyport_connections", "Client connections open at the edge."),
            limited: make.counter_of(
                "sallyport_limited_total",
                "Connections and requests turned away for there being too many, or too slow, by the limit that they met.",
                "limit",
                labels::LIMITS,
            ),
            access_refused: make.counter_of(
                "sallyport_access_refused_total",
                "Sign-ins, sessions and calls that the rules on who may use what did not let through, by kind.",
                "kind",
                labels::ACCESS_REFUSALS,
            ),
            ready: make.gauge("sallyport_ready", "1 once Entra has believed this replica, as /readyz says; else 0."),
            draining: make.gauge("sallyport_draining", "1 while this replica leaves, else 0."),
            sessions_at_hand: make.gauge(
                "sallyport_sessions_at_hand",
                "Sessions that this replica keeps in memory, so that it need not ask the store.",
            ),
            redis_breakers: make.gauge(
                "sallyport_redis_breakers_open",
                "Breakers that keep requests from Redis, for it did not answer; a cluster has several.",
            ),
            traces: trace_counts(&make),
            looks: Mutex::default(),
            registry,
        }
    }
}

impl Metrics {
    /// `status` 0: the client went away before an answer.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration, streamed: bool) {
        self.requests.with(route, |of_route| of_route.count(code_class(status)));
        if !streamed {
            self.duration.observe(route, took.as_secs_f64());
        }
    }

    /// The edge itself said no.
    pub fn refused(&self, reason: &'static str) {
        self.refused.count(reason);
    }

    /// `tier` says where the session was found, and `open` and `lookup` what the token and the session took.
    pub fn admitted(&self, tier: &'static str, open: Duration, lookup: Duration) {
        self.admitted.inc();
        self.lookups.count(tier);
        self.token_open.observe(open.as_secs_f64());
        self.session_lookup.observe(tier, lookup.as_secs_f64());
    }

    pub fn rejected(&self, reason: &'static str) {
        self.rejected.count(reason);
    }

    /// What is counted for an upstream.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamCounts> {
        self.upstreams.of(name)
    }

    /// How many servers of an upstream are ready, down, ejected, and draining now. Nothing, if it has left.
    pub fn upstream_servers(&self, name: &str, counts: [i64; labels::SERVER_STATES.len()]) {
        if let Some(upstream) = self.upstreams.find(name) {
            upstream.servers(counts);
        }
    }

    /// There are no upstreams but these any more.
    pub fn keep_upstreams(&self, names: &[&str]) {
        self.upstreams.keep(names);
    }

    /// There is a connection to a server; whether it is one that waited for a request.
    pub fn connected(&self, reused: bool, took: Duration) {
        self.connect.observe(if reused { "reused" } else { "new" }, took.as_secs_f64());
    }

    /// A request goes to its server, this long after its header came.
    pub fn forwarded(&self, after: Duration) {
        self.forwarded.observe(after.as_secs_f64());
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
        self.streams_ended.count(cause);
    }

    /// An endpoint of the authorization server answered.
    pub fn oauth_answered(&self, endpoint: &'static str, result: &'static str, took: Duration) {
        self.oauth.with(endpoint, |of_endpoint| of_endpoint.count(result));
        self.oauth_duration.observe(endpoint, took.as_secs_f64());
    }

    /// A code or a refresh token was presented.
    pub fn granted(&self, grant: &'static str, result: &'static str) {
        self.grants.with(grant, |of_grant| of_grant.count(result));
    }

    /// Counts what each key of the ring seals.
    pub fn seals(&self) -> &IntCounterVec {
        &self.seals
    }

    /// How many keys of a state the ring in use has.
    pub fn ring_keys(&self, state: &'static str, count: usize) {
        self.ring_keys.of(state).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// When the key that seals was made, in seconds since 1970; 0 if nobody knows.
    pub fn key_created(&self, unix: u64) {
        self.key_created.set(i64::try_from(unix).unwrap_or(i64::MAX));
    }

    pub fn ring_reloaded(&self, well: bool) {
        self.ring_reloads.count(result(well));
    }

    /// How many client connections are open.
    pub fn connections(&self, open: u32) {
        self.connections.set(open.into());
    }

    /// Somebody met a limit, by its name.
    pub fn limited(&self, limit: &'static str) {
        self.limited.count(limit);
    }

    /// The rules on who may use what said no.
    pub fn access_refused(&self, kind: &'static str) {
        self.access_refused.count(kind);
    }

    /// In seconds since 1970.
    pub fn certificate_ends(&self, unix: u64) {
        self.certificate_ends.set(i64::try_from(unix).unwrap_or(i64::MAX));
    }

    pub fn certificate_reloaded(&self, well: bool) {
        self.certificate_reloads.count(result(well));
    }

    pub fn in_flight(&self) -> &IntGauge {
        &self.in_flight
    }

    /// Whether this replica is ready, and whether it leaves.
    pub fn state(&self, ready: bool, draining: bool) {
        self.ready.set(ready.into());
        self.draining.set(draining.into());
    }

    pub fn sessions_at_hand(&self, sessions: usize) {
        self.sessions_at_hand.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }

    pub fn redis_breakers(&self, open: usize) {
        self.redis_breakers.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Shows how reloads went.
    pub fn configuration(&self) -> &ConfigurationMetrics {
        &self.configuration
    }

    /// What the audit log counts with.
    pub fn audit(&self) -> Counts {
        self.audit.clone()
    }

    /// What traces are counted with.
    pub fn traces(&self) -> traces::Counts {
        self.traces.clone()
    }

    /// Counts requests to Entra.
    pub fn entra(&self) -> Arc<EntraMetrics> {
        self.entra.clone()
    }

    /// Counts requests to the store.
    pub fn store(&self) -> Arc<StoreMetrics> {
        self.store.clone()
    }

    /// Shows how old is what this client keeps. For one client.
    pub fn shows_ages_of(&self, client: Arc<::entra::Client>) {
        self.registry.register(Box::new(entra::Ages::of(client))).expect("each series is registered once");
    }

    /// Has `look` set gauges at each scrape. It must not block.
    pub fn at_each_scrape(&self, look: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(look));
    }

    /// The Prometheus text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.families(), &mut text).expect("writing to memory does not fail");
        text
    }

    /// Every series as it is now.
    pub fn families(&self) -> Vec<MetricFamily> {
        for look in self.looks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            look(self);
        }
        self.registry.gather()
    }
}

impl Drop for StreamOpen {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn build_info(make: &Maker<'_>) {
    let build = IntGauge::with_opts(
        Opts::new("sallyport_build_info", "Always 1; the label names the version.")
            .const_label("version", env!("CARGO_PKG_VERSION")),
    );
    make.keep(build.expect("the gauge is well-formed")).set(1);
}

fn trace_counts(make: &Maker<'_>) -> traces::Counts {
    let results = make.counter_of(
        "sallyport_traces_total",
        "Traces of requests, by what became of them; dropped: the queue was full, failed: the collector did not take them.",
        "result",
        labels::TRACE_RESULTS,
    );
    let [exported, dropped, failed] = ["exported", "dropped", "failed"].map(|result| results.of(result));
    traces::Counts { exported, dropped, failed }
}

fn result(well: bool) -> &'static str {
    if well { OK } else { FAILED }
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
