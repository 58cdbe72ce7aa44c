//! Requests, connections and event streams at the door.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::family::{Family, Maker};
use super::{Metrics, labels};

pub(super) struct HttpMetrics {
    /// By route and class of status.
    requests: Family<Arc<Family<IntCounter>>>,
    duration: Family<Histogram>,
    refused: Family<IntCounter>,
    in_flight: IntGauge,
    streams_open: IntGauge,
    streams_ended: Family<IntCounter>,
    connections: IntGauge,
    limited: Family<IntCounter>,
}

/// Held by an event stream as long as it is open.
pub struct StreamOpen(IntGauge);

impl HttpMetrics {
    pub fn new(make: &Maker<'_>) -> Self {
        Self {
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
            in_flight: make.gauge("sallyport_http_requests_in_flight", "Requests and streams being served now."),
            streams_open: make.gauge("sallyport_streams_open", "Event streams that are open now."),
            streams_ended: make.counter_of(
                "sallyport_streams_ended_total",
                "Event streams that ended, by who or what ended them.",
                "cause",
                labels::STREAM_ENDS,
            ),
            connections: make.gauge("sallyport_connections", "Client connections open at the edge."),
            limited: make.counter_of(
                "sallyport_limited_total",
                "Connections and requests turned away for there being too many, or too slow, by the limit that they met.",
                "limit",
                labels::LIMITS,
            ),
        }
    }
}

impl Metrics {
    /// `status` 0: the client went away before an answer.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration, streamed: bool) {
        self.http.requests.with(route, |of_route| of_route.count(code_class(status)));
        if !streamed {
            self.http.duration.observe(route, took.as_secs_f64());
        }
    }

    /// The edge itself said no.
    pub fn refused(&self, reason: &'static str) {
        self.http.refused.count(reason);
    }

    pub fn in_flight(&self) -> &IntGauge {
        &self.http.in_flight
    }

    /// One more event stream is open, until the result is dropped.
    pub fn stream_opened(&self) -> StreamOpen {
        self.http.streams_open.inc();
        StreamOpen(self.http.streams_open.clone())
    }

    pub fn stream_ended(&self, cause: &'static str) {
        self.http.streams_ended.count(cause);
    }

    /// How many client connections are open.
    pub fn connections(&self, open: u32) {
        self.http.connections.set(open.into());
    }

    /// Somebody met a limit, by its name.
    pub fn limited(&self, limit: &'static str) {
        self.http.limited.count(limit);
    }
}

impl Drop for StreamOpen {
    fn drop(&mut self) {
        self.0.dec();
    }
}

pub(super) fn code_class(status: u16) -> &'static str {
    match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "none",
    }
}
