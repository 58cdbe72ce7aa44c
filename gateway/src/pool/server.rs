//! One configured server, and how Pingora is told to connect to it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora::prelude::HttpPeer;
use pingora::protocols::TcpKeepalive;
use url::Url;

use super::{CONNECT_TIMEOUT, IDLE_TIMEOUT, Settings, WRITE_TIMEOUT};

/// The servers of a group by their addresses of the moment.
pub type Members = Arc<ArcSwap<HashMap<SocketAddr, Server>>>;

#[derive(Clone)]
pub struct Server {
    /// Its place in the configuration.
    pub index: usize,
    /// `host[:port]`, as the server's own `Host` header should say.
    pub authority: HeaderValue,
    /// As TLS wants it: an IPv6 address without brackets.
    host: String,
    pub tls: bool,
}

impl Server {
    pub fn parse(index: usize, url: &Url) -> Option<Self> {
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str()?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Some(Self { index, authority: authority.try_into().ok()?, host: bare(host).to_owned(), tls })
    }

    /// With every timeout set, since Pingora's own defaults are none.
    pub fn to_http_peer(&self, address: SocketAddr, settings: &Settings) -> HttpPeer {
        let mut peer = HttpPeer::new(address, self.tls, self.host.clone());
        settings.tls.apply(&mut peer);
        // A connection that one upstream's roots or certificate have opened must not serve another: Pingora itself tells them
        // apart by serial numbers, and roots not at all.
        let mut group = DefaultHasher::new();
        settings.name.hash(&mut group);
        peer.group_key = group.finish();
        let options = &mut peer.options;
        options.connection_timeout = Some(CONNECT_TIMEOUT);
        options.total_connection_timeout = Some(CONNECT_TIMEOUT * 2);
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.write_timeout = Some(WRITE_TIMEOUT);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            count: 3,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        peer
    }
}

/// Without the brackets of an IPv6 address.
pub fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
