//! Where a report goes. What cannot be written there is known before anything is measured, as far as it can be.

use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, bail};
use clap::Args;
use rustix::fs::{Access, access};
use serde::Serialize;

use crate::report::{self, Report};

/// A command that makes a report, and where that goes.
#[derive(Args)]
pub struct Measured<C: Args> {
    #[command(flatten)]
    command: C,
    #[command(flatten)]
    tables: Tables,
    /// Draw its latencies as SVG. A void run has none, and takes the picture of an earlier one away.
    #[arg(long, value_name = "FILE.svg", value_parser = picture)]
    plot: Option<PathBuf>,
}

/// The forms that every report has.
#[derive(Args)]
pub struct Tables {
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE", value_parser = writable)]
    json: Option<PathBuf>,
    /// Write it as Markdown; standard output has it in any case.
    #[arg(long, value_name = "FILE", value_parser = writable)]
    markdown: Option<PathBuf>,
}

impl<C: Args> Measured<C> {
    /// Whether the run says anything. `threads`: of the runtime.
    ///
    /// # Errors
    /// When the run cannot begin, or a file cannot be written; then the others are.
    pub async fn run(
        self,
        threads: u16,
        measure: impl AsyncFnOnce(C) -> anyhow::Result<Report>,
    ) -> anyhow::Result<bool> {
        let mut report = measure(self.command).await?;
        report.settings.add("threads", threads);
        let told = self.tables.write(&report);
        let drawn = self.plot.as_deref().map_or(Ok(()), |path| draw(path, &report));
        all([told, drawn])?;
        Ok(report.is_valid())
    }
}

impl Tables {
    /// Files of one name, each with the ending of its form.
    pub fn named(name: Option<&Path>) -> Self {
        Self { json: named(name, "json"), markdown: named(name, "md") }
    }

    /// # Errors
    /// When a file cannot be written; then the others are.
    pub fn write(&self, report: &(impl fmt::Display + Serialize)) -> anyhow::Result<()> {
        let text = report.to_string();
        let shown = stdout().write_all(text.as_bytes()).context("cannot write to standard output");
        let json = || write(self.json.as_deref(), &serde_json::to_string_pretty(report)?);
        all([shown, json(), write(self.markdown.as_deref(), &text)])
    }
}

fn draw(path: &Path, report: &Report) -> anyhow::Result<()> {
    if let Some(svg) = report::draw(report)? {
        return write(Some(path), &svg);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}, which is of an earlier run", path.display()))
        }
        _ => Ok(()),
    }
}

/// A name without an ending, and one.
pub fn named(name: Option<&Path>, form: &str) -> Option<PathBuf> {
    name.map(|name| PathBuf::from(format!("{}.{form}", name.display())))
}

/// # Errors
/// When there is a path, and nothing can be written there.
pub fn write(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Every error in one.
///
/// # Errors
/// When there is one.
pub fn all<const N: usize>(results: [anyhow::Result<()>; N]) -> anyhow::Result<()> {
    let errors: Vec<_> = results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if errors.is_empty() { Ok(()) } else { bail!("{}", errors.join("; ")) }
}

/// A path to be written to when the run is over, looked at before it.
///
/// # Errors
/// When it cannot be.
pub fn writable(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err("that is no file".to_owned()),
    };
    if path.is_dir() {
        return Err("that is a folder".to_owned());
    }
    if !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    let place = if path.exists() { &path } else { folder };
    access(place, Access::WRITE_OK).map_err(|error| format!("{}: {error}", place.display()))?;
    Ok(path)
}

fn picture(text: &str) -> Result<PathBuf, String> {
    if !text.ends_with(".svg") {
        return Err("the picture is SVG: a name that ends in .svg".to_owned());
    }
    writable(text)
}
