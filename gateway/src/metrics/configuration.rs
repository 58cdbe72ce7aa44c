//! How reloads of the configuration went.

use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::family::{Family, Maker};
use super::labels::{FAILED, OK, RESULTS};

pub struct ConfigurationMetrics {
    success: IntGauge,
    last: IntGauge,
    reloads: Family<IntCounter>,
    restart_needed: IntGaugeVec,
}

impl ConfigurationMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let success = make.gauge(
            "sallyport_config_reload_success",
            "1, or 0 when the last reload found a bad configuration, and the one before it stays.",
        );
        success.set(1);
        Self {
            success,
            last: make.gauge(
                "sallyport_config_reload_success_timestamp_seconds",
                "When a good configuration was last read: at the start, or by a reload.",
            ),
            reloads: make.counter_of(
                "sallyport_config_reloads_total",
                "Attempts to take the configuration anew, by result; one that failed left the one in use as it was.",
                "result",
                RESULTS,
            ),
            restart_needed: make.gauges(
                "sallyport_config_restart_needed",
                "1 for each key of the configuration that has changed and takes effect at the next start.",
                &["key"],
            ),
        }
    }

    /// In seconds since 1970.
    pub fn started(&self, unix: u64) {
        self.last.set(i64::try_from(unix).unwrap_or(i64::MAX));
    }

    /// A good one was read. `at_next_start` are names of keys, of which there are so many.
    pub fn reloaded(&self, unix: u64, at_next_start: &[String]) {
        self.started(unix);
        self.success.set(1);
        self.reloads.count(OK);
        self.restart_needed.reset();
        at_next_start.iter().for_each(|key| self.restart_needed.with_label_values(&[key]).set(1));
    }

    pub fn refused(&self) {
        self.success.set(0);
        self.reloads.count(FAILED);
    }
}
