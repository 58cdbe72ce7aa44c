//! `sallyport keys`: key rings.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::FAILED;
use crate::clock::Clock;
use crate::sealed::{KeyRing, KeyRingError};

#[derive(Args)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key ring with one fresh key. A file that exists is left as it is.
    New {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

impl Keys {
    pub fn run(&self) -> ExitCode {
        match &self.command {
            Command::New { file } => new(file),
        }
    }
}

fn new(file: &Path) -> ExitCode {
    let said = KeyRing::create(file, Clock::system().now()).map_err(words).and_then(|key| {
        let (file, key) = (file.display(), key.get());
        writeln!(
            io::stdout(),
            "{file}: a key ring with key {key}, for your eyes only. What it seals opens with it alone."
        )
        .map_err(|error| error.to_string())
    });
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{}: {words}", file.display());
            ExitCode::from(FAILED)
        }
    }
}

fn words(error: KeyRingError) -> String {
    match error {
        KeyRingError::Unreadable(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            "is there already, and stays as it is: what it seals opens with it alone".to_owned()
        }
        KeyRingError::Unreadable(error) => format!("cannot be written: {error}"),
        error => error.to_string(),
    }
}
