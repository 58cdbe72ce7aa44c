//! Where a report goes.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use crate::attack;
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
    pub fn write(&self, report: &Report) -> anyhow::Result<()> {
        self.tell(report)?;
        if let Some(path) = &self.plot
            && let Some(svg) = report::draw(report)?
        {
            write(path, &svg)?;
        }
        Ok(())
    }

    /// A report without latencies.
    ///
    /// # Errors
    /// When a file cannot be written, or there is to be a drawing.
    pub fn write_table(&self, report: &attack::report::Report) -> anyhow::Result<()> {
        self.tell(report)?;
        ensure!(self.plot.is_none(), "an attack has no latencies to draw");
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    fn tell(&self, report: &(impl fmt::Display + Serialize)) -> anyhow::Result<()> {
        print!("{report}");
        if let Some(path) = &self.json {
            write(path, &serde_json::to_string_pretty(report)?)?;
        }
        if let Some(path) = &self.markdown {
            write(path, &report.to_string())?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
