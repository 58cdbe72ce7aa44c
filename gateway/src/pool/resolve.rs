//! Where the servers of a group are: names are looked up at the start, and again and again while requests go on.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use pingora::lb::discovery::ServiceDiscovery;
use pingora::lb::{Backend, Extensions};
use pingora::prelude::Result;
use pingora::protocols::l4::socket;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::{Host, Url};

use super::server::{Members, Server, bare};

/// Health checks wait while names are looked up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks up hosts: by the system's ways, or by a test's.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Tells Pingora, and keeps in `members`, what was found.
pub struct Discovery {
    /// The upstream, for logs.
    name: String,
    servers: Vec<(Server, Url)>,
    resolver: Resolver,
    /// In the order of the servers.
    found: Mutex<Vec<Found>>,
    members: Members,
    /// Pingora has been told what was found at the start.
    begun: AtomicBool,
}

struct Found {
    addresses: BTreeSet<SocketAddr>,
    /// The last lookup failed, and this is what an earlier one found.
    stale: bool,
}

impl Resolver {
    pub fn system() -> Self {
        Self::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }

    /// The function may block.
    pub fn new(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// All addresses of one family, IPv4 if there is any: a server with an address of each is one server.
    fn resolve(&self, url: &Url) -> io::Result<BTreeSet<SocketAddr>> {
        let port = url.port_or_known_default().unwrap_or(80);
        let all = (self.0)(bare(url.host_str().unwrap_or_default()), port)?;
        let is_ipv4 = all.iter().any(SocketAddr::is_ipv4);
        let addresses: BTreeSet<_> = all.into_iter().filter(|address| address.is_ipv4() == is_ipv4).collect();
        if addresses.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(addresses) }
    }
}

impl Discovery {
    /// Looks every server up, which blocks.
    ///
    /// # Errors
    /// With the server that has no address.
    pub fn new(
        name: &str,
        servers: Vec<(Server, Url)>,
        resolver: Resolver,
    ) -> std::result::Result<Self, (Url, io::Error)> {
        let found = servers.iter().map(|(_, url)| match resolver.resolve(url) {
            Ok(addresses) => Ok(Found { addresses, stale: false }),
            Err(cause) => Err((url.clone(), cause)),
        });
        let found = Mutex::new(found.collect::<std::result::Result<_, _>>()?);
        let (name, members, begun) = (name.to_owned(), Members::default(), AtomicBool::new(false));
        let discovery = Self { name, servers, resolver, found, members, begun };
        discovery.publish();
        Ok(discovery)
    }

    pub fn members(&self) -> Members {
        self.members.clone()
    }

    /// Whether there is anything to look up again.
    pub fn has_names(&self) -> bool {
        self.servers.iter().any(|(_, url)| is_name(url))
    }

    async fn look_up_again(&self) {
        let lookups = self.servers.iter().enumerate().filter(|(_, (_, url))| is_name(url)).map(|(index, (_, url))| {
            let (resolver, name) = (self.resolver.clone(), url.clone());
            async move {
                let resolved = match timeout(PATIENCE, spawn_blocking(move || resolver.resolve(&name))).await {
                    Ok(Ok(resolved)) => resolved,
                    Ok(Err(error)) => Err(error.into()),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                };
                (index, url, resolved)
            }
        });
        for (index, url, resolved) in join_all(lookups).await {
            self.note(index, url, resolved);
        }
        self.publish();
    }

    fn note(&self, index: usize, url: &Url, resolved: io::Result<BTreeSet<SocketAddr>>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (upstream, server, found) = (&self.name, url.as_str(), &mut found[index]);
        match resolved {
            Ok(addresses) => {
                if found.addresses != addresses {
                    tracing::info!(upstream, server, ?addresses, "a server's addresses have changed");
                }
                *found = Found { addresses, stale: false };
            }
            Err(cause) => {
                if !found.stale {
                    tracing::warn!(upstream, server, %cause, "a server's name cannot be resolved: it counts as where it was");
                }
                found.stale = true;
            }
        }
    }

    /// From here on no request goes to an address that is left out, even before Pingora knows.
    fn publish(&self) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = HashMap::new();
        for ((server, _), found) in self.servers.iter().zip(found.iter()) {
            for address in &found.addresses {
                // Two names of one address: it is the server that was configured first.
                members.entry(*address).or_insert_with(|| server.clone());
            }
        }
        self.members.store(Arc::new(members));
    }
}

