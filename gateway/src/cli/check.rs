//! `sallyport check`: every mistake of a configuration, or what it amounts to.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::FAILED;
use crate::config::{Config, Mistakes};

#[derive(Args)]
pub struct Check {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Check {
    /// Contacts nobody; opens every file that the configuration names.
    pub fn run(&self) -> ExitCode {
        let config = match Config::load(&self.config) {
            Ok(config) => config,
            Err(mistakes) => return report(&mistakes),
        };
        match writeln!(io::stdout(), "{}: OK\n\n{}", self.config.display(), config.effective) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        }
    }
}

/// Says every mistake on standard error, for whichever command met them.
pub fn report(mistakes: &Mistakes) -> ExitCode {
    let count = mistakes.found.len();
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    eprint!("{mistakes}");
    eprintln!("{count} {noun} in the configuration");
    ExitCode::from(MISCONFIGURED)
}

/// Bad configuration, as in sysexits.h.
const MISCONFIGURED: u8 = 78;
