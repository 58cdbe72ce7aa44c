//! `loadtest open` and `loadtest closed`: the same call again and again.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, value_parser};

use super::bounds;
use super::watch::Watch;
use super::work::What;
use crate::closed_loop::ClosedLoop;
use crate::open_loop::OpenLoop;
use crate::progress::Progress;
use crate::report::{Figures, Report, Settings};
use crate::target::Target;
use crate::verdict;
use crate::work::Work;

#[derive(Args)]
pub struct Open {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    rate: Rate,
    #[command(flatten)]
    watch: Watch,
}

/// When requests are sent.
#[derive(Args)]
pub struct Rate {
    /// Requests in a second.
    #[arg(long, value_parser = bounds::rate, allow_negative_numbers = true)]
    rate: f64,
    /// For how long.
    #[arg(long, default_value_t = 10, value_parser = bounds::seconds())]
    seconds: u64,
    /// How many can be under way at once.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u16).range(1..))]
    connections: u16,
    /// By how much the generator itself may be late, at the 99th of 100 requests, before the run is void; a minute at most.
    #[arg(long, value_name = "MS", default_value_t = 5, value_parser = value_parser!(u64).range(..=60_000))]
    max_lag_ms: u64,
}

#[derive(Args)]
pub struct Closed {
    #[command(flatten)]
    what: What,
    /// How many callers at once.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u16).range(1..))]
    callers: u16,
    /// End after so many requests.
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// End after so many seconds.
    #[arg(long, default_value_t = 10, value_parser = bounds::seconds())]
    seconds: u64,
    #[command(flatten)]
    watch: Watch,
}

impl Open {
    /// # Errors
    /// When the run cannot begin.
    pub async fn run(self) -> anyhow::Result<Report> {
        let mut settings = Settings::default();
        let work = self.what.work(self.rate.lasts() + PATIENCE, &mut settings)?;
        self.rate.run("Open loop", &self.what.url, work, settings, self.watch).await
    }
}

impl Rate {
    pub fn lasts(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// # Errors
    /// When the target cannot be observed.
    pub async fn run(
        &self,
        kind: &str,
        target: &Target,
        work: Work,
        mut settings: Settings,
        watch: Watch,
    ) -> anyhow::Result<Report> {
        let Self { rate, seconds, connections, max_lag_ms } = *self;
        settings.add("rate", rate);
        settings.add("seconds", seconds);
        settings.add("connections", connections);
        settings.add("max-lag-ms", max_lag_ms);
        let open = OpenLoop { rate, lasts: self.lasts(), connections: connections.into(), patience: PATIENCE };
        let (work, progress) = (Arc::new(work), Progress::of_run("answers", None));
        let observation = watch.begin().await?;
        let offered = open.run(target, &work, &progress).await;
        let mut void: Vec<_> = progress.ended().into_iter().collect();
        let voids = verdict::open(&open, &offered, Duration::from_millis(max_lag_ms));
        void.extend(voids.iter().map(ToString::to_string));
        let cost = observation.end(&mut void).await;
        let run = format!("{kind}: {rate} in a second for {seconds} s, at most {connections} at once");
        Ok(Report::new(run, settings, void, Figures::of_answers(&offered.gathered, true), cost))
    }
}

impl Closed {
    /// # Errors
    /// When the run cannot begin, or the target cannot be observed.
    pub async fn run(self) -> anyhow::Result<Report> {
        let lasts = Duration::from_secs(self.seconds);
        let mut settings = Settings::default();
        let work = Arc::new(self.what.work(lasts + PATIENCE, &mut settings)?);
        settings.add("callers", self.callers);
        if let Some(requests) = self.requests {
            settings.add("requests", requests);
        }
        settings.add("seconds", self.seconds);
        let requests = self.requests.unwrap_or(u64::MAX);
        let closed = ClosedLoop { callers: self.callers.into(), requests, lasts, patience: PATIENCE };
        let progress = Progress::of_run("answers", self.requests);
        let observation = self.watch.begin().await?;
        let gathered = closed.run(&self.what.url, &work, &progress).await;
        let mut void: Vec<_> = progress.ended().into_iter().collect();
        void.extend(verdict::closed(&closed, &gathered).iter().map(ToString::to_string));
        let cost = observation.end(&mut void).await;
        let run = format!("Closed loop: {} callers", self.callers);
        Ok(Report::new(run, settings, void, Figures::of_answers(&gathered, false), cost))
    }
}

/// For each answer, and for what is under way at the end.
const PATIENCE: Duration = Duration::from_secs(10);
