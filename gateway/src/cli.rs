//! Commands, help and exit codes.

mod audit;
mod check;
mod config;
#[cfg(feature = "dev")]
mod dev;
mod doctor;
mod healthcheck;
mod keys;
mod pages;
mod progress;
mod serve;
mod sessions;
mod signal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::log;

/// Failed to start or run.
const FAILED: u8 = 1;
/// Bad usage, as in sysexits.h.
const USAGE: u8 = 64;

/// A secure edge for MCP servers behind Microsoft Entra ID.
#[derive(Parser)]
#[command(name = "sallyport", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try it: everything embedded, on loopback, without configuration, Redis or Azure.
    #[cfg(feature = "dev")]
    Dev(dev::Dev),
    /// Serve by a configuration file.
    Serve(serve::Serve),
    /// Say every mistake of a configuration file, or what it amounts to.
    Check(check::Check),
    /// Ask everything that the edge depends on, and say what is wrong and what mends it.
    Doctor(doctor::Doctor),
    /// Say what can be configured.
    Config(config::Config),
    /// Make, show and change key rings.
    Keys(keys::Keys),
    /// Show who is signed in, and end sessions.
    Sessions(sessions::Sessions),
    /// Prove the audit log, and find somebody in it.
    Audit(audit::Audit),
    /// Ask the edge on this machine whether it lives; for containers.
    Healthcheck(healthcheck::Healthcheck),
    /// Print what completes commands in a shell.
    Completions(pages::Completions),
    /// Print the manual page, or write those of all commands.
    Man(pages::Manual),
}

/// Runs the command that `arguments` name. Exit codes: 0 done, 1 failed, 64 bad usage, 78 bad configuration.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no mistake. A closed pipe changes nothing.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(USAGE),
            };
        }
    };
    install_crypto_provider();
    let code = match cli.command {
        #[cfg(feature = "dev")]
        Command::Dev(dev) => dev.run(),
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Keys(keys) => keys.run(),
        Command::Sessions(sessions) => sessions.run(),
        Command::Audit(audit) => audit.run(),
        Command::Config(config) => config.run(),
        Command::Healthcheck(healthcheck) => healthcheck.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(manual) => manual.run(),
    };
    log::flush();
    code
}

/// Installs the TLS provider of the whole process. Several crates of ours could bring their own, and rustls refuses to guess.
fn install_crypto_provider() {
    // An error means that one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
