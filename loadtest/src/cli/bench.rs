//! `loadtest bench`: Sallyport side by side with others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::output::{Tables, all, named, writable, write};
use crate::bench::{Bench, Part, Sizes};

/// Starts everything on loopback, measures by turns, and leaves tables. It starts programs beside itself: build them in
/// release first, as `make bench` does. Whatever is void has no figures, and the run then ends with 1.
#[derive(Args)]
pub struct SideBySide {
    /// Two minutes instead of ten.
    #[arg(long)]
    quick: bool,
    /// A few seconds: only whether it works.
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,
    /// Measure this and nothing else. Can be repeated.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// The program of a release, which then serves. Without it the one beside this program does, which signs everybody in.
    #[arg(long, value_name = "PATH", value_parser = program)]
    sallyport: Option<PathBuf>,
    /// Another build to measure beside ours: of `sallyport`, or of `bare-pingora` if its file is named so. Can be repeated.
    #[arg(long = "program", value_name = "NAME=PATH", value_parser = other_build)]
    other_builds: Vec<(String, PathBuf)>,
    /// The folder of the programs that are from PyPI.
    #[arg(long, value_name = "FOLDER")]
    contestants: Option<PathBuf>,
    /// Where results go: NAME.json, NAME.md and, of the sweep, NAME.svg.
    #[arg(long, value_name = "FOLDER/NAME", value_parser = results_name)]
    out: Option<PathBuf>,
    /// Before all other programs of the machine, which is then not to be used meanwhile. Needs root.
    #[arg(long)]
    realtime: bool,
    /// End after so many minutes, whatever is left.
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
    limit: u64,
}

impl SideBySide {
    /// Whether all of it says something.
    ///
    /// # Errors
    /// When the run cannot begin, or its results cannot be written.
    pub async fn run(self) -> anyhow::Result<bool> {
        let programs = programs()?;
        let sizes = match (self.quick, self.smoke) {
            (true, _) => Sizes::QUICK,
            (_, true) => Sizes::SMOKE,
            _ => Sizes::FULL,
        };
        // Folders are this machine's own, and of no use to whoever reads the results.
        let shipped = self.sallyport.is_some();
        let flags = [
            (self.quick, " --quick"),
            (self.smoke, " --smoke"),
            (self.realtime, " --realtime"),
            (shipped, " --sallyport ..."),
        ];
        let only =
            self.only.iter().filter_map(|part| Some(format!(" --only {}", part.to_possible_value()?.get_name())));
        let others = self.other_builds.iter().map(|(name, _)| format!(" --program {name}=..."));
        let more: String = only.chain(others).collect();
        let flags: String = flags.iter().filter_map(|&(given, flag)| given.then_some(flag)).collect();
        let bench = Bench {
            programs,
            shipped: self.sallyport,
            contestants: self.contestants,
            command: format!("loadtest bench{flags}{more}"),
            sizes,
            only: self.only,
            other_builds: self.other_builds,
            limit: Duration::from_secs(self.limit * 60),
            pin: !self.smoke,
            realtime: self.realtime,
        };
        let results = bench.run().await?;
        let out = self.out.as_deref();
        let told = Tables::named(out).write(&results);
        let plot = || results.plot()?.map_or(Ok(()), |plot| write(named(out, "svg").as_deref(), &plot));
        all([told, plot()])?;
        Ok(results.is_valid())
    }
}

/// Where those are that were built with this one.
///
/// # Errors
/// When the system does not say where this one is.
pub fn programs() -> anyhow::Result<PathBuf> {
    std::env::current_exe()?.parent().map(Path::to_owned).context("this program is in a folder")
}

fn other_build(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (name, path) = text.split_once('=').ok_or("a name, an equals sign, and a path")?;
    Ok((name.to_owned(), program(path)?))
}

/// By its whole path, for it is started in a folder of the run's own.
///
/// # Errors
/// When there is no such file.
pub fn program(text: &str) -> Result<PathBuf, &'static str> {
    std::path::absolute(text).ok().filter(|path| path.is_file()).ok_or("there is no such program")
}

/// Each of what it will be written to.
fn results_name(text: &str) -> Result<PathBuf, String> {
    for form in ["json", "md", "svg"] {
        writable(&format!("{text}.{form}"))?;
    }
    Ok(PathBuf::from(text))
}
