//! `loadtest`: repeats one MCP call through the edge and says how long the answers took.
//!
//! A closed loop: each of a fixed number of callers sends its next request when the last one is answered. That finds what
//! a build can do; it does not find how a service feels at a given rate.

#![expect(clippy::print_stdout, reason = "the report is what the program is for")]

mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use reqwest::{Client, Url};

use report::Report;

/// Repeats `tools/list` through the edge and reports the latencies.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Arguments {
    /// The MCP URL.
    #[arg(long, value_name = "URL")]
    url: Url,
    /// A file that holds an access token of the edge: never on the command line, where others can read it.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// How many requests in all.
    #[arg(long, default_value_t = 1000)]
    requests: u64,
    /// How many callers at once.
    #[arg(long, default_value_t = 8)]
    callers: u64,
    /// Stop after this many seconds, whatever is left.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// The 2026-07-28 revision needs no session: each request stands alone.
const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"loadtest","version":"0.1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(report) => {
            println!("{report}");
            if report.is_valid() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<Report> {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let token = std::fs::read_to_string(&arguments.token_file)
        .with_context(|| format!("cannot read {}", arguments.token_file.display()))?;
    if !is_loopback(&arguments.url) {
        bail!(
            "only a loopback address: load on anything else needs its owner's word, which this program cannot ask for"
        );
    }
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
    let sent = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let deadline = started + Duration::from_secs(arguments.seconds);
    let callers: Vec<_> = (0..arguments.callers)
        .map(|_| {
            let (client, sent) = (client.clone(), sent.clone());
            let (url, token, limit) = (arguments.url.clone(), token.trim().to_owned(), arguments.requests);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while Instant::now() < deadline && sent.fetch_add(1, Ordering::Relaxed) < limit {
                    answers.push(call(&client, &url, &token).await);
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.extend(caller.await?);
    }
    Ok(Report::new(answers, started.elapsed()))
}

/// How long one call took, if it was answered with 200.
async fn call(client: &Client, url: &Url, token: &str) -> Result<Duration, String> {
    let started = Instant::now();
    let answer = client
        .post(url.clone())
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/list")
        .timeout(Duration::from_secs(10))
        .body(BODY)
        .send()
        .await
        .map_err(|error| if error.is_timeout() { "timed out".to_owned() } else { "no connection".to_owned() })?;
    let status = answer.status();
    answer.bytes().await.map_err(|_| "the answer broke off".to_owned())?;
    if status == 200 { Ok(started.elapsed()) } else { Err(format!("status {status}")) }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}
