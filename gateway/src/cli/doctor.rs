//! `sallyport doctor`: what is wrong with an installation, line by line, with what mends it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tokio::runtime;

use super::FAILED;
use super::progress::Progress;
use crate::clock::Clock;
use crate::config::Config;
use crate::core_dumps;
use crate::doctor::{self, Finding, Level};
use crate::server::Subject;

#[derive(Args)]
pub struct Doctor {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Answer as JSON, at the end.
    #[arg(long)]
    json: bool,
}

/// All that was found.
#[derive(Serialize)]
struct Report<'a> {
    failures: usize,
    warnings: usize,
    findings: &'a [Finding],
}

impl Doctor {
    /// The exit code counts the failures, up to 63: 64 and 78 mean something else.
    pub fn run(&self) -> ExitCode {
        // Before the first secret is read. Whether it helps does not matter: all of it is over in seconds.
        let _ = core_dumps::forbid();
        let config = match Config::load(&self.config) {
            Ok(config) => config,
            Err(mistakes) => return super::check::report(&mistakes),
        };
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let looked = Subject::new(config.server, Clock::system())
            .map_err(|error| error.to_string())
            .and_then(|subject| runtime.map(|runtime| (runtime, subject)).map_err(|error| error.to_string()))
            .and_then(|(runtime, subject)| {
                let written = runtime.block_on(self.look(subject));
                // A look-up of a name may still be under way, and cannot be stopped.
                runtime.shutdown_background();
                written.map_err(|error| error.to_string())
            });
        match looked {
            Ok(failures) => ExitCode::from(u8::try_from(failures.min(FAILURES_AT_MOST)).unwrap_or(FAILED)),
            Err(words) => {
                eprintln!("sallyport doctor: {words}");
                ExitCode::from(FAILED)
            }
        }
    }

    /// Everything at once; shown in the order of the areas, each as soon as those before it are.
    async fn look(&self, subject: Subject) -> io::Result<usize> {
        let areas = doctor::areas(subject);
        let progress = Progress::start(areas.iter().map(|area| area.name));
        let looking = areas.into_iter().enumerate().map(|(index, area)| {
            let part = progress.part(index);
            tokio::spawn(async move {
                let findings = area.findings.await;
                part.has_come();
                findings
            })
        });
        let mut all = Vec::new();
        for look in looking.collect::<Vec<_>>() {
            let findings = look.await.map_err(io::Error::other)?;
            if !self.json {
                progress.aside(|| {
                    findings.iter().try_for_each(|finding| io::stdout().write_all(line(finding).as_bytes()))
                })?;
            }
            all.extend(findings);
        }
        drop(progress);
        let count = |level| all.iter().filter(|finding| finding.level == level).count();
        let (failures, warnings) = (count(Level::Fail), count(Level::Warn));
        let last = match self.json {
            true => serde_json::to_string_pretty(&Report { failures, warnings, findings: &all })?,
            false => format!("{} ok, {warnings} warn, {failures} fail", count(Level::Ok)),
        };
        writeln!(io::stdout(), "{last}")?;
        Ok(failures)
    }
}

fn line(finding: &Finding) -> String {
    let Finding { check, level, says, fix } = finding;
    let mut text = format!("{:<5} {check:<22} {says}\n", level.word());
    if let Some(fix) = fix {
        text += &format!("{:<28} fix: {fix}\n", "");
    }
    text
}

const FAILURES_AT_MOST: usize = 63;
