//! The sample MCP server behind Sallyport: one tool, `get_graph_user_details`, which answers with the signed-in user's
//! details from Microsoft Graph, fetched on behalf of that user.
//!
//! A request's journey: `hop` sees that it comes from the gateway, where a secret is set; [`auth`] verifies the Entra token that the edge put into its `Authorization` header, before any
//! MCP is read; `transport` speaks Streamable HTTP (both protocol eras) and legacy HTTP+SSE; `tools` run for the user
//! of the very request that called them; [`graph`] fetches; `step_up` says what a caller's token lacks. [`config`] turns a file into [`Settings`]; the rest never
//! sees the file.

pub mod auth;
pub mod clock;
pub mod config;
pub mod graph;
mod hop;
mod step_up;
mod tools;
mod transport;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use entra::{Authority, Client, Credential, Exchange};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use auth::Door;
use clock::Clock;
use graph::{Graph, GraphUrl};
use hop::HopSecrets;
use tools::Tools;

/// What a server is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port 0 takes a free one; [`Running::address`] says which.
    pub listen: SocketAddr,
    /// Client ids of the apps whose users are let in: the gateway's.
    pub allowed_callers: Vec<String>,
    /// Holds the secret by which the gateway is known, in the header `x-hop-secret`. `None`: whoever has a token may call.
    pub hop_secret_file: Option<PathBuf>,
    pub graph_url: GraphUrl,
    /// Asked for on behalf of the user; all of one resource.
    pub graph_scopes: Vec<String>,
    pub authority: Authority,
    /// The server's own app registration: what tokens are for, and who asks on behalf of users. A GUID in lower case.
    pub client_id: String,
    /// PEM; one more root of trust for the authority and Graph.
    pub extra_ca_file: Option<PathBuf>,
    pub credential: Credential,
    /// Say to Entra that claims challenges are understood (`cp1`).
    pub cae: bool,
    /// Accept the emulator's tokens. For development, with a loopback authority only; no configuration file sets it.
    pub accept_emulator: bool,
    pub clock: Clock,
}

/// A server that accepts connections. Dropping it stops it at once; [`Running::stop`] lets calls finish.
pub struct Running {
    address: SocketAddr,
    /// No more connections.
    closing: CancellationToken,
    /// No more streams and sessions.
    stopping: CancellationToken,
    tools: Tools,
    serving: JoinHandle<std::io::Result<()>>,
}

/// Binds and serves on the current runtime. The process needs a `rustls` provider installed.
///
/// # Errors
/// When the address is taken, or the settings contradict each other. Entra and Graph are not asked yet: a server that
/// starts while they are down serves as soon as they are up.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let policy = entra::AccessTokenPolicy {
        audiences: vec![settings.client_id.clone(), format!("api://{}", settings.client_id)],
        allowed_callers: settings.allowed_callers,
        required_scope: Some(REQUIRED_SCOPE.to_owned()),
    };
    let hop = settings.hop_secret_file.as_deref().map(HopSecrets::read).transpose()?;
    let graph = Graph::new(settings.graph_url, settings.extra_ca_file.as_deref())?;
    let registration = entra::Settings {
        authority: settings.authority,
        client_id: settings.client_id,
        extra_ca_file: settings.extra_ca_file,
        cae: settings.cae,
        accept_emulator: settings.accept_emulator,
    };
    let clock = settings.clock.clone();
    let credential = settings.credential.source(&registration, Arc::new(move || clock.now()))?;
    let client = Arc::new(Client::new(registration, credential)?);
    let door = Arc::new(Door::new(Arc::clone(&client), policy, settings.clock.clone()));
    let exchange = Exchange::new(client, settings.graph_scopes.join(" "), EXCHANGES_KEPT);
    let tools = Tools::new(exchange, graph, settings.clock);

    let (closing, stopping) = (CancellationToken::new(), CancellationToken::new());
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr()?;
    // An answer is several small writes: with Nagle's algorithm the second one would wait 40 ms for an acknowledgement.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let router = transport::router(door, tools.clone(), &stopping);
    let router = match hop {
        Some(secrets) => hop::behind(router, secrets),
        None => router,
    };
    let until = closing.clone();
    let serving =
        tokio::spawn(
            async move { axum::serve(listener, router).with_graceful_shutdown(until.cancelled_owned()).await },
        );
    tracing::info!(%address, "listening");
    Ok(Running { address, closing, stopping, tools, serving })
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, waits for calls under way, for ten seconds at most, then ends the streams.
    pub async fn stop(mut self) {
        self.closing.cancel();
        if tokio::time::timeout(DRAIN, self.tools.idle()).await.is_err() {
            tracing::warn!("some calls did not end in time and are cut");
        }
        // The last answers are on their way from the tool to the socket.
        tokio::time::sleep(FLUSH).await;
        self.stopping.cancel();
        if tokio::time::timeout(DRAIN, &mut self.serving).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
        }
    }

    /// Ends only when serving fails.
    pub async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.serving).await {
            Ok(Ok(())) => anyhow::anyhow!("the listener ended"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.closing.cancel();
        self.stopping.cancel();
        self.serving.abort();
    }
}

/// The scope that the server's registration exposes and the gateway asks for.
const REQUIRED_SCOPE: &str = "access_as_user";
/// About 5 KiB each.
const EXCHANGES_KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
const DRAIN: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_millis(200);
