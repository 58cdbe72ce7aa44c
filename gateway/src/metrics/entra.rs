//! What is counted of requests to Entra (GU-14). Labels are the crate `entra`'s own closed sets; of AADSTS numbers those that it
//! lists, or `other`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entra::{Client, Code, Observer, Operation, Outcome};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::family::Maker;
use super::labels::OTHER;

/// So many kinds of errors have series of their own, whichever come first; the rest counts as another number. All that could be would
/// be more than everything else together.
const KINDS_OF_ERRORS: usize = 256;

/// Told by the client of Entra.
pub struct EntraMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGaugeVec,
    kinds: Mutex<HashSet<(Operation, Outcome, u32)>>,
}

impl EntraMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let make = Maker(registry);
        let requests = make.counters(
            "sallyport_entra_requests_total",
            "Requests to Entra, by what for, by who can mend the outcome, and by the first AADSTS number, none or other.",
            &["op", "outcome", "error"],
        );
        let duration = make.histograms(
            "sallyport_entra_request_duration_seconds",
            "From a request to Entra to its answer, or its end.",
            &["op"],
        );
        let in_flight = make.gauges(
            "sallyport_entra_requests_in_flight",
            "Requests to Entra under way; refresh_token: renewals.",
            &["op"],
        );
        for operation in Operation::ALL.map(Operation::name) {
            in_flight.with_label_values(&[operation]);
            duration.with_label_values(&[operation]);
            for outcome in Outcome::ALL.map(Outcome::name) {
                // There from the start: an alarm on a first failure needs the zero before it.
                requests.with_label_values(&[operation, outcome, "none"]);
            }
        }
        Self { requests, duration, in_flight, kinds: Mutex::default() }
    }

    /// Whether this error has a series of its own.
    fn is_told_apart(&self, kind: (Operation, Outcome, u32)) -> bool {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.contains(&kind) || (kinds.len() < KINDS_OF_ERRORS && kinds.insert(kind))
    }
}

impl Observer for EntraMetrics {
    fn begun(&self, operation: Operation) {
        self.in_flight.with_label_values(&[operation.name()]).inc();
    }

    fn ended(&self, operation: Operation, outcome: Outcome, code: Code, took: Duration) {
        let kind = |number| (operation, outcome, number);
        let number = match code {
            Code::None => "none",
            Code::Known(number) if self.is_told_apart(kind(number)) => &number.to_string(),
            Code::Known(_) | Code::Other => OTHER,
        };
        let (operation, outcome) = (operation.name(), outcome.name());
        self.in_flight.with_label_values(&[operation]).dec();
        self.duration.with_label_values(&[operation]).observe(took.as_secs_f64());
        self.requests.with_label_values(&[operation, outcome, number]).inc();
    }
}

/// Names and help texts of [`Ages`].
pub(super) const AGES: [(&str, &str); 2] = [
    ("sallyport_entra_keys_age_seconds", "Since Entra's signing keys in use were fetched."),
    (
        "sallyport_entra_credential_age_seconds",
        "Since the assertion in use was fetched or signed; absent where a file is read for every use.",
    ),
];

/// How old is what the client keeps, found out when somebody asks for the metrics. What it does not keep has no series.
pub(super) struct Ages {
    client: Arc<Client>,
    keys: Gauge,
    credential: Gauge,
}

impl Ages {
    pub fn of(client: Arc<Client>) -> Self {
        let gauge = |(name, help)| Gauge::new(name, help).expect("the gauge is well-formed");
        Self { client, keys: gauge(AGES[0]), credential: gauge(AGES[1]) }
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

    /// GU-14: whatever Entra says, the series stay few, and nothing goes uncounted.
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
        let most = Operation::ALL.len() * Outcome::ALL.len() * 2 + KINDS_OF_ERRORS;
        assert_eq!(count("sallyport_entra_requests_total"), most);
        for name in ["sallyport_entra_requests_in_flight", "sallyport_entra_request_duration_seconds"] {
            assert_eq!(count(name), Operation::ALL.len(), "{name}");
        }
        assert!(metrics.in_flight.with_label_values(&["refresh_token"]).get() == 0, "each that began has ended");
    }

    #[test]
    fn what_has_no_series_of_its_own_counts_as_another() {
        let registry = Registry::new();
        let metrics = EntraMetrics::new(&registry);
        let mut told = 0;
        for code in entra::KNOWN_CODES.iter().copied().map(Code::Known) {
            for operation in Operation::ALL {
                metrics.begun(operation);
                metrics.ended(operation, Outcome::Refused, code, Duration::ZERO);
                told += 1;
            }
        }
        let families = registry.gather();
        let requests = families.iter().find(|family| family.name() == "sallyport_entra_requests_total").unwrap();
        let counted: f64 = requests.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum();
        assert_eq!(counted, f64::from(told));
        assert!(told > 256 && metrics.requests.with_label_values(&["keys", "refused", "other"]).get() > 0);
    }

    #[test]
    fn known_numbers_are_listed_once() {
        let once: std::collections::BTreeSet<_> = entra::KNOWN_CODES.iter().collect();
        assert_eq!(once.len(), entra::KNOWN_CODES.len());
    }
}
