//! The commands. Most make a report, which [`output`] writes; whether it says anything is the exit code.

mod attack;
mod bench;
mod bounds;
mod calls;
mod output;
mod sign_in;
mod storm;
mod streams;
mod train;
mod upstream;
mod watch;
mod who;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use output::Measured;

/// Puts load on an edge at this machine's loopback, and says what it cost; or attacks one. A run with failures, or whose
/// rate was not kept, is void: it ends with 1 and has no latencies.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Arguments {
    /// Threads that send. One core's worth is enough for an edge of one core.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), global = true)]
    threads: u16,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Requests at a fixed rate, whatever the target does.
    Open(Measured<calls::Open>),
    /// As many requests as a number of callers can get answered.
    Closed(Measured<calls::Closed>),
    /// Tokens at a fixed rate: good, forged, or expired ones.
    Storm(Measured<storm::Storm>),
    /// Event streams, held open.
    Streams(Measured<streams::Streams>),
    /// Signs in again and again at the stand-in for Entra, and keeps the sessions in a file.
    SignIn(Measured<sign_in::SignIn>),
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
    let Arguments { threads, command } = arguments;
    runtime(threads)?.block_on(async {
        match command {
            Command::Open(open) => open.run(threads, calls::Open::run).await,
            Command::Closed(closed) => closed.run(threads, calls::Closed::run).await,
            Command::Storm(storm) => storm.run(threads, storm::Storm::run).await,
            Command::Streams(streams) => streams.run(threads, streams::Streams::run).await,
            Command::SignIn(sign_in) => sign_in.run(threads, sign_in::SignIn::run).await,
            Command::Attack(attack) => attack.run().await,
            Command::Bench(bench) => bench.run().await,
            Command::Train(train) => train.run().await.map(|()| true),
            Command::Upstream(upstream) => upstream.run().await.map(|()| true),
        }
    })
}

fn runtime(threads: u16) -> std::io::Result<Runtime> {
    match threads {
        // Without the work of waking other threads.
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads.into()).enable_all().build(),
    }
}
