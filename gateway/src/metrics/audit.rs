//! What is counted of the logs themselves.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Opts, Registry};

use crate::audit::Counts;
use crate::log::{failed_writes, redactions};

/// Registers the series, and gives what the audit log counts with.
pub(super) fn register(registry: &Registry) -> Counts {
    let dropped = IntCounter::new(
        "sallyport_audit_dropped_total",
        "Lines of the audit log that were not written: the disk was full, or slower than what happened.",
    );
    let sequence = IntGauge::new(
        "sallyport_audit_sequence",
        "The number of the last line of the audit log that was written; a file that ends before it was cut.",
    );
    let counts = Counts {
        dropped: dropped.expect("the counter is well-formed"),
        sequence: sequence.expect("the gauge is well-formed"),
    };
    let redacted = OfTheLog::new(
        "sallyport_log_redactions_total",
        "What looked like a secret and was taken out of a log line; anything but 0 is a mistake in Sallyport.",
        redactions,
    );
    let failed = OfTheLog::new(
        "sallyport_log_failed_writes_total",
        "Log lines, or access lines together, that standard error did not take: a full disk, or nobody reads any more.",
        failed_writes,
    );
    let collectors: [Box<dyn Collector>; 4] =
        [Box::new(counts.dropped.clone()), Box::new(counts.sequence.clone()), Box::new(redacted), Box::new(failed)];
    for collector in collectors {
        registry.register(collector).expect("each series is registered once");
    }
    counts
}

/// A process has one log, however many registries.
struct OfTheLog {
    counter: IntCounter,
    total: fn() -> u64,
}

impl OfTheLog {
    fn new(name: &str, help: &str, total: fn() -> u64) -> Self {
        let counter = IntCounter::with_opts(Opts::new(name, help)).expect("the counter is well-formed");
        Self { counter, total }
    }
}

impl Collector for OfTheLog {
    fn desc(&self) -> Vec<&Desc> {
        self.counter.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.counter.inc_by((self.total)().saturating_sub(self.counter.get()));
        self.counter.collect()
    }
}
