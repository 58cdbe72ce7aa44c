//! Who is let through, and what it takes to find out.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::family::{Family, Maker};
use super::{Metrics, labels};

pub(super) struct AdmissionMetrics {
    admitted: IntCounter,
    lookups: Family<IntCounter>,
    token_open: Histogram,
    session_lookup: Family<Histogram>,
    rejected: Family<IntCounter>,
    access_refused: Family<IntCounter>,
    sessions_at_hand: IntGauge,
}

impl AdmissionMetrics {
    pub fn new(make: &Maker<'_>) -> Self {
        Self {
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
            access_refused: make.counter_of(
                "sallyport_access_refused_total",
                "Sign-ins, sessions and calls that the rules on who may use what did not let through, by kind.",
                "kind",
                labels::ACCESS_REFUSALS,
            ),
            sessions_at_hand: make.gauge(
                "sallyport_sessions_at_hand",
                "Sessions that this replica keeps in memory, so that it need not ask the store.",
            ),
        }
    }
}

impl Metrics {
    /// `tier` says where the session was found, and `open` and `lookup` what the token and the session took.
    pub fn admitted(&self, tier: &'static str, open: Duration, lookup: Duration) {
        self.admission.admitted.inc();
        self.admission.lookups.count(tier);
        self.admission.token_open.observe(open.as_secs_f64());
        self.admission.session_lookup.observe(tier, lookup.as_secs_f64());
    }

    pub fn rejected(&self, reason: &'static str) {
        self.admission.rejected.count(reason);
    }

    /// The rules on who may use what said no.
    pub fn access_refused(&self, kind: &'static str) {
        self.admission.access_refused.count(kind);
    }

    pub fn sessions_at_hand(&self, sessions: usize) {
        self.admission.sessions_at_hand.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }
}
