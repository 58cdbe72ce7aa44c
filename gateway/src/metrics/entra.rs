//! What is counted of requests to Entra (GU-14). Labels are the crate `entra`'s own closed sets; of AADSTS numbers those that it
//! lists, or `other`.

use std::sync::Arc;
use std::time::Duration;

use entra::{Client, Code, Observer, Operation, Outcome};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Told by the client of Entra.
pub struct EntraMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGaugeVec,
}

impl EntraMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let requests = IntCounterVec::new(
            Opts::new(
                "sallyport_entra_requests_total",
                "Requests to Entra, by what for, by who can mend the outcome, and by the first AADSTS number, none or other.",
            ),
            &["op", "outcome", "error"],
        )
        .expect("the counter is well-formed");
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "sallyport_entra_request_duration_seconds",
                "From a request to Entra to its answer, or its end.",
            )
            .buckets(super::BUCKETS.to_vec()),
            &["op"],
        )
        .expect("the histogram is well-formed");
        let in_flight = IntGaugeVec::new(
            Opts::new("sallyport_entra_requests_in_flight", "Requests to Entra under way; refresh_token: renewals."),
            &["op"],
        )
        .expect("the gauge is well-formed");
        for operation in Operation::ALL {
            in_flight.with_label_values(&[operation.name()]);
        }
        let collectors: [Box<dyn Collector>; 3] =
            [Box::new(requests.clone()), Box::new(duration.clone()), Box::new(in_flight.clone())];
        for collector in collectors {
            registry.register(collector).expect("each series is registered once");
        }
        Self { requests, duration, in_flight }
    }
}

impl Observer for EntraMetrics {
    fn begun(&self, operation: Operation) {
        self.in_flight.with_label_values(&[operation.name()]).inc();
    }

    fn ended(&self, operation: Operation, outcome: Outcome, code: Code, took: Duration) {
        let (operation, outcome) = (operation.name(), outcome.name());
        self.in_flight.with_label_values(&[operation]).dec();
        self.duration.with_label_values(&[operation]).observe(took.as_secs_f64());
        match code {
            Code::None => self.requests.with_label_values(&[operation, outcome, "none"]).inc(),
            Code::Other => self.requests.with_label_values(&[operation, outcome, "other"]).inc(),
            Code::Known(number) => {
                self.requests.with_label_values(&[operation, outcome, number.to_string().as_str()]).inc();
            }
        }
    }
}

/// How old is what the client keeps, found out when somebody asks for the metrics. What it does not keep has no series.
pub(super) struct Ages {
    client: Arc<Client>,
    keys: Gauge,
    credential: Gauge,
}

impl Ages {
    pub fn of(client: Arc<Client>) -> Self {
        let gauge = |name, help| Gauge::new(name, help).expect("the gauge is well-formed");
        Self {
            client,
            keys: gauge("sallyport_entra_keys_age_seconds", "Since Entra's signing keys in use were fetched."),
            credential: gauge(
                "sallyport_entra_credential_age_seconds",
                "Since the assertion in use was fetched or signed; absent where a file is read for every use.",
            ),
        }
    }
}

impl Collector for Ages {
    fn desc(&self) -> Vec<&Desc> {
        [self.keys.desc(), self.credential.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let ages = [(&self.keys, self.client.keys_age()), (&self.credential, self.client.credential_age())];
        let known = ages.into_iter().filter_map(|(gauge, age)| Some((gauge, age?)));
        known
            .flat_map(|(gauge, age)| {
                gauge.set(age.as_secs_f64());
                gauge.collect()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GU-14: whatever Entra says, the series stay few.
    #[test]
    fn a_hundred_thousand_kinds_of_errors_are_a_bounded_number_of_series() {
        let registry = Registry::new();
        let metrics = EntraMetrics::new(&registry);
        let known = entra::KNOWN_CODES.iter().copied().map(Code::Known);
        for code in known.chain([Code::None, Code::Other]) {
            for operation in Operation::ALL {
                for outcome in Outcome::ALL {
                    metrics.begun(operation);
                    metrics.ended(operation, outcome, code, Duration::from_millis(1));
                }
            }
        }
        let count = |name: &str| {
            let families = registry.gather();
            families.iter().find(|family| family.name() == name).map_or(0, |family| family.get_metric().len())
        };
        let most = Operation::ALL.len() * Outcome::ALL.len() * (entra::KNOWN_CODES.len() + 2);
        assert_eq!(count("sallyport_entra_requests_total"), most);
        assert!(entra::KNOWN_CODES.len() < 100, "each known number is thirty-six series at worst");
        for name in ["sallyport_entra_requests_in_flight", "sallyport_entra_request_duration_seconds"] {
            assert_eq!(count(name), Operation::ALL.len(), "{name}");
        }
        assert!(metrics.in_flight.with_label_values(&["refresh_token"]).get() == 0, "each that began has ended");
    }

    #[test]
    fn known_numbers_are_listed_once() {
        let once: std::collections::BTreeSet<_> = entra::KNOWN_CODES.iter().collect();
        assert_eq!(once.len(), entra::KNOWN_CODES.len());
    }
}
