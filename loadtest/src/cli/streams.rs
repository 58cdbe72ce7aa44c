//! `loadtest streams`: event streams, held open.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, value_parser};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use rustix::process::{Resource, getrlimit};

use super::bounds;
use super::watch::Watch;
use super::who::Who;
use crate::header_file;
use crate::progress::Progress;
use crate::report::{Figures, Report, Settings};
use crate::streams;
use crate::target::Target;
use crate::work::{Expected, Work};

/// A stream that is refused, or ends early, voids the run.
#[derive(Args)]
pub struct Streams {
    /// Where streams are: the MCP URL, or for the legacy transport that with /sse.
    #[arg(long, value_name = "URL")]
    url: Target,
    #[command(flatten)]
    who: Who,
    /// Further headers, one `name: value` a line.
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// How many streams.
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    streams: u32,
    /// How many are opened in a second.
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(1..=100_000))]
    opened_per_second: u32,
    /// For how long they are held once all are open.
    #[arg(long, default_value_t = 10, value_parser = bounds::seconds())]
    seconds: u64,
    #[command(flatten)]
    watch: Watch,
}

impl Streams {
    /// # Errors
    /// When the run cannot begin, or the target cannot be observed.
    pub async fn run(self) -> anyhow::Result<Report> {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        ensure!(
            u64::from(self.streams) + OTHER_FILES <= files,
            "{} streams need more files than this process may open, {files}: ulimit -n",
            self.streams
        );
        let held = streams::Streams {
            streams: self.streams as usize,
            opened_per_second: self.opened_per_second.into(),
            hold: Duration::from_secs(self.seconds),
            patience: PATIENCE,
        };
        let mut settings = Settings::default();
        let work = Arc::new(self.work(held.hold, &mut settings)?);
        let Self { streams, opened_per_second, seconds, .. } = self;
        settings.add("streams", streams);
        settings.add("opened-per-second", opened_per_second);
        settings.add("seconds", seconds);
        let progress = Progress::of_run("events", None);
        let observation = self.watch.begin().await?;
        let mut resident = None;
        let seen = held.run(&self.url, &work, &progress, || resident = observation.resident_kib()).await;
        let mut void: Vec<_> = progress.ended().into_iter().collect();
        void.extend(seen.voids().iter().map(ToString::to_string));
        let figures = Figures::of_streams(&seen, observation.resident_kib_before().zip(resident));
        let cost = observation.end(&mut void).await;
        let run = format!("{streams} event streams, {opened_per_second} opened in a second, held for {seconds} s");
        Ok(Report::new(run, settings, void, figures, cost))
    }

    fn work(&self, hold: Duration, settings: &mut Settings) -> anyhow::Result<Work> {
        settings.add("url", self.url.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(path) = &self.headers {
            settings.add("headers", path.display().to_string());
            headers.extend(header_file::read(path)?);
        }
        let work = Work::new(&self.url, headers, None, Expected { status: StatusCode::OK, text: None });
        let opening = Duration::from_secs(u64::from(self.streams / self.opened_per_second));
        self.who.send_live(work, hold + opening + PATIENCE, settings)
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
/// Beside those of the streams.
const OTHER_FILES: u64 = 32;
