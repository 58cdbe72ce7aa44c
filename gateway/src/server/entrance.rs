//! What a connection meets before the first request on it is read: a limit, and the word of a balancer about its client.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::http::ResponseHeader;
use pingora::listeners::PreTlsProcess;
use pingora::prelude::{Error, ErrorType, Result};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{ALPN, IO, SocketDigest, Stream};
use pingora::server::ShutdownWatch;
use tokio::time::timeout;

use super::connections::{Connections, Place};
use super::proxy_protocol;
use crate::edge::{Connected, FIRST_REQUEST};
use crate::metrics::Metrics;
use crate::source::{SourceAddress, TrustedProxies};

/// A balancer says it at once.
const PROXY_HEADER_DEADLINE: Duration = Duration::from_secs(5);

pub struct Rules {
    pub connections: Arc<Connections>,
    pub trusted_proxies: TrustedProxies,
    /// Whether every connection begins with a header of the PROXY protocol, and comes from a trusted proxy.
    pub proxy_protocol: bool,
    pub metrics: Arc<Metrics>,
}

/// In front of the application that serves connections.
pub struct Entrance<A> {
    pub rules: Arc<Rules>,
    pub inside: Arc<A>,
}

/// When the listeners have closed, what is inside is not told: it would close connections on which no request is under way,
/// also those whose request is in the net. They stay until the process ends, and each next answer announces that.
#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Entrance<A> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        if stream.get_ssl_digest().is_none()
            && let Err(cause) = Box::pin(self.rules.receive(stream.as_mut())).await
        {
            tracing::debug!(%cause, "a connection was turned away");
            return None;
        }
        let is_http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        let digest = stream.get_proxy_digest();
        let mut served = pin!(self.inside.process_new(stream, shutdown));
        if !is_http2 {
            return served.await;
        }
        let connected = Connected::of(digest.as_ref());
        let served = async {
            match timeout(FIRST_REQUEST, served.as_mut()).await {
                Ok(done) => done,
                Err(_) if connected.is_some_and(Connected::is_requested) => served.await,
                Err(_) => {
                    self.rules.metrics.limited("header_deadline");
                    None
                }
            }
        };
        let Some(connected) = connected else { return served.await };
        tokio::select! {
            done = served => done,
            // Its streams see the connection end.
            () = connected.worn_out() => {
                self.rules.metrics.limited("resets");
                None
            }
        }
    }
}

/// Before the handshake, which would cost the most.
#[async_trait]
impl PreTlsProcess for Rules {
    async fn process(&self, stream: &mut L4Stream) -> Result<()> {
        let received = self.receive(stream).await;
        received.map_err(|cause| Error::because(ErrorType::ConnectionClosed, "a connection was turned away", cause))
    }
}

impl Rules {
    async fn receive(&self, stream: &mut dyn IO) -> io::Result<()> {
        let digest = stream.get_socket_digest();
        let peer =
            digest.as_deref().and_then(SocketDigest::peer_addr).and_then(SocketAddr::as_inet).map(|peer| peer.ip());
        let trusted = peer.is_some_and(|peer| self.trusted_proxies.trusts(peer));
        let source = peer.filter(|_| !trusted).map(SourceAddress::new);
        self.connections.spare(stream.id()).map_err(io::Error::other)?;
        let mut place = self.connections.place(source).map_err(io::Error::other)?;
        if self.proxy_protocol {
            if !trusted {
                return Err(io::Error::other("a header of the PROXY protocol counts from trusted proxies only"));
            }
            let header = timeout(PROXY_HEADER_DEADLINE, proxy_protocol::read(stream)).await;
            if let Some(client) = header.map_err(|_| io::ErrorKind::TimedOut)?? {
                // A balancer may stand before other proxies, and names those.
                if !self.trusted_proxies.trusts(client.ip()) {
                    place = place.of(SourceAddress::new(client.ip())).map_err(io::Error::other)?;
                }
                stream.set_socket_digest(said_to_be(stream.id(), client));
            }
        }
        stream.set_proxy_digest(held(place));
        Ok(())
    }
}

/// What everybody inside takes for the peer.
fn said_to_be(socket: i32, client: std::net::SocketAddr) -> SocketDigest {
    let digest = SocketDigest::from_raw_fd(socket);
    // It is new, so nobody has asked it yet.
    let _ = digest.peer_addr.set(Some(SocketAddr::Inet(client)));
    digest
}

/// The one thing of ours that lives exactly as long as a connection. Pingora has it for proxies on the way to an upstream;
/// nobody reads it here.
fn held(place: Place) -> ProxyDigest {
    let nothing = ResponseHeader::build_no_case(200, None).expect("200 is a status");
    let is_shared = place.is_shared();
    let connected = Connected::new(place, is_shared);
    ProxyDigest::new(Box::new(nothing), Some(Box::new(connected)))
}
