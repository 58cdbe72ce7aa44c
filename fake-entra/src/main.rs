//! The stand-in as a program: prints its URLs as JSON, stays until SIGINT or SIGTERM.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use fake_entra::{FakeEntra, Options, Seed};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Entra ID, Microsoft Graph, IMDS and a cluster's token issuer. It listens on 127.0.0.1 only.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port of the stand-in; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the control listener; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Also write the URLs and the control token to this file (mode 0600). Without it the token is printed.
    #[arg(long)]
    state_file: Option<PathBuf>,
    /// A directory to use instead of the built-in one (JSON).
    #[arg(long)]
    seed: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("fake-entra: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    // Before anything is printed: whoever read the URLs may send a signal at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let seed = arguments.seed.as_deref().map_or_else(|| Ok(Seed::default()), read_seed)?;
    let entra = FakeEntra::start(Options { port: arguments.port, control_port: arguments.control_port, seed }).await?;
    let mut shown = summary(&entra);
    match &arguments.state_file {
        Some(file) => {
            let mut state = shown.clone();
            state["control_token"] = json!(entra.control_token());
            write_private(file, &state).with_context(|| format!("cannot write {}", file.display()))?;
        }
        None => shown["control_token"] = json!(entra.control_token()),
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(&shown)?)?;
    out.flush()?;
    eprintln!("fake-entra proves nobody's identity: for development and tests only");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn summary(entra: &FakeEntra) -> Value {
    json!({
        "authority": entra.authority(), "graph_url": entra.graph_url(), "imds_url": entra.imds_url(),
        "cluster_issuer": entra.cluster_issuer(), "control_url": entra.control_url(), "tenant_id": entra.tenant_id(),
        "gateway_client_id": entra.gateway_client_id(), "server_client_id": entra.server_client_id(),
        "gateway_identity": entra.gateway_identity(), "server_identity": entra.server_identity(),
        "scope": entra.scope(), "users": entra.users(),
    })
}

fn read_seed(file: &Path) -> Result<Seed> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not a directory", file.display()))
}

/// Written beside and renamed, so that a reader never sees half of it; readable by its owner only.
fn write_private(file: &Path, state: &Value) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut open = std::fs::OpenOptions::new();
    let mut written = open.write(true).create_new(true).mode(0o600).open(&beside)?;
    written.write_all(serde_json::to_string_pretty(state)?.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&beside, file)?;
    Ok(())
}
