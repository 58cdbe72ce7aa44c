//! Where a report goes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::report::{self, Report};

#[derive(Args)]
pub struct Output {
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// Write it as Markdown; standard output has it in any case.
    #[arg(long, value_name = "FILE", global = true)]
    markdown: Option<PathBuf>,
    /// Draw its latencies as SVG, unless it is void.
    #[arg(long, value_name = "FILE", global = true)]
    plot: Option<PathBuf>,
}

impl Output {
    /// # Errors
    /// When a file cannot be written.
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    pub fn write(&self, report: &Report) -> anyhow::Result<()> {
        print!("{report}");
        if let Some(path) = &self.json {
            write(path, &serde_json::to_string_pretty(report)?)?;
        }
        if let Some(path) = &self.markdown {
            write(path, &report.to_string())?;
        }
        if let Some(path) = &self.plot
            && let Some(svg) = report::draw(report)?
        {
            write(path, &svg)?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
