//! The server whose tools, prompts and resources the official MCP conformance suite wants to see ("everything server"). The
//! client tests run the suite against it directly and through the edge: the verdicts must be the same.
//!
//! Whoever asks is answered, for the direct run has no token. So it listens on loopback only, and there is no option that
//! changes that. The feature `conformance` builds it; no other program has any of it.
//!
//! [`fixtures`] has what is fixed, [`everything`] speaks MCP, [`tools`] are those that do something, [`rounds`] those that
//! need something of the client first (SEP-2322), [`jobs`] those that go on as tasks (SEP-2663).

// Sampling, roots and logging: revisions that have them are still spoken, and rmcp marks them all.
#![expect(deprecated)]

mod everything;
mod fixtures;
mod jobs;
mod rounds;
mod tools;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use clap::Parser;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use everything::Everything;

/// The MCP conformance suite's fixtures at http://127.0.0.1:PORT/mcp, for everybody, without a token.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    port: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Arguments::parse().port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let stop = CancellationToken::new();
    let sessions = Arc::new(LocalSessionManager::default());
    let everything = Everything::new(Arc::clone(&sessions));
    // As it is by default: no `Host` but those of loopback, which the suite looks at.
    let config = StreamableHttpServerConfig::default().with_cancellation_token(stop.child_token());
    let service = StreamableHttpService::new(move || Ok(everything.clone()), sessions, config);

    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async move {
        terminate.recv().await;
        stop.cancel();
    };
    eprintln!("listening on {address}");
    axum::serve(listener, Router::new().route_service("/mcp", service)).with_graceful_shutdown(stopped).await?;
    Ok(())
}
