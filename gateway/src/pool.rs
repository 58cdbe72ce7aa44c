//! Upstream groups: servers, their health, and which one gets a request.
//!
//! MCP servers keep sessions in memory: what belongs to one goes to the server that its sealed name says (`affinity`).
//! Everything else goes by a consistent hash of the user's session, so that every replica of the edge picks the same server.

mod affinity;
mod health;
mod server;
mod sse;
mod tls;

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue, Uri};
use pingora::lb::selection::Consistent;
use pingora::lb::{Backend, LoadBalancer};
use pingora::prelude::HttpPeer;
use url::Url;

pub use affinity::{McpSession, Name};
pub use sse::{EndpointRewriter, SseError};
pub use tls::Tls;

use crate::sealed::Index;
use health::Checks;
use server::{Members, Server, bare};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below the keep-alive of common servers: a POST on a connection that the server just closed is not retried.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// Per write: a dead upstream must not hold a request for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many servers are looked at before the group counts as down.
const CANDIDATES: usize = 64;

/// One group of interchangeable servers.
#[derive(Clone)]
pub struct Settings {
    pub name: String,
    /// Origins, `http://host:port` or `https://host`.
    pub servers: Vec<Url>,
    /// Of the servers with `https`.
    pub tls: Tls,
    /// The path of Streamable HTTP on the servers.
    pub endpoint: String,
    /// The path of the legacy event stream on the servers.
    pub sse_endpoint: String,
    pub health: Option<HealthSettings>,
    /// Fixed headers of the hop, such as a function key. Their values are secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Clone, Debug)]
pub struct HealthSettings {
    pub path: String,
    pub interval: Duration,
}

/// Why a group cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("upstream {name}: {server} is not an http or https origin")]
    NotAServer { name: String, server: Url },
    #[error("upstream {name}: cannot resolve {server}: {cause}")]
    Unresolved { name: String, server: Url, cause: std::io::Error },
    #[error("upstream {name}: the health path is not a path")]
    HealthPath { name: String },
}

/// A group at work.
pub struct Pool {
    settings: Arc<Settings>,
    balancer: Arc<LoadBalancer<Consistent>>,
    members: Members,
}

/// A server that was picked.
#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    server: Server,
    settings: Arc<Settings>,
}

impl Settings {
    /// One server, the usual endpoints, no health checks.
    ///
    /// # Panics
    /// When `server` is not a URL.
    pub fn single(name: &str, server: &str) -> Self {
        Self {
            name: name.to_owned(),
            servers: vec![Url::parse(server).expect("the server is a URL")],
            tls: Tls::default(),
            endpoint: "/mcp".to_owned(),
            sse_endpoint: "/sse".to_owned(),
            health: None,
            headers: Vec::new(),
        }
    }
}

impl Pool {
    /// Resolves the servers' names, once: this blocks, and belongs to starting up.
    pub fn new(settings: Settings) -> Result<Self, PoolError> {
        let mut servers = Vec::new();
        let mut members = HashMap::new();
        for (index, url) in settings.servers.iter().enumerate() {
            let server = Server::parse(index, url).ok_or_else(|| not_a_server(&settings, url))?;
            for address in resolve(url).map_err(|cause| unresolved(&settings, url, cause))? {
                members.entry(address).or_insert_with(|| server.clone());
            }
            servers.push(server);
        }
        let mut balancer =
            LoadBalancer::<Consistent>::try_from_iter(members.keys().copied()).expect("addresses need no resolving");
        let members: Members = Arc::new(ArcSwap::from_pointee(members));
        if let Some(health) = &settings.health {
            let path: Uri = health.path.parse().map_err(|_| PoolError::HealthPath { name: settings.name.clone() })?;
            balancer.set_health_check(Box::new(Checks::new(&settings, &servers, members.clone(), &path)));
            balancer.health_check_frequency = Some(health.interval);
            balancer.parallel_health_check = true;
        }
        Ok(Self { settings: Arc::new(settings), balancer: Arc::new(balancer), members })
    }

