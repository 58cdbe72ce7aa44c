//! What a run cost its target: CPU time and memory by `/proc`, and what the edge counted by its `/metrics`.

mod metrics;
mod process;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use http::Request;
use http_body_util::Full;
use serde::Serialize;

use crate::connection::Connection;
use crate::target::Target;
use process::Usage;
pub use process::{resident_kib, run_time, run_time_where};

/// Whom to look at. Default: nobody.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    /// The `/metrics` of an edge.
    pub metrics: Option<Target>,
    /// Processes that serve together, such as a server and its workers.
    pub processes: Vec<u32>,
}

/// Whom to look at again when the run is over, and what the first look saw.
pub struct Observation {
    observer: Observer,
    usage: Option<Usage>,
    metrics: BTreeMap<String, f64>,
}

/// What lies between two looks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessCost>,
    /// By how much each series of `/metrics` changed; those that did not are left out, and the buckets of histograms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessCost {
    pub cpu_seconds: f64,
    pub resident_kib_before: u64,
    pub resident_kib_after: u64,
    /// Since the process began.
    pub resident_kib_most: u64,
    pub threads: u64,
}

impl Observer {
    /// The look before a run.
    ///
    /// # Errors
    /// When a process is gone or another user's, or the metrics are not answered, or are none.
    pub async fn begin(self) -> anyhow::Result<Observation> {
        let (metrics, usage) = (self.series().await?, self.usage()?);
        Ok(Observation { observer: self, usage, metrics })
    }

    async fn series(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        match &self.metrics {
            Some(target) => series(target).await,
            None => Ok(BTreeMap::new()),
        }
    }

    fn usage(&self) -> anyhow::Result<Option<Usage>> {
        if self.processes.is_empty() { Ok(None) } else { process::usage(&self.processes).map(Some) }
    }
}

impl Observation {
    /// Kibibytes in memory when the run began, if there are processes to look at.
    pub fn resident_kib_before(&self) -> Option<u64> {
        self.usage.map(|usage| usage.resident_kib)
    }

    /// Likewise now. None also of a process that is gone: [`Self::end`] says so.
    pub fn resident_kib(&self) -> Option<u64> {
        Some(self.observer.usage().ok()??.resident_kib)
    }

    /// The look after the run. What cannot be read any more has no cost and is named in `void`: a target that died has a
    /// report too.
    pub async fn end(self, void: &mut Vec<String>) -> Cost {
        let metrics = read(self.observer.series().await, void);
        let usage = read(self.observer.usage(), void);
        let process = self.usage.zip(usage).map(|(before, after)| ProcessCost {
            cpu_seconds: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
            resident_kib_before: before.resident_kib,
            resident_kib_after: after.resident_kib,
            resident_kib_most: after.resident_kib_most,
            threads: after.threads,
        });
        Cost { process, metrics: metrics::changes(&self.metrics, &metrics) }
    }
}

fn read<T: Default>(look: anyhow::Result<T>, void: &mut Vec<String>) -> T {
    look.unwrap_or_else(|error| {
        void.push(format!("{error:#}"));
        T::default()
    })
}

async fn series(target: &Target) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.path();
    request.headers_mut().insert(http::header::HOST, target.host().clone());
    let answer = Connection::new(target.address(), PATIENCE).exchange(request).await;
    let answer = answer.map_err(|failure| anyhow!("cannot read {target}: {failure}"))?;
    ensure!(answer.status() == 200, "cannot read {target}: status {}", answer.status().as_u16());
    let text = std::str::from_utf8(answer.body()).ok();
    text.and_then(metrics::parse).with_context(|| format!("{target} has no metrics in the text format of Prometheus"))
}

const PATIENCE: Duration = Duration::from_secs(5);
