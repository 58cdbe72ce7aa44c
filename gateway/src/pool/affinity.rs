//! Affinity without a table: the session that an upstream names is sealed into the name that the client sees.
//!
//! The sealed name says which server holds the session. It is bound to the user's session and to the resource, so that
//! nobody enters another's session (C11, C22), and any replica of the edge can route it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Peer;
use crate::sealed::{Index, Purpose, Sealer};

/// A session on one server. The client sees it sealed, as its `Mcp-Session-Id` or in its message endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpSession {
    server: SocketAddr,
    name: Name,
}

/// How the server names the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Name {
    /// The `Mcp-Session-Id` of Streamable HTTP.
    Id(String),
    /// Path and query that messages of a legacy event stream are posted to.
    MessageEndpoint(String),
}

impl McpSession {
    /// The session that `peer` opened by its `Mcp-Session-Id`.
    pub fn opened(peer: &Peer, id: &str) -> Self {
        Self { server: peer.address, name: Name::Id(id.to_owned()) }
    }

    /// The endpoint that `peer` announced on its stream at `stream_path`. `None` when it leads to another server.
    pub fn announced(peer: &Peer, stream_path: &str, endpoint: &str) -> Option<Self> {
        let stream = peer.url(stream_path)?;
        let url = stream.join(endpoint).ok()?;
        if url.origin() != stream.origin() || !url.username().is_empty() {
            return None;
        }
        Some(Self { server: peer.address, name: Name::MessageEndpoint(path_and_query(&url)) })
    }

    pub fn seal(&self, sealer: &Sealer, session: Index, resource: &str) -> String {
        sealer.seal(Purpose::McpSession, &[&session.0, resource.as_bytes()], self)
    }

    /// `None` for another user's session, another resource, and anything that we did not seal.
    pub fn open(sealer: &Sealer, session: Index, resource: &str, text: &str) -> Option<Self> {
        sealer.open(Purpose::McpSession, &[&session.0, resource.as_bytes()], text).ok()
    }

    pub fn server(&self) -> SocketAddr {
        self.server
    }

    pub fn name(&self) -> &Name {
        &self.name
    }
}

fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Pool, Settings};
    use crate::sealed::KeyRing;

    fn peer() -> Peer {
        let pool = Pool::new(Settings::single("x", "http://127.0.0.1:8000")).unwrap();
        pool.peer("127.0.0.1:8000".parse().unwrap()).unwrap()
    }

    #[test]
    fn endpoints_of_the_same_server_are_followed() {
        for (announced, want) in [
            ("/message?sessionId=1", "/message?sessionId=1"),
            ("messages/?session_id=1", "/messages/?session_id=1"),
            ("?sessionId=1", "/sse?sessionId=1"),
            ("http://127.0.0.1:8000/m", "/m"),
        ] {
            let session = McpSession::announced(&peer(), "/sse", announced).unwrap();
            assert_eq!(session.name(), &Name::MessageEndpoint(want.to_owned()), "{announced}");
        }
    }

    #[test]
    fn endpoints_elsewhere_are_not() {
        for foreign in ["http://127.0.0.1:9/m", "https://127.0.0.1:8000/m", "//evil.example/m", "javascript:1"] {
            assert_eq!(McpSession::announced(&peer(), "/sse", foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_sealed_session_is_its_users_alone() {
        let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        let session = McpSession::opened(&peer(), "s1");
        let (hers, his) = (Index([1; 32]), Index([2; 32]));
        let sealed = session.seal(&sealer, hers, "r");
        assert!(sealed.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "visible ASCII, as the protocol wants");
        assert_eq!(McpSession::open(&sealer, hers, "r", &sealed), Some(session));
        assert_eq!(McpSession::open(&sealer, his, "r", &sealed), None);
        assert_eq!(McpSession::open(&sealer, hers, "other", &sealed), None);
    }
}
