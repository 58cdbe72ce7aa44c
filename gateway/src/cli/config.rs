//! `sallyport config`: what can be configured, from the very keys that the reader asks for.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{FAILED, USAGE};
use crate::config::{Catalogue, EXAMPLE};

#[derive(Args)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a JSON Schema of the configuration, for editors.
    Schema,
    /// Print a configuration with every key there is, its default and what it is for.
    Example,
    /// Say what one key is for, what it may be, and what it is without being set.
    Explain {
        /// Its path, such as `listen.trusted_proxies` or `upstream.name`.
        key: String,
    },
}

impl Config {
    pub fn run(&self) -> ExitCode {
        let said = match &self.command {
            Command::Schema => format!("{:#}\n", Catalogue::read().schema()),
            Command::Example => EXAMPLE.to_owned(),
            Command::Explain { key } => match Catalogue::read().explain(key) {
                Ok(said) => said,
                Err(words) => {
                    eprintln!("sallyport config: {words}");
                    return ExitCode::from(USAGE);
                }
            },
        };
        match io::stdout().write_all(said.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        }
    }
}
