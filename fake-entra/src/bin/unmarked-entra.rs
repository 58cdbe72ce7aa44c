//! The stand-in in Entra's own place, for programs as they are shipped, which refuse what the stand-in marks: its tokens are of
//! `--origin` and have no mark. It runs where that name leads to it, in a network namespace that has no way out
//! (deploy/kubernetes/tests/replicas), listens on 127.0.0.1 like the other, and is in no package and no image.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use fake_entra::{FakeEntra, Options, Seed};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Entra ID whose tokens say that they are Entra's. For tests in network namespaces only.
#[derive(Parser)]
struct Arguments {
    /// What it is to be taken for, such as https://login.microsoftonline.com.
    #[arg(long)]
    origin: String,
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The directory, in JSON.
    #[arg(long)]
    seed: PathBuf,
    /// Print a service-account token of the cluster for each of these, such as system:serviceaccount:sallyport:sallyport.
    #[arg(long, value_name = "SUBJECT")]
    service_account: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let text = std::fs::read_to_string(&arguments.seed).with_context(|| arguments.seed.display().to_string())?;
    let seed: Seed = serde_json::from_str(&text)?;
    let options = Options { port: arguments.port, seed, ..Options::default() };
    let entra = FakeEntra::start_unmarked(options, arguments.origin).await?;
    let tokens: Vec<_> = arguments.service_account.iter().map(|it| entra.mint_service_account_token(it)).collect();
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({ "service_account_tokens": tokens }))?;
    out.flush()?;
    terminate.recv().await;
    Ok(())
}
