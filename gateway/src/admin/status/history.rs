//! How it went lately: a sample of a few counters every few seconds, and charts of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use prometheus::proto::MetricFamily;

use crate::metrics::Metrics;

/// What is sampled, and how it is called on the page.
pub const CHARTS: [Chart; 4] = [
    Chart { title: "Requests a second", family: "sallyport_http_requests_total", label: None, rate: true },
    Chart { title: "Requests refused a second", family: "sallyport_token_rejected_total", label: None, rate: true },
    Chart { title: "Answers of 5xx a second", family: "sallyport_http_requests_total", label: Some("5xx"), rate: true },
    Chart { title: "Event streams open", family: "sallyport_streams_open", label: None, rate: false },
];

pub struct Chart {
    pub title: &'static str,
    family: &'static str,
    /// Only series with this value of a label.
    label: Option<&'static str>,
    /// A counter, of which the growth is shown; otherwise a gauge.
    rate: bool,
}

/// One value a chart, in the order of [`CHARTS`].
type Sample = [f64; CHARTS.len()];

/// The samples of the last minutes.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<VecDeque<Sample>>>);

impl History {
    pub fn sample(&self, metrics: &Metrics) {
        let families = metrics.families();
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(CHARTS.each_ref().map(|chart| chart.value(&families)));
    }

    /// The values of a chart, oldest first; for a rate one less than there are samples.
    pub fn values(&self, chart: usize) -> Vec<f64> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values = samples.iter().map(|sample| sample[chart]);
        if !CHARTS[chart].rate {
            return values.collect();
        }
        let later = values.clone().skip(1);
        values.zip(later).map(|(before, after)| (after - before).max(0.0) / EVERY.as_secs_f64()).collect()
    }
}

impl Chart {
    fn value(&self, families: &[MetricFamily]) -> f64 {
        let series = families.iter().filter(|family| family.name() == self.family).flat_map(MetricFamily::get_metric);
        let meant = series.filter(|metric| {
            self.label.is_none_or(|wanted| metric.get_label().iter().any(|label| label.value() == wanted))
        });
        meant.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
    }
}

/// Samples as long as the server serves.
pub struct Sampler {
    pub history: History,
    pub metrics: Arc<Metrics>,
}

#[async_trait]
impl BackgroundService for Sampler {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.history.sample(&self.metrics),
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// The points of a line through the values in a box of this size, the highest at the top: for a `polyline`.
pub fn points(values: &[f64], width: f64, height: f64) -> String {
    let highest = values.iter().copied().fold(0.0, f64::max);
    let step = width / (SAMPLES - 1) as f64;
    let first = SAMPLES.saturating_sub(values.len());
    let point = |(index, value): (usize, &f64)| {
        let share = if highest > 0.0 { value / highest } else { 0.0 };
        format!("{:.1},{:.1}", (first + index) as f64 * step, height - share * height)
    };
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

pub const EVERY: Duration = Duration::from_secs(5);
/// Ten minutes.
const SAMPLES: usize = 121;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_shown_as_its_growth_and_a_gauge_as_it_is() {
        let (history, metrics) = (History::default(), Metrics::default());
        history.sample(&metrics);
        (0..10).for_each(|_| metrics.answered("mcp", 200, Duration::ZERO, false));
        metrics.answered("mcp", 502, Duration::ZERO, false);
        let _open = metrics.stream_opened();
        history.sample(&metrics);
        assert_eq!(history.values(0), [11.0 / 5.0]);
        assert_eq!(history.values(2), [1.0 / 5.0]);
        assert_eq!(history.values(3), [0.0, 1.0]);
        (0..2 * SAMPLES).for_each(|_| history.sample(&metrics));
        assert_eq!((history.values(0).len(), history.values(3).len()), (SAMPLES - 1, SAMPLES));
    }

    #[test]
    fn the_highest_is_at_the_top_and_the_newest_at_the_right() {
        assert_eq!(points(&[0.0, 4.0, 2.0], 120.0, 10.0), "118.0,10.0 119.0,0.0 120.0,5.0");
        assert_eq!(points(&[0.0], 120.0, 10.0), "120.0,10.0");
    }
}
