//! `sallyport-mcp-server`: arguments, logs, configuration, run; exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use sallyport_mcp_server::{Settings, config, start};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The sample MCP server behind Sallyport: Microsoft Graph on behalf of the signed-in user.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    Serve {
        #[arg(long)]
        config: PathBuf,
        /// How log lines look on standard error; RUST_LOG chooses which.
        #[arg(long, value_enum, default_value = "json")]
        log_format: LogFormat,
    },
    /// Check a configuration file and say every mistake in it.
    Check {
        #[arg(long)]
        config: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come here too, and are no mistake.
            let code = if error.use_stderr() { BAD_USAGE } else { 0 };
            return error.print().map_or(ExitCode::FAILURE, |()| code.into());
        }
    };
    let (file, log_format) = match &arguments.command {
        Command::Serve { config, log_format } => (config, Some(*log_format)),
        Command::Check { config } => (config, None),
    };
    let settings = match config::load(file) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return BAD_CONFIGURATION.into();
        }
    };
    let Some(log_format) = log_format else {
        eprintln!("{}: good", file.display());
        return ExitCode::SUCCESS;
    };
    log_to_stderr(log_format);
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> anyhow::Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut running = start(settings).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            error = running.failed() => return Err(error),
        }
        tracing::info!("stopping");
        running.stop().await;
        Ok(())
    })
}

fn log_to_stderr(format: LogFormat) {
    // rmcp tells too much about messages below `warn`.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rmcp=warn"));
    // What cannot be written would be told to standard error too, by a macro that panics: a full disk would stop the server.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.init(),
    }
}

/// sysexits.h: EX_USAGE and EX_CONFIG.
const BAD_USAGE: u8 = 64;
const BAD_CONFIGURATION: u8 = 78;
