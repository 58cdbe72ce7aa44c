//! The key ring and the certificate.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::family::{Family, Maker};
use super::labels::{FAILED, OK};
use super::{Metrics, labels};

pub(super) struct KeyMetrics {
    seals: IntCounterVec,
    ring_keys: Family<IntGauge>,
    ring_reloads: Family<IntCounter>,
    key_created: IntGauge,
    certificate_ends: IntGauge,
    certificate_reloads: Family<IntCounter>,
}

impl KeyMetrics {
    pub fn new(make: &Maker<'_>) -> Self {
        Self {
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
        }
    }
}

impl Metrics {
    /// Counts what each key of the ring seals.
    pub fn seals(&self) -> &IntCounterVec {
        &self.keys.seals
    }

    /// How many keys of a state the ring in use has.
    pub fn ring_keys(&self, state: &'static str, count: usize) {
        self.keys.ring_keys.of(state).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// When the key that seals was made, in seconds since 1970; 0 if nobody knows.
    pub fn key_created(&self, unix: u64) {
        self.keys.key_created.set(i64::try_from(unix).unwrap_or(i64::MAX));
    }

    pub fn ring_reloaded(&self, well: bool) {
        self.keys.ring_reloads.count(result(well));
    }

    /// In seconds since 1970.
    pub fn certificate_ends(&self, unix: u64) {
        self.keys.certificate_ends.set(i64::try_from(unix).unwrap_or(i64::MAX));
    }

    pub fn certificate_reloaded(&self, well: bool) {
        self.keys.certificate_reloads.count(result(well));
    }
}

fn result(well: bool) -> &'static str {
    if well { OK } else { FAILED }
}
