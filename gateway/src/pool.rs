//! Upstream groups: servers, their health, and which one gets a request.
//!
//! MCP servers keep sessions in memory: what belongs to one goes to the server that its sealed name says (`affinity`).
//! Everything else goes by a consistent hash of the user's session, so that every replica of the edge picks the same server.

mod affinity;
mod ejection;
mod health;
mod peer;
mod pools;
mod question;
mod resolve;
mod server;
mod settings;
mod sse;
mod state;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::Uri;
use pingora::lb::selection::Consistent;
use pingora::lb::{Backend, Backends, LoadBalancer};
use url::Url;

pub use affinity::{McpSession, Name};
pub use peer::Peer;
pub use pools::Pools;
pub use question::Answer;
pub use resolve::Resolver;
pub use settings::{HealthSettings, HttpVersion, Settings};
pub use sse::{EndpointRewriter, SseError};
pub use state::{Counts, ServerState};
pub use tls::Tls;

use crate::sealed::Index;
use ejection::Ejections;
use health::Checks;
use resolve::{Discovery, backend};
use server::{Members, Server};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below the keep-alive of common servers: a POST on a connection that the server just closed is not retried.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// Per write: a dead upstream must not hold a request for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many servers are looked at before the group counts as down.
const CANDIDATES: usize = 64;

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
    ejections: Ejections,
    /// In the order of the configured servers: which take nothing but what belongs to sessions of theirs.
    draining: Vec<AtomicBool>,
    has_names: bool,
}

