//! `loadtest bench`: Sallyport side by side with others, in one run, on one machine.
//!
//! A [`stage`] has everything that is started, and ends it. On it are [`contestant`]s: the upstream alone, the pass-through
//! on Pingora, replicas of a [`sallyport`] installation, [`peers`]. [`rounds`] measures them by turns, in short windows, so
//! that what disturbs the machine disturbs all of them; a figure is the median of its rounds. Where only one thing differs, it is
//! a [`comparison`]: the [`logs`], and the [`sweep`]. [`streams`] and [`handshakes`] measure what is no call. [`results`] has what
//! came of it. [`training`] has the same load for the profile that a release is optimised by.

pub mod comparison;
pub mod contestant;
pub mod handshakes;
pub mod logs;
pub mod machine;
pub mod peers;
pub mod program;
pub mod results;
pub mod rounds;
pub mod sallyport;
pub mod stage;
pub mod statistics;
pub mod streams;
pub mod sweep;
pub mod training;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::awake::Awake;
use contestant::Contestant;
use results::Results;
use sallyport::Installation;
use stage::{Serving, Stage};

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Where the programs are: `sallyport`, `bare-pingora`, `fake-entra`, and this one.
    pub programs: PathBuf,
    /// The `sallyport` that serves; the one above signs everybody in, and serves too where there is none here.
    pub shipped: Option<PathBuf>,
    /// The folder of the programs that are from PyPI; without it, they are told as not measured.
    pub contestants: Option<PathBuf>,
    /// How the run was asked for: it stands in the results.
    pub command: String,
    pub sizes: Sizes,
    /// What is measured; all of it when there is none.
    pub only: Vec<Part>,
    /// Other builds to be measured beside ours, by name: of `sallyport`, or by the name of their file of `bare-pingora`.
    pub other_builds: Vec<(String, PathBuf)>,
    /// The end, whatever is left.
    pub limit: Duration,
    /// The measured have a core of their own, if there are two. It binds this process to the others.
    pub pin: bool,
    /// Programs of the run go before all others on this machine, which must not be idle then. Needs root.
    pub realtime: bool,
}

/// Of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Part {
    /// Everybody's calls, at saturation and at a fixed rate.
    Calls,
    /// What the logs cost.
    Logs,
    /// Calls with more and more of everything.
    Sweep,
    Streams,
    Handshakes,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Sessions whose calls are measured.
    pub sessions: usize,
    /// Sessions for the sweep.
    pub many_sessions: usize,
    /// Calls in the longest window of the sweep.
    pub most_calls: usize,
    pub sign_in_limit: Duration,
    /// Windows of each contestant, and how long each is.
    pub rounds: usize,
    pub window: Duration,
    /// Likewise for latencies at a fixed rate.
    pub rate_rounds: usize,
    pub rate_window: Duration,
    pub idle_streams: usize,
    /// Those that carry events, and for how long.
    pub busy_streams: usize,
    pub relay: Duration,
    pub handshake_rounds: usize,
}

impl Sizes {
    pub const FULL: Self = Self {
        sessions: 1000,
        many_sessions: 100_000,
        most_calls: 8000,
        sign_in_limit: Duration::from_secs(60),
        rounds: 15,
        window: Duration::from_millis(500),
        rate_rounds: 9,
        rate_window: Duration::from_secs(1),
        idle_streams: 2000,
        busy_streams: 200,
        relay: Duration::from_secs(10),
        handshake_rounds: 9,
    };
    /// Two minutes: whether it works, and about what comes out.
    pub const QUICK: Self = Self {
        sessions: 200,
        many_sessions: 2000,
        most_calls: 4000,
        sign_in_limit: Duration::from_secs(20),
        rounds: 5,
        window: Duration::from_millis(300),
        rate_rounds: 3,
        rate_window: Duration::from_millis(500),
        idle_streams: 500,
        busy_streams: 100,
        relay: Duration::from_secs(2),
        handshake_rounds: 3,
    };
    /// Seconds, in any profile, beside other tests.
    pub const SMOKE: Self = Self {
        sessions: 4,
        many_sessions: 100,
        most_calls: 160,
        sign_in_limit: Duration::from_secs(30),
        rounds: 2,
        window: Duration::from_millis(100),
        rate_rounds: 0,
        rate_window: Duration::from_millis(100),
        idle_streams: 5,
        busy_streams: 5,
        relay: Duration::from_millis(300),
        handshake_rounds: 1,
    };
}

impl Bench {
    /// What was measured until the time was over, or something of ours ended, is told with the reason. So is a contestant that is
    /// not there, or fails.
    ///
    /// # Errors
    /// When nothing was measured: something of ours cannot be started, or nobody could sign in.
    pub async fn run(self) -> anyhow::Result<Results> {
        let mut results = Results::begin(&self);
        // What was started ends with the future that holds it.
        let measured = timeout(self.limit, self.measure(&mut results)).await;
        let measured = measured.unwrap_or_else(|_| Err(anyhow::anyhow!("the time of {:?} was over", self.limit)));
        if let Err(error) = measured {
            if results.sign_ins.count == 0 {
                return Err(error);
            }
            results.broken_off = Some(format!("{error:#}"));
        }
        results.end();
        Ok(results)
    }

    async fn measure(&self, results: &mut Results) -> anyhow::Result<()> {
        let mut stage = Stage::open(self)?;
        let _awake = stage::stays_awake(self).then(Awake::stay);
        let upstream = stage.upstream(None).await?;
        let (installation, sign_ins) = Installation::begin(&mut stage, &upstream, self).await?;
        results.sign_ins = sign_ins;

        if self.measures(Part::Calls) {
            let mut contestants = self.contestants(&mut stage, &installation, &upstream, results).await?;
            results.calls = rounds::measure(&mut contestants, &self.sizes).await?;
        }
        if self.measures(Part::Logs) {
            results.logs = Some(logs::measure(&mut stage, &installation, &upstream, &self.sizes).await?);
        }
        if self.measures(Part::Sweep) {
            results.sweeps = sweep::measure(&mut stage, &installation, &upstream, &self.sizes).await?;
        }
        if self.measures(Part::Streams) {
            results.streams = streams::measure(&mut stage, &installation, &self.sizes).await?;
        }
        if self.measures(Part::Handshakes) {
            results.handshakes = handshakes::measure(&mut stage, &installation, &upstream, &self.sizes).await?;
        }
        Ok(())
    }

    async fn contestants(
        &self,
        stage: &mut Stage,
        installation: &Installation,
        upstream: &Serving,
        results: &mut Results,
    ) -> anyhow::Result<Vec<Contestant>> {
        let mut contestants = vec![Contestant::upstream_alone(upstream)];
        contestants.extend(stage.bare(upstream).await?);
        contestants.extend(installation.contestants(stage, upstream).await?);
        for (name, program) in &self.other_builds {
            let is_bare = program.file_name().is_some_and(|file| file.to_string_lossy().starts_with("bare-pingora"));
            contestants.extend(match is_bare {
                true => vec![Contestant::tools_list(
                    name.as_str(),
                    "proxy, another build",
                    stage.pass_through_by(program, upstream.address, &[]).await?,
                )?],
                false => installation.other_build(stage, upstream, name, program).await?,
            });
        }
        let peers = peers::all(stage, self.contestants.as_deref(), upstream, &installation.redis, self.sizes.sessions);
        for (name, peer) in peers.await {
            match peer {
                Ok(peer) => contestants.push(peer),
                Err(reason) => results.not_measured(name, &format!("{reason:#}")),
            }
        }
        Ok(contestants)
    }

    fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
