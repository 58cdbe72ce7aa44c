//! `sallyport serve`: the edge by a configuration file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::FAILED;
use super::signal::{Hangup, Terminate};
use crate::clock::Clock;
use crate::config::{Config, Mistakes};
use crate::core_dumps;
use crate::log;
use crate::server::{Fresh, Inherited, Process, Server, Source};

#[derive(Args)]
pub struct Serve {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Serve {
    pub fn run(&self) -> ExitCode {
        // Before the first thread, for it changes the environment.
        let inherited = Inherited::from_environment();
        // Before the first secret is read.
        let hidden = core_dumps::forbid();
        let config = match Config::load(&self.config) {
            Ok(config) => config,
            Err(mistakes) => return super::check::report(&mistakes),
        };
        log::start(&config.log);
        if let Err(cause) = hidden {
            tracing::warn!(%cause, "the memory of this process can be dumped, with every token that passes through");
        }
        let started = config.effective.keys();
        match Server::build(config.server, Clock::system(), inherited, Process::Own) {
            Ok(server) => {
                server.reloading(Box::new(Hangup::default()), source(self.config.clone()), started).run(Terminate);
                ExitCode::SUCCESS
            }
            Err(error) => {
                tracing::error!(cause = %error, "cannot start");
                ExitCode::from(FAILED)
            }
        }
    }
}

/// The file as it is by then. The environment of a running process is what it was.
fn source(file: PathBuf) -> Source {
    let lines = |mistakes: Mistakes| mistakes.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
    Box::new(move || {
        let config = Config::load(&file).map_err(lines)?;
        let (live, keys) = (config.server.live(), config.effective.keys());
        Ok(Fresh { public_url: config.server.public_url, live, level: config.log.level, keys })
    })
}