#[async_trait]
impl ServiceDiscovery for Discovery {
    /// The first time at once, with what was found at the start.
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        if self.begun.swap(true, Ordering::Relaxed) && self.has_names() {
            self.look_up_again().await;
        }
        Ok((self.members.load().keys().map(|address| backend(*address)).collect(), HashMap::new()))
    }
}

/// As Pingora knows it.
pub fn backend(address: SocketAddr) -> Backend {
    Backend { addr: socket::SocketAddr::Inet(address), weight: 1, ext: Extensions::new() }
}

fn is_name(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Domain(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Pool, Settings};
    use crate::sealed::Index;

    type Zone = Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn set(zone: &Zone, name: &str, addresses: &[&str]) {
        zone.lock().unwrap().insert(name.to_owned(), addresses.iter().map(|text| address(text)).collect());
    }

    fn pool(zone: &Zone, servers: &[&str]) -> Pool {
        let zone = zone.clone();
        let resolver = Resolver::new(move |host, port| {
            if let Ok(ip) = host.parse() {
                return Ok(vec![SocketAddr::new(ip, port)]);
            }
            zone.lock().unwrap().get(host).cloned().ok_or_else(|| io::Error::other("no such name"))
        });
        let servers = servers.iter().map(|server| Url::parse(server).unwrap()).collect();
        Pool::new(Settings { servers, resolver, ..Settings::single("x", "http://127.0.0.1:1") }).unwrap()
    }

    fn picked(pool: &Pool) -> BTreeSet<SocketAddr> {
        (0..60u8).map(|n| pool.pick(Index([n; 32])).unwrap().address).collect()
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_are_servers_and_removed_ones_are_none() {
        let zone = Zone::default();
        set(&zone, "mcp.test", &["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
        let pool = pool(&zone, &["http://mcp.test", "http://10.0.0.9:81"]);
        assert_eq!(picked(&pool), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.9:81"].map(address).into());
        let peer = |text| pool.peer(address(text));
        assert_eq!(peer("10.0.0.2:80").unwrap().authority(), "mcp.test");
        assert_eq!(peer("10.0.0.9:81").unwrap().authority(), "10.0.0.9:81");

        set(&zone, "mcp.test", &["10.0.0.2:80", "10.0.0.3:80"]);
        pool.balancer().update().await.unwrap();
        assert_eq!(picked(&pool), ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.9:81"].map(address).into());
        assert!(peer("10.0.0.1:80").is_none(), "sessions of it are gone");

        set(&zone, "mcp.test", &["[fd00::1]:80"]);
        pool.balancer().update().await.unwrap();
        assert_eq!(picked(&pool), ["[fd00::1]:80", "10.0.0.9:81"].map(address).into());
    }

    #[tokio::test]
    async fn a_failed_lookup_keeps_the_last_addresses_of_that_name_only() {
        let zone = Zone::default();
        set(&zone, "one.test", &["10.0.0.1:80"]);
        set(&zone, "two.test", &["10.0.0.2:80"]);
        let pool = pool(&zone, &["http://one.test", "http://two.test"]);
        zone.lock().unwrap().remove("one.test");
        set(&zone, "two.test", &["10.0.0.3:80"]);
        pool.balancer().update().await.unwrap();
        assert_eq!(picked(&pool), ["10.0.0.1:80", "10.0.0.3:80"].map(address).into());
        // An answer without an address is none either.
        set(&zone, "one.test", &[]);
        pool.balancer().update().await.unwrap();
        assert_eq!(picked(&pool), ["10.0.0.1:80", "10.0.0.3:80"].map(address).into());
    }

    #[tokio::test]
    async fn an_address_of_two_names_is_the_first_server() {
        let zone = Zone::default();
        set(&zone, "one.test", &["10.0.0.1:80"]);
        set(&zone, "two.test", &["10.0.0.1:80"]);
        let pool = pool(&zone, &["http://one.test", "http://two.test"]);
        assert_eq!(pool.peer(address("10.0.0.1:80")).unwrap().authority(), "one.test");
    }

    #[test]
    fn a_name_that_is_unknown_at_the_start_is_an_error() {
        let resolver = Resolver::new(|_, _| Err(io::Error::other("no such name")));
        let settings = Settings { resolver, ..Settings::single("x", "http://mcp.test") };
        let refused = Pool::new(settings).err().unwrap().to_string();
        assert!(refused.contains("mcp.test") && refused.contains("no such name"), "{refused}");
    }
}
