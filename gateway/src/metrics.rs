//! Every series, with its help text, in a registry of its own: docs/metrics.md is made from it.
//!
//! Labels come from closed sets (`labels`): no user, client, session or free text ever becomes one, and all together they are at most
//! 2,000 series for sixteen upstreams. What is counted for each request is found without a lock (`family`).

mod admission;
mod audit;
mod configuration;
mod entra;
mod family;
mod http;
mod keys;
pub mod labels;
mod oauth;
mod relay;
mod store;
#[cfg(test)]
mod tests;
mod upstreams;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, IntGauge, Opts, Registry, TextEncoder};

use self::admission::AdmissionMetrics;
pub use self::configuration::ConfigurationMetrics;
pub use self::entra::EntraMetrics;
use self::family::Maker;
use self::http::HttpMetrics;
pub use self::http::StreamOpen;
use self::keys::KeyMetrics;
use self::oauth::OAuthMetrics;
use self::relay::RelayMetrics;
pub use self::store::StoreMetrics;
pub use self::upstreams::UpstreamCounts;
use crate::audit::Counts;
use crate::traces;

pub struct Metrics {
    registry: Registry,
    http: HttpMetrics,
    admission: AdmissionMetrics,
    relay: RelayMetrics,
    oauth: OAuthMetrics,
    keys: KeyMetrics,
    ready: IntGauge,
    draining: IntGauge,
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

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        build_info(&make);
        registry.register(Box::new(ProcessCollector::for_self())).expect("each series is registered once");
        Self {
            http: HttpMetrics::new(&make),
            admission: AdmissionMetrics::new(&make),
            relay: RelayMetrics::new(&make),
            oauth: OAuthMetrics::new(&make),
            keys: KeyMetrics::new(&make),
            entra: Arc::new(EntraMetrics::new(&registry)),
            store: Arc::new(StoreMetrics::new(&make)),
            audit: audit::register(&registry),
            configuration: ConfigurationMetrics::new(&make),
            ready: make.gauge("sallyport_ready", "1 once Entra has believed this replica, as /readyz says; else 0."),
            draining: make.gauge("sallyport_draining", "1 while this replica leaves, else 0."),
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
    /// Whether this replica is ready, and whether it leaves.
    pub fn state(&self, ready: bool, draining: bool) {
        self.ready.set(ready.into());
        self.draining.set(draining.into());
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
