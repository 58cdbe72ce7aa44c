//! The authorization server: its endpoints and grants.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::family::{Family, Maker};
use super::{Metrics, labels};

pub(super) struct OAuthMetrics {
    requests: Family<Arc<Family<IntCounter>>>,
    duration: Family<Histogram>,
    grants: Family<Arc<Family<IntCounter>>>,
}

impl OAuthMetrics {
    pub fn new(make: &Maker<'_>) -> Self {
        Self {
            requests: make.counter_grid(
                "sallyport_oauth_requests_total",
                "Requests to the authorization server, by endpoint and by what became of them; SP-nnnn: a page with this code.",
                ["endpoint", "result"],
                labels::ENDPOINTS,
                labels::OAUTH_RESULTS,
            ),
            duration: make.histogram_of(
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
        }
    }
}

impl Metrics {
    /// An endpoint of the authorization server answered.
    pub fn oauth_answered(&self, endpoint: &'static str, result: &'static str, took: Duration) {
        self.oauth.requests.with(endpoint, |of_endpoint| of_endpoint.count(result));
        self.oauth.duration.observe(endpoint, took.as_secs_f64());
    }

    /// A code or a refresh token was presented.
    pub fn granted(&self, grant: &'static str, result: &'static str) {
        self.oauth.grants.with(grant, |of_grant| of_grant.count(result));
    }
}
