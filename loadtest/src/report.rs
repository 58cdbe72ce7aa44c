//! What a run amounts to, for people and for programs. A void run has reasons, and no figures.

mod markdown;
mod plot;
mod settings;

use std::time::Duration;

use serde::Serialize;

use crate::answers::{Gathered, Latencies, Second};
use crate::observe::Cost;
use crate::sign_in::{SignedIn, Step};
use crate::streams::Seen;

pub use plot::draw;
pub use settings::Settings;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run, in a line; no secret is in it.
    pub run: String,
    pub settings: Settings,
    /// Why the run is void; empty when it is not.
    pub void: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    pub cost: Cost,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// What is counted in [`Figures::count`].
    pub unit: &'static str,
    pub count: u64,
    pub seconds: f64,
    /// None for what is held rather than repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Of the observed processes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_each: Option<f64>,
    /// While streams were held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_kib_each: Option<f64>,
    /// Further counts, by name.
    pub counts: Vec<(&'static str, u64)>,
    /// The first one is what the run is about.
    pub latencies: Vec<Quantiles>,
    pub timeline: Vec<Slice>,
}

/// A distribution, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Quantiles {
    pub of: &'static str,
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub longest: f64,
    /// Share and latency, from the median to the longest: what the plot shows.
    pub curve: Vec<(f64, f64)>,
}

/// One second of the run; times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Slice {
    pub second: u64,
    pub answers: u64,
    pub p50: f64,
    pub p99: f64,
    pub longest: f64,
}

impl Report {
    /// `void`: why the run is; `figures` are then dropped.
    pub fn new(run: String, settings: Settings, void: Vec<String>, mut figures: Figures, cost: Cost) -> Self {
        if let (Some(process), Some(_), 1..) = (cost.process, figures.per_second, figures.count) {
            figures.cpu_us_each = Some(process.cpu_seconds * 1e6 / figures.count as f64);
        }
        let figures = void.is_empty().then_some(figures);
        Self { run, settings, void, figures, cost }
    }

    pub fn is_valid(&self) -> bool {
        self.void.is_empty()
    }
}

impl Figures {
    /// Of either loop. `own_lag`: the generator kept a rate, and how late it was is worth knowing.
    pub fn of_answers(gathered: &Gathered, own_lag: bool) -> Self {
        let mut latencies = vec![Quantiles::of("latency", &gathered.latencies)];
        if own_lag {
            latencies.push(Quantiles::of("of it the generator's own", &gathered.lag));
        }
        Self {
            latencies,
            timeline: gathered.seconds.iter().map(Slice::from).collect(),
            ..Self::counted("answers", gathered.latencies.len(), gathered.last_answer)
        }
    }

    /// `resident_kib`: before the first stream, and with all of them held.
    pub fn of_streams(seen: &Seen, resident_kib: Option<(u64, u64)>) -> Self {
        let delay = seen.latencies.iter().map(|latencies| Quantiles::of("event, from server to client", latencies));
        let opening = seen.opening.iter().map(|latencies| Quantiles::of("opening", latencies));
        let each = |(before, held): (u64, u64)| held.saturating_sub(before) as f64 / seen.opened.max(1) as f64;
        Self {
            per_second: None,
            resident_kib_each: resident_kib.map(each),
            counts: vec![("events", seen.events), ("heartbeats", seen.heartbeats)],
            latencies: delay.chain(opening).collect(),
            ..Self::counted("streams", seen.opened, seen.took)
        }
    }

    pub fn of_sign_ins(signed_in: &SignedIn) -> Self {
        let mut latencies = vec![Quantiles::of("whole sign-in", &signed_in.whole)];
        let steps = Step::ALL.iter().zip(&signed_in.steps);
        latencies.extend(steps.map(|(step, times)| Quantiles::of(step.name(), times)));
        Self { latencies, ..Self::counted("sign-ins", signed_in.whole.len(), signed_in.took) }
    }

    fn counted(unit: &'static str, count: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let per_second = (seconds > 0.0).then(|| count as f64 / seconds);
        Self { unit, count, seconds, per_second, ..Self::default() }
    }
}

impl Quantiles {
    fn of(of: &'static str, latencies: &Latencies) -> Self {
        let at = |share| milliseconds(latencies.value_at_quantile(share));
        let curve = CURVE.iter().map(|&share| (share, at(share)));
        Self {
            of,
            count: latencies.len(),
            mean: latencies.mean() / 1e6,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            longest: milliseconds(latencies.max()),
            curve: curve.filter(|(share, _)| latencies.len() as f64 * (1.0 - share) >= 1.0).collect(),
        }
    }
}

impl From<&Second> for Slice {
    fn from(second: &Second) -> Self {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            second: second.at,
            answers: second.answers,
            p50: milliseconds(second.p50),
            p99: milliseconds(second.p99),
            longest: milliseconds(second.longest),
        }
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// As far as there are answers beyond a share, it is shown.
const CURVE: [f64; 13] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999];
