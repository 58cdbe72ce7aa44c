//! What a run amounts to, with where and how it was measured: as JSON, and for people as Markdown.

mod markdown;
mod plot;

use serde::Serialize;

use super::comparison::Comparison;
use super::handshakes::HandshakeFigures;
use super::machine::{Machine, commit, now};
use super::rounds::{Calls, Row};
use super::sallyport::StepFigures;
use super::stage::pins;
use super::streams::StreamFigures;
use super::{Bench, Sizes};

#[derive(Clone, Debug, Serialize)]
pub struct Results {
    pub begun: String,
    pub ended: String,
    /// Why not all was measured.
    pub broken_off: Option<String>,
    pub commit: Option<String>,
    pub command: String,
    pub machine: Machine,
    /// Whether the measured had a core of their own.
    pub pinned: bool,
    pub realtime: bool,
    pub windows: String,
    pub sign_ins: SignInFigures,
    pub calls: Calls,
    pub logs: Option<Comparison>,
    pub sweeps: Vec<Comparison>,
    pub streams: Vec<StreamFigures>,
    pub handshakes: Vec<HandshakeFigures>,
    /// Who was not measured, and why.
    pub not_measured: Vec<(String, String)>,
}

/// Whole sign-ins; of the edge's process without the stand-in for Entra in it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SignInFigures {
    pub count: u64,
    pub per_second: f64,
    pub cpu_us_of_edge: f64,
    pub cpu_us_of_redis: f64,
    /// Each is a part of at most one round trip.
    pub redis_commands: f64,
    /// Of sign-ins one after the other.
    pub steps: Vec<StepFigures>,
}

impl Results {
    pub fn begin(bench: &Bench) -> Self {
        let Sizes { rounds, window, rate_rounds, rate_window, .. } = bench.sizes;
        Self {
            begun: now(),
            ended: String::new(),
            broken_off: None,
            commit: commit(),
            command: bench.command.clone(),
            machine: Machine::look(),
            pinned: pins(bench),
            realtime: bench.realtime,
            windows: format!("{rounds} of {window:?}, at a fixed rate {rate_rounds} of {rate_window:?}"),
            sign_ins: SignInFigures::default(),
            calls: Calls::default(),
            logs: None,
            sweeps: Vec::new(),
            streams: Vec::new(),
            handshakes: Vec::new(),
            not_measured: Vec::new(),
        }
    }

    pub fn not_measured(&mut self, name: &str, reason: &str) {
        self.not_measured.push((name.to_owned(), reason.to_owned()));
    }

    pub fn end(&mut self) {
        self.ended = now();
    }

    fn comparisons(&self) -> impl Iterator<Item = &Comparison> {
        self.logs.iter().chain(&self.sweeps)
    }

    /// The sweep as a picture (SVG); None when it was not measured.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn plot(&self) -> anyhow::Result<Option<String>> {
        plot::draw(&self.sweeps)
    }

    /// Whether all that was measured says something.
    pub fn is_valid(&self) -> bool {
        self.broken_off.is_none()
            && self.calls.rows.iter().all(Row::is_valid)
            && self.streams.iter().all(|streams| streams.void.is_empty())
            && self.comparisons().all(|comparison| comparison.void.is_empty())
    }
}
