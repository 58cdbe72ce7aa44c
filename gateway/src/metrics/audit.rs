//! What is counted of the logs themselves.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Opts, Registry};

use crate::audit::Counts;
use crate::log::redactions;

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
    let collectors: [Box<dyn Collector>; 3] =
        [Box::new(counts.dropped.clone()), Box::new(counts.sequence.clone()), Box::new(Redactions::new())];
    for collector in collectors {
        registry.register(collector).expect("each series is registered once");
    }
    counts
}

/// A process has one log, however many registries.
struct Redactions(IntCounter);

impl Redactions {
    fn new() -> Self {
        let opts = Opts::new(
            "sallyport_log_redactions_total",
            "What looked like a secret and was taken out of a log line; anything but 0 is a mistake in Sallyport.",
        );
        Self(IntCounter::with_opts(opts).expect("the counter is well-formed"))
    }
}

impl Collector for Redactions {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.inc_by(redactions().saturating_sub(self.0.get()));
        self.0.collect()
    }
}
