//! `loadtest streams`: event streams, held open.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use rustix::process::{Resource, getrlimit};

use super::watch::Watch;
use super::work::{Who, live};
use crate::header_file;
use crate::progress::Progress;
use crate::report::{Figures, Report};
use crate::streams;
use crate::target::Target;
use crate::tokens;
use crate::work::{Expected, Work};

/// A stream that is refused, or ends early, voids the run.
#[derive(Args)]
pub struct Streams {
    /// Where streams are: the MCP URL, or for the legacy transport that with /sse.
    #[arg(long, value_name = "URL")]
    url: Target,
    /// Sessions, as `loadtest sign-in` wrote them; without it requests have no token.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    /// Further headers, one `name: value` a line.
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// How many streams.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
    /// How many are opened in a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    opened_per_second: u32,
    /// For how long they are held once all are open.
    #[arg(long, default_value_t = 10)]
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
        let settings = streams::Streams {
            streams: self.streams as usize,
            opened_per_second: self.opened_per_second.into(),
            hold: Duration::from_secs(self.seconds),
            patience: PATIENCE,
        };
        let work = Arc::new(self.work(&settings)?);
        let observer = self.watch.observer();
        let before = observer.look().await?;
        let first = observer.resident_kib()?;
        let mut held = Ok(None);
        let seen = settings.run(&self.url, &work, &Progress::on_terminal(), || held = observer.resident_kib()).await;
        let cost = before.until(&observer.look().await?);
        let run = format!("{} event streams, held for {} s", self.streams, self.seconds);
        let figures = Figures::of_streams(&seen, first.zip(held?));
        Ok(Report::new(run, &seen.voids(), figures, cost))
    }

    fn work(&self, settings: &streams::Streams) -> anyhow::Result<Work> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(path) = &self.headers {
            headers.extend(header_file::read(path)?);
        }
        let work = Work::new(&self.url, headers, None, Expected { status: StatusCode::OK, text: None });
        let Some(path) = &self.tokens else { return Ok(work) };
        let lasts = settings.hold + Duration::from_secs(u64::from(self.streams / self.opened_per_second)) + PATIENCE;
        self.who.send(work, live(tokens::read(path)?, lasts)?).context("with these sessions")
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
/// Beside those of the streams.
const OTHER_FILES: u64 = 32;
