//! One configured server, and how Pingora is told to connect to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Uri};
use pingora::prelude::HttpPeer;
use pingora::protocols::TcpKeepalive;
use url::Url;

use super::{CONNECT_TIMEOUT, HttpVersion, IDLE_TIMEOUT, Settings, WRITE_TIMEOUT};

/// Requests at once on one connection of HTTP/2, if the server takes so many.
const STREAMS: usize = 100;
/// What may be under way to us of one answer over HTTP/2, in bytes, and of all on a connection: more than the answers together,
/// so that a client that does not read its own stops nobody else's.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// A connection of HTTP/2 is asked so often whether it lives; five seconds without a word, and it is closed.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// The servers of a group by their addresses of the moment.
pub type Members = Arc<ArcSwap<HashMap<SocketAddr, Server>>>;

#[derive(Clone)]
pub struct Server {
    /// Of the group in this process.
    group: u64,
    /// Its place in the configuration.
    pub index: usize,
    /// `host[:port]`, as the server's own `Host` header should say.
    pub authority: HeaderValue,
    /// As TLS wants it: an IPv6 address without brackets.
    host: String,
    pub tls: bool,
}

impl Server {
    /// `group` is another number for each group, also for one that takes another's place.
    pub fn parse(group: u64, index: usize, url: &Url) -> Option<Self> {
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
        Some(Self { group, index, authority: authority.try_into().ok()?, host: bare(host).to_owned(), tls })
    }

    /// The path here, as HTTP/2 names it: with scheme and authority, which have no other place there.
    pub fn absolute(&self, path: &Uri) -> Result<Uri, http::Error> {
        let scheme = if self.tls { "https" } else { "http" };
        let path = path.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder().scheme(scheme).authority(self.authority.as_bytes()).path_and_query(path).build()
    }

    /// With every timeout set, since Pingora's own defaults are none.
    pub fn to_http_peer(&self, address: SocketAddr, settings: &Settings) -> HttpPeer {
        let mut peer = HttpPeer::new(address, self.tls, self.host.clone());
        settings.tls.apply(&mut peer);
        // A connection that one group's roots or certificate have opened must not serve another: Pingora itself tells them
        // apart by serial numbers, and roots not at all.
        peer.group_key = self.group;
        let options = &mut peer.options;
        match settings.http {
            HttpVersion::Http1 => options.set_http_version(1, 1),
            HttpVersion::Http2 => options.set_http_version(2, 2),
            HttpVersion::Negotiated => options.set_http_version(2, 1),
        }
        options.max_h2_streams = STREAMS;
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        options.h2_ping_interval = Some(PING_INTERVAL);
        options.connection_timeout = Some(CONNECT_TIMEOUT);
        options.total_connection_timeout = Some(CONNECT_TIMEOUT * 2);
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.write_timeout = Some(WRITE_TIMEOUT);
        options.tcp_keepalive = Some(probes());
        peer
    }
}

/// How a server that has vanished is noticed on an idle stream: after two minutes at most. Each connection begins at another
/// second. Thousands that were opened together would otherwise be probed together, and a queue of the kernel on the way that
/// holds a thousand packets drops the rest, every time, until connections that live are given up.
fn probes() -> TcpKeepalive {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    let number = OPENED.fetch_add(1, Ordering::Relaxed);
    TcpKeepalive {
        idle: Duration::from_secs(30 + number % 30),
        interval: Duration::from_secs(15),
        count: 4,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    }
}

/// Without the brackets of an IPv6 address.
pub fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
