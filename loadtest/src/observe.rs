//! What a run cost its target: CPU time and memory by `/proc`, and what the edge counted by its `/metrics`.

mod metrics;
mod process;

use std::collections::BTreeMap;
use std::time::Duration;

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

/// One look.
pub struct Look {
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
    /// # Errors
    /// When a process is gone or another user's, or the metrics are not answered.
    pub async fn look(&self) -> anyhow::Result<Look> {
        let metrics = match &self.metrics {
            Some(target) => series(target).await?,
            None => BTreeMap::new(),
        };
        Ok(Look { usage: self.usage()?, metrics })
    }

    /// Kibibytes in memory now, if there are processes to look at.
    ///
    /// # Errors
    /// When a process is gone or another user's.
    pub fn resident_kib(&self) -> anyhow::Result<Option<u64>> {
        Ok(self.usage()?.map(|usage| usage.resident_kib))
    }

    fn usage(&self) -> anyhow::Result<Option<Usage>> {
        if self.processes.is_empty() { Ok(None) } else { process::usage(&self.processes).map(Some) }
    }
}

impl Look {
    /// From this look to a later one.
    pub fn until(&self, later: &Look) -> Cost {
        let process = self.usage.zip(later.usage).map(|(before, after)| ProcessCost {
            cpu_seconds: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
            resident_kib_before: before.resident_kib,
            resident_kib_after: after.resident_kib,
            resident_kib_most: after.resident_kib_most,
            threads: after.threads,
        });
        Cost { process, metrics: metrics::changes(&self.metrics, &later.metrics) }
    }
}

async fn series(target: &Target) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.path();
    request.headers_mut().insert(http::header::HOST, target.host().clone());
    let answer = Connection::new(target.address(), PATIENCE).exchange(request).await;
    let answer = answer.map_err(|failure| anyhow::anyhow!("{}: {failure}", target.url()))?;
    anyhow::ensure!(answer.status() == 200, "{}: status {}", target.url(), answer.status());
    Ok(metrics::parse(std::str::from_utf8(answer.body())?))
}

const PATIENCE: Duration = Duration::from_secs(5);
