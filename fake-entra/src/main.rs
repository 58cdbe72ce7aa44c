//! The stand-in as a program: prints its URLs as JSON, stays until SIGINT or SIGTERM.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use fake_entra::files::replace;
use fake_entra::{FakeEntra, Options, Seed};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Entra ID, Microsoft Graph, IMDS and a cluster's token issuer. It listens on 127.0.0.1 only and proves
/// nobody's identity.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port of the stand-in; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the control listener; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Also write the URLs, the control token and the App Service identity header to this file (mode 0600). Without it
    /// they are printed.
    #[arg(long)]
    state_file: Option<PathBuf>,
    /// A directory (JSON, or TOML by its name) to use instead of the built-in one; parts it leaves out are built in.
    #[arg(long)]
    seed: Option<PathBuf>,
    /// Print the built-in directory as TOML, to start a seed from.
    #[arg(long)]
    print_seed: bool,
    /// Keep the signing keys in this folder, so that tokens and key documents outlive a restart (file of mode 0600).
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Serve TLS, as Microsoft's SDKs demand, and write the certificate that clients have to trust to this file (PEM).
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Keep a service-account token of the cluster in this file, as a kubelet does: replaced by rename before it expires.
    #[arg(long, value_name = "FILE", requires = "service_account")]
    service_account_token: Option<PathBuf>,
    /// Whose token that is, such as system:serviceaccount:sallyport:sallyport.
    #[arg(long, value_name = "SUBJECT", requires = "service_account_token")]
    service_account: Option<String>,
    /// Seconds between two tokens of --service-account-token.
    #[arg(long, value_name = "SECONDS", default_value_t = 2880, value_parser = clap::value_parser!(u64).range(1..))]
    service_account_renewal: u64,
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
    let mut out = std::io::stdout();
    if arguments.print_seed {
        write!(out, "{}", toml::to_string_pretty(&Seed::default())?)?;
        return Ok(());
    }
    let seed = arguments.seed.as_deref().map_or_else(|| Ok(Seed::default()), read_seed)?;
    let entra = FakeEntra::start(Options {
        port: arguments.port,
        control_port: arguments.control_port,
        seen_at: None,
        tls: arguments.tls_ca.is_some(),
        seed,
        state_dir: arguments.state_dir,
    })
    .await?;
    if let (Some(file), Some(certificate)) = (&arguments.tls_ca, entra.authority_certificate()) {
        replace(file, 0o644, certificate.as_bytes())?;
    }
    let mut shown = summary(&entra);
    let mut whole = shown.clone();
    whole["control_token"] = json!(entra.control_token());
    whole["identity_header"] = json!(entra.identity_header());
    match &arguments.state_file {
        Some(file) => replace(file, 0o600, serde_json::to_string_pretty(&whole)?.as_bytes())?,
        None => shown = whole,
    }
    let workload = arguments.service_account_token.as_deref().zip(arguments.service_account.as_deref());
    if let Some((file, subject)) = workload {
        replace(file, 0o600, entra.mint_service_account_token(subject).as_bytes())?;
    }
    writeln!(out, "{}", serde_json::to_string(&shown)?)?;
    out.flush()?;
    eprintln!("fake-entra proves nobody's identity: for development and tests only");
    let renewal = Duration::from_secs(arguments.service_account_renewal);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            () = tokio::time::sleep(renewal), if workload.is_some() => {
                if let Some((file, subject)) = workload {
                    replace(file, 0o600, entra.mint_service_account_token(subject).as_bytes())?;
                }
            }
        }
    }
}

fn summary(entra: &FakeEntra) -> Value {
    json!({
        "authority": entra.authority(), "graph_url": entra.graph_url(), "imds_url": entra.imds_url(),
        "identity_endpoint": entra.identity_endpoint(),
        "cluster_issuer": entra.cluster_issuer(), "control_url": entra.control_url(), "tenant_id": entra.tenant_id(),
        "gateway_client_id": entra.gateway_client_id(), "server_client_id": entra.server_client_id(),
        "gateway_identity": entra.gateway_identity(), "server_identity": entra.server_identity(),
        "scope": entra.scope(), "users": entra.users(),
    })
}

fn read_seed(file: &Path) -> Result<Seed> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let seed = match file.extension() {
        Some(extension) if extension == "toml" => toml::from_str(&text).map_err(anyhow::Error::from),
        _ => serde_json::from_str(&text).map_err(anyhow::Error::from),
    };
    seed.with_context(|| format!("{} is not a directory", file.display()))
}