    /// What runs the health checks in the background.
    pub fn balancer(&self) -> Arc<LoadBalancer<Consistent>> {
        self.balancer.clone()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The well server that this session belongs to, or the next one; `None` when all are down.
    pub fn pick(&self, session: Index) -> Option<Peer> {
        let backend = self.balancer.select(&session.0, CANDIDATES)?;
        self.peer(*backend.addr.as_inet()?)
    }

    /// Another well server than the one at `failed`, by the same hash; `None` when there is none.
    pub fn pick_other(&self, session: Index, failed: SocketAddr) -> Option<Peer> {
        let other = |backend: &Backend, well| well && backend.addr.as_inet() != Some(&failed);
        let backend = self.balancer.select_with(&session.0, CANDIDATES, other)?;
        self.peer(*backend.addr.as_inet()?)
    }

    /// One particular server, well or not: what only it can answer must not be asked elsewhere.
    pub fn peer(&self, address: SocketAddr) -> Option<Peer> {
        let server = self.members.load().get(&address)?.clone();
        Some(Peer { address, server, settings: self.settings.clone() })
    }
}

impl Peer {
    /// What the upstream's `Host` should be.
    pub fn authority(&self) -> &HeaderValue {
        &self.server.authority
    }

    /// The URL of `path` on this server.
    pub fn url(&self, path: &str) -> Option<Url> {
        let scheme = if self.server.tls { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{}{path}", self.server.authority.to_str().ok()?)).ok()
    }

    pub fn to_http_peer(&self) -> HttpPeer {
        self.server.to_http_peer(self.address, &self.settings)
    }
}

fn resolve(url: &Url) -> std::io::Result<Vec<SocketAddr>> {
    let port = url.port_or_known_default().unwrap_or(80);
    let host = bare(url.host_str().unwrap_or_default());
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    // One server is one backend even when its name has an address of each family.
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.map(|address| vec![*address]).ok_or_else(|| std::io::Error::other("the name has no address"))
}

fn not_a_server(settings: &Settings, server: &Url) -> PoolError {
    PoolError::NotAServer { name: settings.name.clone(), server: server.clone() }
}

fn unresolved(settings: &Settings, server: &Url, cause: std::io::Error) -> PoolError {
    PoolError::Unresolved { name: settings.name.clone(), server: server.clone(), cause }
}

#[cfg(test)]
mod tests {
    use pingora::upstreams::peer::Peer as _;

    use super::*;

    #[test]
    fn a_session_stays_on_its_server_and_sessions_spread() {
        let mut settings = Settings::single("x", "http://127.0.0.1:1");
        settings.servers.push(Url::parse("http://127.0.0.1:2").unwrap());
        let pool = Pool::new(settings).unwrap();
        let picks: Vec<_> = (0..40u8).map(|n| pool.pick(Index([n; 32])).unwrap().address).collect();
        let again: Vec<_> = (0..40u8).map(|n| pool.pick(Index([n; 32])).unwrap().address).collect();
        assert_eq!(picks, again);
        assert!(picks.iter().any(|address| *address != picks[0]));
        for (n, picked) in (0..40u8).zip(&picks) {
            assert_ne!(pool.pick_other(Index([n; 32]), *picked).unwrap().address, *picked);
        }
        let single = Pool::new(Settings::single("x", "http://127.0.0.1:1")).unwrap();
        assert!(single.pick_other(Index([0; 32]), "127.0.0.1:1".parse().unwrap()).is_none());
    }

    #[test]
    fn every_timeout_is_set() {
        let pool = Pool::new(Settings::single("x", "http://127.0.0.1:1")).unwrap();
        let peer = pool.peer("127.0.0.1:1".parse().unwrap()).unwrap().to_http_peer();
        let options = peer.get_peer_options().unwrap();
        assert!(
            options.connection_timeout.is_some() && options.write_timeout.is_some() && options.idle_timeout.is_some()
        );
    }

    #[test]
    fn only_http_origins_are_servers() {
        let pool = Pool::new(Settings::single("x", "ftp://127.0.0.1:1"));
        assert!(matches!(pool, Err(PoolError::NotAServer { .. })));
    }
}
