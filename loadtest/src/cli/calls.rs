//! `loadtest open` and `loadtest closed`: the same call again and again.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::watch::Watch;
use super::work::What;
use crate::closed_loop::ClosedLoop;
use crate::open_loop::OpenLoop;
use crate::progress::Progress;
use crate::report::{Figures, Report};
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
    #[arg(long, value_parser = rate)]
    pub rate: f64,
    /// For how long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// How many can be under way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// By how much the generator itself may be late, at the 99th of 100 requests, before the run is void.
    #[arg(long, value_name = "MS", default_value_t = 5)]
    max_lag_ms: u64,
}

#[derive(Args)]
pub struct Closed {
    #[command(flatten)]
    what: What,
    /// How many callers at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    callers: u16,
    /// End after so many requests.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    requests: u64,
    /// End after so many seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    watch: Watch,
}

impl Open {
    /// # Errors
    /// When the run cannot begin.
    pub async fn run(self) -> anyhow::Result<Report> {
        let work = self.what.work(self.rate.lasts() + PATIENCE)?;
        let run = format!("Open loop: {}", self.rate.described());
        self.rate.run(run, &self.what.url, work, &self.watch).await
    }
}

impl Rate {
    pub fn lasts(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub fn described(&self) -> String {
        format!("{} in a second for {} s, at most {} at once", self.rate, self.seconds, self.connections)
    }

    /// # Errors
    /// When the target cannot be observed.
    pub async fn run(&self, run: String, target: &Target, work: Work, watch: &Watch) -> anyhow::Result<Report> {
        let settings =
            OpenLoop { rate: self.rate, lasts: self.lasts(), connections: self.connections.into(), patience: PATIENCE };
        let observer = watch.observer();
        let before = observer.look().await?;
        let offered = settings.run(target, &Arc::new(work), &Progress::on_terminal()).await;
        let cost = before.until(&observer.look().await?);
        let voids = verdict::open(&settings, &offered, Duration::from_millis(self.max_lag_ms));
        Ok(Report::new(run, &voids, Figures::of_answers(&offered.gathered, true), cost))
    }
}

impl Closed {
    /// # Errors
    /// When the run cannot begin, or the target cannot be observed.
    pub async fn run(self) -> anyhow::Result<Report> {
        let lasts = Duration::from_secs(self.seconds);
        let work = self.what.work(lasts + PATIENCE)?;
        let settings = ClosedLoop { callers: self.callers.into(), requests: self.requests, lasts, patience: PATIENCE };
        let observer = self.watch.observer();
        let before = observer.look().await?;
        let gathered = settings.run(&self.what.url, &Arc::new(work), &Progress::on_terminal()).await;
        let cost = before.until(&observer.look().await?);
        let voids = verdict::closed(&settings, &gathered);
        let run = format!("Closed loop: {} callers", self.callers);
        Ok(Report::new(run, &voids, Figures::of_answers(&gathered, false), cost))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=1e6).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.1 to 1000000".to_owned()),
    }
}

/// For each answer, and for what is under way at the end.
const PATIENCE: Duration = Duration::from_secs(10);
