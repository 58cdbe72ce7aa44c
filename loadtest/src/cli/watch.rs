//! Whom to observe during a run.

use clap::Args;

use crate::observe::{Observation, Observer};
use crate::target::Target;

#[derive(Args)]
pub struct Watch {
    /// The edge's metrics, such as http://127.0.0.1:9464/metrics: what changed during the run.
    #[arg(long, value_name = "URL")]
    metrics: Option<Target>,
    /// A process of the target's, for CPU and memory by /proc; can be repeated.
    #[arg(long = "pid", value_name = "PID")]
    processes: Vec<u32>,
}

impl Watch {
    /// The look before the run.
    ///
    /// # Errors
    /// When the target cannot be observed.
    pub async fn begin(self) -> anyhow::Result<Observation> {
        Observer { metrics: self.metrics, processes: self.processes }.begin().await
    }
}
