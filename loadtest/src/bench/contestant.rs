//! Who is measured: a server, what is sent to it, and one window of a closed loop.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use crate::closed_loop::ClosedLoop;
use crate::observe::run_time;
use crate::open_loop::{Offered, OpenLoop};
use crate::progress::Progress;
use crate::target::Target;
use crate::verdict::{self, Void};
use crate::wire::Wire;
use crate::work::{Expected, Work};

use super::sallyport;
use super::stage::Serving;

pub struct Contestant {
    pub name: String,
    pub does: &'static str,
    /// Why it is not measured any more.
    pub void: Vec<String>,
    target: Target,
    work: Arc<Work>,
    /// None: the upstream, which others need too.
    serving: Option<Serving>,
    process: u32,
    callers: usize,
    /// At most so many in a window.
    requests: u64,
    wires: Vec<Wire>,
    /// Whose commands are counted.
    redis: Option<SocketAddr>,
}

/// What a window of a closed loop showed.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub answers: u64,
    pub rate: f64,
    /// Microseconds of CPU for each answer.
    pub cpu: f64,
    /// The share of one core that its process used.
    pub busy: f64,
    /// Commands of Redis for each answer, if it has a Redis.
    pub store_reads: Option<f64>,
}

/// What came of a fixed rate.
pub enum AtRate {
    Kept(Box<Offered>),
    /// It is too slow.
    NotKept,
    /// Why it says nothing.
    Void(Vec<String>),
}

impl Contestant {
    /// Calls that must get a result.
    ///
    /// # Errors
    /// Never, for an address of loopback.
    pub fn tools_list(name: impl Into<String>, does: &'static str, serving: Serving) -> anyhow::Result<Self> {
        let target: Target = format!("http://{}/mcp", serving.address).parse()?;
        let work = Work::tools_list(&target, Expected::RESULT);
        Ok(Self::new(name, does, target, work, serving))
    }

    pub fn new(name: impl Into<String>, does: &'static str, target: Target, work: Work, serving: Serving) -> Self {
        let process = serving.program.pid();
        Self { serving: Some(serving), ..Self::shared(name, does, target, Arc::new(work), process) }
    }

    /// Nobody between the generator and the upstream.
    pub fn upstream_alone(upstream: &Serving) -> Self {
        let target: Target = format!("http://{}/mcp", upstream.address).parse().expect("an address of loopback");
        let work = Arc::new(Work::tools_list(&target, Expected::RESULT));
        Self::shared("upstream alone", "", target, work, upstream.program.pid())
    }

    /// One whose process is somebody else's to end, for several may be measured in it.
    pub fn shared(name: impl Into<String>, does: &'static str, target: Target, work: Arc<Work>, process: u32) -> Self {
        Self {
            name: name.into(),
            does,
            void: Vec::new(),
            target,
            work,
            serving: None,
            process,
            callers: CALLERS,
            requests: u64::MAX,
            wires: Vec::new(),
            redis: None,
        }
    }

    /// For those that would keep so many waiting too long.
    pub fn with_callers(mut self, callers: usize) -> Self {
        self.callers = callers;
        self
    }

    /// A window ends with so many, if its time is not over before.
    pub fn with_requests(mut self, requests: u64) -> Self {
        self.requests = requests;
        self
    }

    /// With the commands counted that its store gets meanwhile.
    pub fn with_redis(mut self, redis: SocketAddr) -> Self {
        self.redis = Some(redis);
        self
    }

    pub fn process(&self) -> u32 {
        self.process
    }

    /// As fast as it can for so long. A failure voids the contestant: None from then on.
    ///
    /// # Errors
    /// When its process is gone.
    pub async fn window(&mut self, lasts: Duration) -> anyhow::Result<Option<Window>> {
        if !self.void.is_empty() {
            return Ok(None);
        }
        let settings = ClosedLoop { callers: self.callers, requests: self.requests, lasts, patience: PATIENCE };
        let wires = self.take_wires();
        let commands_before = self.commands().await?;
        let before = run_time(self.process)?;
        let (gathered, wires) = settings.run_on(wires, &self.work, &Progress::hidden()).await;
        let cpu = run_time(self.process)?.saturating_sub(before).as_secs_f64();
        // Asking is one itself.
        let commands = self.commands().await?.zip(commands_before).map(|(after, before)| after - before - 1);
        self.wires = wires;
        self.forget_log();
        self.void = verdict::closed(&settings, &gathered).iter().map(ToString::to_string).collect();
        let (answers, seconds) = (gathered.latencies.len(), gathered.last_answer.as_secs_f64());
        let window = Window {
            answers,
            rate: answers as f64 / seconds,
            cpu: cpu * 1e6 / answers as f64,
            busy: cpu / seconds,
            store_reads: commands.map(|commands| commands as f64 / answers as f64),
        };
        Ok(self.void.is_empty().then_some(window))
    }

    /// At a fixed rate for so long. It is void when an answer was none, or the generator was late by itself. Where the
    /// generator was in time and the rate was not kept all the same, it is the contestant that cannot.
    pub async fn at_rate(&mut self, rate: f64, lasts: Duration) -> AtRate {
        let settings = OpenLoop { rate, lasts, connections: self.callers, patience: PATIENCE };
        let wires = self.take_wires();
        let (offered, wires) = settings.run_on(wires, &self.work, &Progress::hidden()).await;
        self.wires = wires;
        self.forget_log();
        let voids = verdict::open(&settings, &offered, LAG);
        if voids.is_empty() {
            return AtRate::Kept(Box::new(offered));
        }
        if voids.iter().all(|void| matches!(void, Void::RateNotKept { .. } | Void::Unfinished { .. })) {
            return AtRate::NotKept;
        }
        AtRate::Void(voids.iter().map(|void| format!("at {rate:.0} in a second: {void}")).collect())
    }

    /// Ends its process, and waits until that has written what it writes at its end.
    ///
    /// # Errors
    /// When a window was void, or the process does not end by itself.
    pub async fn end(self) -> anyhow::Result<()> {
        ensure!(self.void.is_empty(), "{}: {}", self.name, self.void.join("; "));
        match self.serving {
            Some(serving) => serving.program.stop().await,
            None => Ok(()),
        }
    }

    async fn commands(&self) -> anyhow::Result<Option<u64>> {
        match self.redis {
            Some(redis) => sallyport::redis::commands(redis).await.map(Some),
            None => Ok(None),
        }
    }

    /// Connections stay from window to window: what it costs to open them is not asked here.
    fn take_wires(&mut self) -> Vec<Wire> {
        let mut wires = std::mem::take(&mut self.wires);
        wires.resize_with(self.callers, || Wire::new(self.target.address(), PATIENCE));
        wires
    }

    /// An access log that was written, as it must be, would fill the disk.
    fn forget_log(&self) {
        if let Some(serving) = &self.serving
            && let Ok(log) = OpenOptions::new().write(true).open(serving.program.log())
        {
            // A log that stays costs room and nothing else.
            let _ = log.set_len(0);
        }
    }
}

/// Enough to keep a core busy.
const CALLERS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
/// As `loadtest open` has it.
const LAG: Duration = Duration::from_millis(5);
