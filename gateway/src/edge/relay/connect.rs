//! Connections to the servers: opened, kept, and tried again where that is safe.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pingora::ErrorSource;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::protocols::http::client::HttpSession;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::Peer as _;

use super::super::Edge;
use super::super::http_messages::status_error;
use super::super::journey::Journey;
use crate::pool::{Peer, Pool};

/// The connections to all servers of all pools.
pub struct Upstreams(Connector);

/// One connection to a server, for one exchange. Dropped, it is closed at once.
pub struct Link {
    pub http: HttpSession,
    peer: HttpPeer,
    /// It served another exchange before.
    reused: bool,
}

impl Upstreams {
    pub fn new(configuration: &ServerConf) -> Self {
        Self(Connector::new(Some(ConnectorOptions::from_server_conf(configuration))))
    }

    /// Keeps the connection of an exchange that went well both ways, if the server likes.
    pub async fn keep(&self, link: Link) {
        let Link { http, peer, .. } = link;
        let idle_timeout = peer.idle_timeout();
        self.0.release_http_session(http, &peer, idle_timeout).await;
    }

    /// `silence` is how long the server may say nothing before its answer counts as lost.
    async fn connect(&self, peer: &Peer, silence: Duration) -> Result<Link> {
        let peer = peer.to_http_peer();
        let (mut http, reused) = self.0.get_http_session(&peer).await.map_err(|error| error.into_up())?;
        http.set_write_timeout(peer.options.write_timeout);
        http.set_read_timeout(Some(silence));
        Ok(Link { http, peer, reused })
    }
}

impl Edge {
    /// A connection to the server that the session names; without one, to the server of the user's sign-in, or to another
    /// well one if that cannot be reached: nothing has been sent yet.
    pub(super) async fn connect(&self, journey: &mut Journey) -> Result<Link> {
        let destination = journey.destination()?;
        let (pool, silence) = (destination.pool(), self.streams.idle_timeout);
        let (peer, link) = match &destination.session {
            Some(session) => {
                // Nobody else has this session. 404 makes the client begin a new one (C8).
                let peer = pool.peer(session.server()).ok_or_else(|| gone("the session's server is gone"))?;
                let link = self.connect_to(journey, pool, &peer, silence).await;
                let refused = |error: &Error| *error.etype() == ErrorType::ConnectRefused;
                // A server that is not there keeps no session in its memory either.
                let link =
                    link.map_err(|error| if refused(&error) { gone("the session's server is down") } else { error });
                (peer, link?)
            }
            None => {
                let session = destination.admitted.session();
                let peer = pool
                    .pick(session)
                    .ok_or_else(|| status_error(503, "no server of the upstream is well and takes new sessions"))?;
                match self.connect_to(journey, pool, &peer, silence).await {
                    Ok(link) => (peer, link),
                    Err(error) => {
                        let Some(other) = pool.pick_other(session, peer.address) else { return Err(error) };
                        let link = self.connect_to(journey, pool, &other, silence).await?;
                        (other, link)
                    }
                }
            }
        };
        journey.peer = Some(peer);
        Ok(link)
    }

    async fn connect_to(&self, journey: &Journey, pool: &Pool, peer: &Peer, silence: Duration) -> Result<Link> {
        let link = self.upstreams.connect(peer, silence).await;
        link.inspect_err(|error| self.no_answer(journey, pool, peer.address, error))
    }

    /// Notes that a server failed before its answer began. Nothing of what either side said is in these errors.
    pub(super) fn no_answer(&self, journey: &Journey, pool: &Pool, server: SocketAddr, error: &Error) {
        let upstream = &pool.settings().name;
        tracing::warn!(request_id = journey.id, upstream, %server, %error, "a server gave no answer");
        if pool.failed(server) {
            self.metrics.upstream_ejected(upstream);
        }
    }
}

impl Link {
    pub async fn send(&mut self, request: RequestHeader) -> Result<()> {
        self.http.write_request_header(Box::new(request)).await.map_err(|error| error.into_up())
    }

    /// The server has said all that belongs to its answer.
    pub fn is_done(&mut self) -> bool {
        self.http.response_done()
    }

    /// The answer's header as it came; nothing over HTTP/2, which frames by itself.
    pub fn raw_header(&self) -> Option<Bytes> {
        self.http.as_http1().map(|http| http.get_headers_raw_bytes())
    }

    /// The connection broke, or the server kept silent for too long, before its answer began. That a connection was closed
    /// while it waited here says nothing against the server.
    pub fn broke(&self, error: &Error) -> bool {
        is_lost(error) && self.http.response_header().is_none() && !self.was_stale(error)
    }

    /// The connection was one that had been kept, and turned out to be closed. Only before the answer begins does this mean
    /// that there is none.
    pub fn was_stale(&self, error: &Error) -> bool {
        let closed =
            matches!(error.etype(), ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError);
        self.reused && closed && *error.esource() == ErrorSource::Upstream && self.http.response_header().is_none()
    }
}

/// The server was lost rather than wrong: such an error holds nothing of what either side said.
pub fn is_lost(error: &Error) -> bool {
    use ErrorType::{ConnectionClosed, ReadError, ReadTimedout, WriteError, WriteTimedout};
    let lost = matches!(error.etype(), ConnectionClosed | ReadError | ReadTimedout | WriteError | WriteTimedout);
    lost && *error.esource() == ErrorSource::Upstream
}

fn gone(cause: &'static str) -> Box<Error> {
    status_error(404, cause)
}