impl Pool {
    /// Looks the servers' names up for the first time: this blocks, and belongs to starting up.
    pub fn new(settings: Settings) -> Result<Self, PoolError> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let (name, number) = (&settings.name, MADE.fetch_add(1, Ordering::Relaxed));
        let parse = |(index, url): (usize, &Url)| match Server::parse(number, index, url) {
            Some(server) => Ok((server, url.clone())),
            None => Err(PoolError::NotAServer { name: name.clone(), server: url.clone() }),
        };
        let servers = settings.servers.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        let hosts: Vec<_> = servers.iter().map(|(server, _)| server.clone()).collect();
        let discovery = Discovery::new(name, servers, settings.resolver.clone());
        let discovery =
            discovery.map_err(|(server, cause)| PoolError::Unresolved { name: name.clone(), server, cause })?;
        let (members, has_names) = (discovery.members(), discovery.has_names());
        let mut balancer = LoadBalancer::<Consistent>::from_backends(Backends::new(Box::new(discovery)));
        balancer.update_frequency = has_names.then_some(settings.resolve_interval);
        if let Some(health) = &settings.health {
            let path: Uri = health.path.parse().map_err(|_| PoolError::HealthPath { name: name.clone() })?;
            balancer.set_health_check(Box::new(Checks::new(&settings, &hosts, members.clone(), &path)));
            balancer.health_check_frequency = Some(health.interval);
            balancer.parallel_health_check = true;
        }
        let begun = balancer.update().now_or_never();
        begun.expect("the first time nothing is waited for").expect("what was found is given");
        let (settings, balancer, ejections) = (Arc::new(settings), Arc::new(balancer), Ejections::default());
        let draining = hosts.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Self { settings, balancer, members, ejections, draining, has_names })
    }

    /// Whether there is anything for [`Pool::balancer`] to do in the background.
    pub fn has_upkeep(&self) -> bool {
        self.has_names || self.settings.health.is_some()
    }

    /// What looks names up and runs the health checks, in the background.
    pub fn balancer(&self) -> Arc<LoadBalancer<Consistent>> {
        self.balancer.clone()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The well server that this session belongs to, or the next one; `None` when all are down or draining. An ejected server
    /// is better than none.
    pub fn pick(&self, session: Index) -> Option<Peer> {
        self.select(session, |_| true)
    }

    /// Another well server than the one at `failed`, by the same hash; `None` when there is none.
    pub fn pick_other(&self, session: Index, failed: SocketAddr) -> Option<Peer> {
        self.select(session, |address| address != failed)
    }

    fn select(&self, session: Index, accept: impl Fn(SocketAddr) -> bool) -> Option<Peer> {
        let (members, now) = (self.members.load(), Instant::now());
        let first = |may_be_ejected: bool| {
            let accept = |backend: &Backend, well: bool| {
                let address = backend.addr.as_inet();
                let member = address.filter(|at| members.get(*at).is_some_and(|server| !self.is_draining(server)));
                // The ejections last: who is admitted there may be the probe, and goes.
                well && member
                    .is_some_and(|address| accept(*address) && (may_be_ejected || self.ejections.admits(*address, now)))
            };
            self.balancer.select_with(&session.0, CANDIDATES, accept)
        };
        let address = *first(false).or_else(|| first(true))?.addr.as_inet()?;
        Some(self.peer_of(address, members.get(&address)?.clone()))
    }

    /// The server gave no answer to a request. Whether it is ejected because of that.
    pub fn failed(&self, address: SocketAddr) -> bool {
        let members = self.members.load();
        self.ejections.keep(|address| members.contains_key(address));
        if !members.contains_key(&address) {
            return false;
        }
        let can_serve =
            |at: SocketAddr, server| self.is_well(at) && !self.ejections.is_ejected(at) && !self.is_draining(server);
        let has_stand_in = members.iter().any(|(other, server)| *other != address && can_serve(*other, server));
        let lasts = self.ejections.failed(address, Instant::now(), has_stand_in);
        if let Some(lasts) = lasts {
            tracing::warn!(upstream = self.settings.name, %address, seconds = lasts.as_secs(), "a server is ejected");
        }
        lasts.is_some()
    }

    /// The server gave an answer to a request, whatever it says.
    pub fn answered(&self, address: SocketAddr) {
        if self.ejections.answered(address) {
            tracing::info!(upstream = self.settings.name, %address, "a server that was ejected answers again");
        }
    }

    /// Whether a configured server takes only what belongs to its sessions from now on. `false` when there is no such server.
    pub fn set_draining(&self, server: &Url, draining: bool) -> bool {
        let index = self.settings.servers.iter().position(|configured| configured == server);
        let found = index.and_then(|index| self.draining.get(index));
        found.inspect(|found| found.store(draining, Ordering::Relaxed)).is_some()
    }

    /// What an operator drained in the group `before` is drained here too.
    pub fn drain_as(&self, before: &Self) {
        let drained = before.settings.servers.iter().zip(&before.draining);
        for (server, _) in drained.filter(|(_, draining)| draining.load(Ordering::Relaxed)) {
            // One that has left need not be drained.
            self.set_draining(server, true);
        }
    }

    fn is_draining(&self, server: &Server) -> bool {
        self.draining[server.index].load(Ordering::Relaxed)
    }

    fn is_well(&self, address: SocketAddr) -> bool {
        self.balancer.backends().ready(&backend(address))
    }

    /// One particular server, well or not: what only it can answer must not be asked elsewhere.
    pub fn peer(&self, address: SocketAddr) -> Option<Peer> {
        Some(self.peer_of(address, self.members.load().get(&address)?.clone()))
    }

    fn peer_of(&self, address: SocketAddr, server: Server) -> Peer {
        Peer { address, server, settings: self.settings.clone() }
    }
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
    fn an_ejected_server_is_passed_over_unless_it_is_the_last() {
        let mut settings = Settings::single("x", "http://127.0.0.1:1");
        settings.servers.push(Url::parse("http://127.0.0.1:2").unwrap());
        let pool = Pool::new(settings).unwrap();
        let [one, other] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!([(); 3].map(|()| pool.failed(one)), [false, false, true]);
        assert!((0..40u8).all(|n| pool.pick(Index([n; 32])).unwrap().address == other));
        assert_eq!(pool.counts(), Counts { ready: 1, ejected: 1, ..Counts::default() });
        assert!(pool.peer(one).is_some(), "its sessions are tried");
        assert_eq!([(); 9].map(|()| pool.failed(other)), [false; 9], "the last one stays");
        assert_eq!(pool.pick_other(Index([0; 32]), other).unwrap().address, one, "better than none");
        pool.answered(one);
        assert!((0..40u8).any(|n| pool.pick(Index([n; 32])).unwrap().address == one));
        assert!(!pool.failed("127.0.0.1:9".parse().unwrap()), "no server of the group");
    }

    #[test]
    fn a_draining_server_is_picked_by_nobody_and_keeps_what_is_its_own() {
        let mut settings = Settings::single("x", "http://127.0.0.1:1");
        settings.servers.push(Url::parse("http://127.0.0.1:2").unwrap());
        let pool = Pool::new(settings).unwrap();
        let [one, other] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let drain = |server: &str, draining| pool.set_draining(&Url::parse(server).unwrap(), draining);
        assert!(drain("http://127.0.0.1:1", true) && !drain("http://127.0.0.1:3", true));
        assert!((0..40u8).all(|n| pool.pick(Index([n; 32])).unwrap().address == other));
        assert!(pool.pick_other(Index([0; 32]), other).is_none() && pool.peer(one).is_some());
        assert_eq!([(); 3].map(|()| pool.failed(other)), [false; 3], "the last one that takes sessions is not ejected");
        assert_eq!(pool.servers().iter().map(|server| server.draining).collect::<Vec<_>>(), [true, false]);
        assert_eq!(pool.counts(), Counts { ready: 1, draining: 1, ..Counts::default() });
        assert!(drain("http://127.0.0.1:2/", true) && pool.pick(Index([0; 32])).is_none());
        assert!(drain("http://127.0.0.1:1", false));
        assert_eq!(pool.pick(Index([0; 32])).unwrap().address, one);
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
