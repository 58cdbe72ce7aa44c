//! The commands. Each makes a [`Report`]; here it is shown, written where it was asked for, and turned into an exit code.

mod attack;
mod bench;
mod calls;
mod output;
mod sign_in;
mod storm;
mod streams;
mod train;
mod upstream;
mod watch;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::report::Report;
use output::Output;

/// Puts load on an edge at this machine's loopback, and says what it cost; or attacks one. A run with failures, or whose
/// rate was not kept, is void: it ends with 1 and has no latencies.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Arguments {
    /// Threads that send. One core's worth is enough for an edge of one core.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), global = true)]
    threads: u16,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Requests at a fixed rate, whatever the target does.
    Open(calls::Open),
    /// As many requests as a number of callers can get answered.
    Closed(calls::Closed),
    /// Tokens at a fixed rate: good, forged, or expired ones.
    Storm(storm::Storm),
    /// Event streams, held open.
    Streams(streams::Streams),
    /// Signs in again and again at the stand-in for Entra, and keeps the sessions in a file.
    SignIn(sign_in::SignIn),
    /// Sallyport side by side with a bare Pingora and others.
    Bench(bench::SideBySide),
    /// The load of a release's profile.
    Train(train::Train),
    /// The abuse cases of OAuth and MCP, against any server, with a grade.
    Attack(attack::Attack),
    /// A stand-in for an MCP server, to be put behind an edge; serves until it is ended.
    Upstream(upstream::Serve),
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the run says anything.
fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let runtime = runtime(arguments.threads)?;
    let report: Report = match arguments.command {
        Command::Open(open) => runtime.block_on(open.run()),
        Command::Closed(closed) => runtime.block_on(closed.run()),
        Command::Storm(storm) => runtime.block_on(storm.run()),
        Command::Streams(streams) => runtime.block_on(streams.run()),
        Command::SignIn(sign_in) => runtime.block_on(sign_in.run()),
        Command::Attack(attack) => return runtime.block_on(attack.run(&arguments.output)),
        Command::Bench(bench) => return runtime.block_on(bench.run()),
        Command::Train(train) => return runtime.block_on(train.run()).map(|()| true),
        Command::Upstream(upstream) => return runtime.block_on(upstream.run()).map(|()| true),
    }?;
    arguments.output.write(&report)?;
    Ok(report.is_valid())
}

fn runtime(threads: u16) -> std::io::Result<Runtime> {
    match threads {
        // Without the work of waking other threads.
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads.into()).enable_all().build(),
    }
}
