//! A server to be asked.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use pingora::prelude::HttpPeer;
use url::Url;

use super::Settings;
use super::server::Server;

/// A server that was picked.
#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub(super) server: Server,
    pub(super) settings: Arc<Settings>,
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

    /// As [`Server::absolute`].
    pub fn absolute(&self, path: &Uri) -> Result<Uri, http::Error> {
        self.server.absolute(path)
    }

    pub fn to_http_peer(&self) -> HttpPeer {
        self.server.to_http_peer(self.address, &self.settings)
    }
}
