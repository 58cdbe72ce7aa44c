//! Whether a call costs the same with a hundred sessions and with a hundred thousand (Zipf): one replica, by turns.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Sizes;
use super::sallyport::{Installation, Replica};
use super::stage::{Serving, Stage};
use super::statistics::Spread;
use crate::closed_loop::ClosedLoop;
use crate::observe::{resident_kib, run_time};
use crate::progress::Progress;
use crate::target::Target;
use crate::verdict;
use crate::wire::Wire;
use crate::work::Work;

/// CPU of an answer with few sessions and with many.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    pub void: Vec<String>,
    pub few: usize,
    pub many: usize,
    pub cpu_us_few: Option<Spread>,
    pub cpu_us_many: Option<Spread>,
    /// Of the same round.
    pub many_to_few: Option<Spread>,
    pub resident_kib_few: u64,
    pub resident_kib_many: u64,
}

/// # Errors
/// When the replica does not come up or is gone.
pub async fn measure(
    stage: &mut Stage,
    installation: &Installation,
    upstream: &Serving,
    sizes: &Sizes,
) -> anyhow::Result<Sweep> {
    let many = installation.sessions.len();
    let few = FEW.min(many);
    // An entry of the cache has its place by its hash: with less room than this, some would be pushed out.
    let replica = Replica { cached: many * 2, tls: None };
    let serving = installation.replica(stage, upstream.address, replica).await?;
    let target = installation.target.clone().served_at(serving.address)?;
    let (of_few, of_many) = (installation.calls(few, ZIPF)?, installation.calls(many, ZIPF)?);
    let (of_few, of_many) = (Arc::new(of_few), Arc::new(of_many));
    let mut runner = Runner { target, process: serving.program.pid(), wires: Vec::new(), void: Vec::new() };
    runner.window(&of_few, sizes.window, u64::MAX).await?;
    let resident_kib_few = resident_kib(runner.process)?;
    // Everybody calls once or more, since an entry that was not looked up for half a minute is no warm one.
    let warm_up = Arc::new(installation.calls(many, 0.0)?);
    runner.window(&warm_up, WARM_UP, many as u64 * 3).await?;
    let resident_kib_many = resident_kib(runner.process)?;
    let mut pairs = Vec::new();
    for _ in 0..sizes.rounds {
        let many = runner.window(&of_many, sizes.window, u64::MAX).await?;
        pairs.push((runner.window(&of_few, sizes.window, u64::MAX).await?, many));
    }
    let spread = |figure: &dyn Fn(&(f64, f64)) -> f64| {
        runner.void.is_empty().then(|| Spread::of(pairs.iter().map(figure))).flatten()
    };
    Ok(Sweep {
        few,
        many,
        cpu_us_few: spread(&|pair| pair.0),
        cpu_us_many: spread(&|pair| pair.1),
        many_to_few: spread(&|pair| pair.1 / pair.0),
        resident_kib_few,
        resident_kib_many,
        void: runner.void,
    })
}

struct Runner {
    target: Target,
    process: u32,
    wires: Vec<Wire>,
    void: Vec<String>,
}

impl Runner {
    /// Microseconds of CPU for an answer.
    async fn window(&mut self, work: &Arc<Work>, lasts: Duration, requests: u64) -> anyhow::Result<f64> {
        let settings = ClosedLoop { callers: CALLERS, requests, lasts, patience: PATIENCE };
        let mut wires = std::mem::take(&mut self.wires);
        wires.resize_with(CALLERS, || Wire::new(self.target.address(), PATIENCE));
        let before = run_time(self.process)?;
        let (gathered, wires) = settings.run_on(wires, work, &Progress::hidden()).await;
        let cpu = run_time(self.process)?.saturating_sub(before);
        self.wires = wires;
        self.void.extend(verdict::closed(&settings, &gathered).iter().map(ToString::to_string));
        Ok(cpu.as_secs_f64() * 1e6 / gathered.latencies.len() as f64)
    }
}

const FEW: usize = 100;
const ZIPF: f64 = 1.0;
const CALLERS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(20);
