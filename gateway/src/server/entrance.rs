//! What a connection meets before the first request on it is read: a limit, the word of a balancer about its client, and TLS.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::http::ResponseHeader;
use pingora::listeners::tls::Acceptor;
use pingora::prelude::{Error, ErrorType, OrErr, Result};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{ALPN, IO, SocketDigest, Stream};
use pingora::server::ShutdownWatch;
use tokio::time::timeout;

use super::connections::{Connections, Place};
use super::proxy_protocol;
use crate::edge::{Bounds, Connected, IdleConnections};
use crate::metrics::Metrics;
use crate::source::{SourceAddress, TrustedProxies};

/// So many idle connections end for each new one that comes when there is little room: more than come, so that there will be.
const MAKE_ROOM: usize = 2;

pub struct Rules {
    pub connections: Arc<Connections>,
    pub idle: Arc<IdleConnections>,
    pub trusted_proxies: TrustedProxies,
    /// Whether every connection begins with a header of the PROXY protocol, and comes from a trusted proxy.
    pub proxy_protocol: bool,
    pub bounds: Arc<Bounds>,
    pub metrics: Arc<Metrics>,
}

/// In front of the application that serves connections.
pub struct Entrance<A> {
    pub rules: Arc<Rules>,
    /// Absent: plain HTTP. Pingora's own listeners would wait for a handshake for a minute, whatever is configured.
    pub tls: Option<Acceptor>,
    pub inside: Arc<A>,
}

/// When the listeners have closed, what is inside is not told: it would close connections on which no request is under way,
/// also those whose request is in the net. They stay until the process ends, and each next answer announces that.
#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Entrance<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let stream = match Box::pin(self.enter(stream)).await {
            Ok(stream) => stream,
            Err(cause) => {
                tracing::debug!(%cause, "a connection was turned away");
                return None;
            }
        };
        let is_http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        let digest = stream.get_proxy_digest();
        let connected = Connected::of(digest.as_ref())?;
        let mut served = pin!(self.inside.process_new(stream, shutdown));
        let served = async {
            if !is_http2 {
                return served.await;
            }
            match timeout(self.rules.bounds.header_time, served.as_mut()).await {
                Ok(done) => done,
                Err(_) if connected.is_requested() => served.await,
                Err(_) => {
                    self.rules.metrics.limited("header_deadline");
                    None
                }
            }
        };
        tokio::select! {
            // First, so that a request that has just come is seen before its connection is taken for idle.
            biased;
            done = served => done,
            // Its streams, if there are any, see the connection end.
            limit = connected.is_over() => {
                self.rules.metrics.limited(limit);
                None
            }
        }
    }
}

impl<A> Entrance<A> {
    /// The place is taken before the handshake, which costs the most; balancer and handshake together have one deadline (1.11).
    async fn enter(&self, stream: Stream) -> Result<Stream> {
        match timeout(self.rules.bounds.handshake_time, self.greet(stream)).await {
            Ok(greeted) => greeted,
            Err(_) => {
                self.rules.metrics.limited("handshake_deadline");
                Err(Error::explain(ErrorType::TLSHandshakeTimedout, "the handshake took too long"))
            }
        }
    }

    async fn greet(&self, mut stream: Stream) -> Result<Stream> {
        let received = self.rules.receive(stream.as_mut()).await;
        received.or_err(ErrorType::ConnectionClosed, "before the first byte of a request")?;
        let Some(tls) = &self.tls else { return Ok(stream) };
        let socket = stream.into_any().downcast::<L4Stream>();
        let socket = socket.map_err(|_| Error::explain(ErrorType::InternalError, "no socket of a listener"))?;
        Ok(Box::new(tls.tls_handshake(*socket).await?))
    }
}

impl Rules {
    async fn receive(&self, stream: &mut dyn IO) -> io::Result<()> {
        let digest = stream.get_socket_digest();
        let peer =
            digest.as_deref().and_then(SocketDigest::peer_addr).and_then(SocketAddr::as_inet).map(|peer| peer.ip());
        let trusted = peer.is_some_and(|peer| self.trusted_proxies.trusts(peer));
        let source = peer.filter(|_| !trusted).map(SourceAddress::new);
        if self.connections.are_tight(stream.id(), Instant::now()) {
            self.idle.shed(MAKE_ROOM);
        }
        self.connections.spare(stream.id()).map_err(io::Error::other)?;
        let mut place = self.connections.place(source).map_err(io::Error::other)?;
        if self.proxy_protocol {
            if !trusted {
                return Err(io::Error::other("a header of the PROXY protocol counts from trusted proxies only"));
            }
            if let Some(client) = proxy_protocol::read(stream).await? {
                // A balancer may stand before other proxies, and names those.
                if !self.trusted_proxies.trusts(client.ip()) {
                    place = place.of(SourceAddress::new(client.ip())).map_err(io::Error::other)?;
                }
                stream.set_socket_digest(said_to_be(stream.id(), client));
            }
        }
        stream.set_proxy_digest(self.held(place));
        Ok(())
    }

    /// The one thing of ours that lives exactly as long as a connection. Pingora has it for proxies on the way to an upstream;
    /// nobody reads it here.
    fn held(&self, place: Place) -> ProxyDigest {
        let nothing = ResponseHeader::build_no_case(200, Some(0)).expect("200 is a status");
        let is_shared = place.is_shared();
        let connected = Connected::new(place, is_shared, self.idle.clone());
        ProxyDigest::new(Box::new(nothing), Some(Box::new(connected)))
    }
}

/// What everybody inside takes for the peer.
fn said_to_be(socket: i32, client: std::net::SocketAddr) -> SocketDigest {
    let digest = SocketDigest::from_raw_fd(socket);
    // It is new, so nobody has asked it yet.
    let _ = digest.peer_addr.set(Some(SocketAddr::Inet(client)));
    digest
}
