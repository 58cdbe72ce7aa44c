//! What a group is configured to be.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::{Resolver, Tls};

/// One group of interchangeable servers.
#[derive(Clone)]
pub struct Settings {
    pub name: String,
    /// Origins, `http://host:port` or `https://host`.
    pub servers: Vec<Url>,
    pub resolver: Resolver,
    /// How often the names of servers are looked up.
    pub resolve_interval: Duration,
    /// Of the servers with `https`.
    pub tls: Tls,
    pub http: HttpVersion,
    /// The path of Streamable HTTP on the servers.
    pub endpoint: String,
    /// The path of the legacy event stream on the servers.
    pub sse_endpoint: String,
    pub health: Option<HealthSettings>,
    /// Fixed headers of the hop, such as a function key. Their values are secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What the servers are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    #[default]
    Http1,
    /// By ALPN over TLS, with prior knowledge without; a server that speaks nothing else gets no requests.
    Http2,
    /// Over TLS what the server prefers of the two; HTTP/1.1 without.
    Negotiated,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    pub path: String,
    pub interval: Duration,
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
            resolver: Resolver::system(),
            resolve_interval: Duration::from_secs(10),
            tls: Tls::default(),
            http: HttpVersion::default(),
            endpoint: "/mcp".to_owned(),
            sse_endpoint: "/sse".to_owned(),
            health: None,
            headers: Vec::new(),
        }
    }

    /// Whether a group of the one is a group of the other. How names are looked up is no setting of an operator's.
    pub fn is_like(&self, other: &Self) -> bool {
        let Self { name, servers, resolver: _, resolve_interval, tls, http, endpoint, sse_endpoint, health, headers } =
            self;
        (name, servers, resolve_interval) == (&other.name, &other.servers, &other.resolve_interval)
            && (tls, http, health, headers) == (&other.tls, &other.http, &other.health, &other.headers)
            && (endpoint, sse_endpoint) == (&other.endpoint, &other.sse_endpoint)
    }
}
