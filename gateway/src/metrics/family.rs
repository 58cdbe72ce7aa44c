//! Series of one name whose label takes the values of a closed list. All are there from the start: an alarm on a first event finds
//! the zero before it, and whoever counts needs neither a lock nor a hash.

use std::sync::Arc;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::labels::OTHER;

/// Seconds. The usual 5 ms floor would hide everything that happens here.
const BUCKETS: [f64; 14] = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// One series for each value of a label.
pub struct Family<T> {
    values: &'static [&'static str],
    series: Vec<T>,
    /// Of a word that is not in the list; made when there is one.
    other: Box<dyn Fn() -> T + Send + Sync>,
}

impl<T: Clone> Family<T> {
    pub fn new(values: &'static [&'static str], of: impl Fn(&str) -> T + Send + Sync + 'static) -> Self {
        Self { values, series: values.iter().map(|value| of(value)).collect(), other: Box::new(move || of(OTHER)) }
    }

    /// The series of a value.
    pub fn of(&self, value: &str) -> T {
        match self.values.iter().position(|known| *known == value) {
            Some(position) => self.series[position].clone(),
            None => (self.other)(),
        }
    }

    /// The series of a value that is counted often: nothing is cloned.
    pub fn with(&self, value: &str, count: impl FnOnce(&T)) {
        match self.values.iter().position(|known| *known == value) {
            Some(position) => count(&self.series[position]),
            None => count(&(self.other)()),
        }
    }
}

impl Family<IntCounter> {
    pub fn count(&self, value: &str) {
        self.with(value, IntCounter::inc);
    }
}

impl Family<Histogram> {
    pub fn observe(&self, value: &str, seconds: f64) {
        self.with(value, |series| series.observe(seconds));
    }
}

/// Makes series and has them in a registry.
pub struct Maker<'a>(pub &'a Registry);

impl Maker<'_> {
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help).expect("the counter is well-formed"))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help).expect("the gauge is well-formed"))
    }

    pub fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.keep(Histogram::with_opts(buckets(name, help)).expect("the histogram is well-formed"))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels).expect("the counter is well-formed"))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels).expect("the gauge is well-formed"))
    }

    pub fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.keep(HistogramVec::new(buckets(name, help), labels).expect("the histogram is well-formed"))
    }

    pub fn counter_of(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &'static [&'static str],
    ) -> Family<IntCounter> {
        let all = self.counters(name, help, &[label]);
        Family::new(values, move |value| all.with_label_values(&[value]))
    }

    pub fn gauge_of(&self, name: &str, help: &str, label: &str, values: &'static [&'static str]) -> Family<IntGauge> {
        let all = self.gauges(name, help, &[label]);
        Family::new(values, move |value| all.with_label_values(&[value]))
    }

    pub fn histogram_of(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &'static [&'static str],
    ) -> Family<Histogram> {
        let all = self.histograms(name, help, &[label]);
        Family::new(values, move |value| all.with_label_values(&[value]))
    }

    /// Counters by two labels, one family for each value of the first.
    pub fn counter_grid(
        &self,
        name: &str,
        help: &str,
        [row, column]: [&str; 2],
        rows: &'static [&'static str],
        columns: &'static [&'static str],
    ) -> Family<Arc<Family<IntCounter>>> {
        let all = self.counters(name, help, &[row, column]);
        Family::new(rows, move |row| {
            let (all, row) = (all.clone(), row.to_owned());
            let of = move |column: &str| all.with_label_values(&[row.as_str(), column]);
            Arc::new(Family::new(columns, of))
        })
    }

    pub fn keep<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0.register(Box::new(collector.clone())).expect("each series is registered once");
        collector
    }
}

fn buckets(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(BUCKETS.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_list_counts_as_other_and_makes_one_series_at_most() {
        let registry = Registry::new();
        let family = Maker(&registry).counter_of("x_total", "X.", "a", &["one", "two"]);
        let count = || registry.gather()[0].get_metric().len();
        assert_eq!(count(), 2, "all are there from the start, and none else");
        for number in 0..1000 {
            family.count(&format!("word {number}"));
        }
        family.count("two");
        assert_eq!(count(), 3);
        assert_eq!((family.of("one").get(), family.of("two").get(), family.of(OTHER).get()), (0, 1, 1000));
    }
}
