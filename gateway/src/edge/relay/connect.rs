//! Connections to the servers: opened, kept, and tried again where that is safe.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::ErrorSource;
use pingora::connectors::http::Connector;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::Peer as _;

use super::super::Edge;
use super::super::http_messages::status_error;
use super::super::journey::Journey;
use super::held::Held;
use super::http2::{self, NOT_PROCESSED};
use super::turns::Turns;
use crate::pool::{Peer, Pool};
use crate::traces::What;

/// So many connections over HTTP/2 that turn out to be dead are passed over for one request.
const DEAD: usize = 3;

/// The connections to all servers of all pools.
pub struct Upstreams {
    /// To servers that may speak HTTP/2.
    connector: Connector,
    /// To servers that are spoken to in HTTP/1.1 and nothing else.
    http1: TransportConnector,
    turns: Turns,
}

/// One connection to a server, or one stream of it, for one exchange.
pub struct Link {
    http: HttpSession,
    server: Peer,
    peer: HttpPeer,
    /// The connection served another exchange before.
    reused: bool,
}

impl Upstreams {
    /// So many times as many connections may wait as the configuration says.
    pub const STORES: u32 = 2;

    pub fn new(configuration: &ServerConf) -> Self {
        let options = || Some(ConnectorOptions::from_server_conf(configuration));
        Self { connector: Connector::new(options()), http1: TransportConnector::new(options()), turns: Turns::new() }
    }

    /// The exchange is over. If it went `well` both ways, its connection is kept, if the server likes. If not, a connection of
    /// HTTP/1.1 is closed; over HTTP/2 what is left of the exchange is reset, at once, and the connection goes on for others.
    pub async fn release(&self, link: Link, well: bool) {
        let Link { http, peer, .. } = link;
        let idle_timeout = peer.idle_timeout();
        match http {
            HttpSession::H1(mut http) if well && is_http1_only(&peer) => {
                http.respect_keepalive();
                let held = http.reuse().await.and_then(|stream| stream.into_any().downcast::<Held>().ok());
                if let Some(held) = held {
                    self.http1.release_stream(held.into_inside(), peer.reuse_hash(), idle_timeout);
                }
            }
            http if well || matches!(http, HttpSession::H2(_)) => {
                self.connector.release_http_session(http, &peer, idle_timeout).await;
            }
            _ => {}
        }
    }

    /// `silence` is how long the server may say nothing before its answer counts as lost.
    async fn connect(&self, server: &Peer, silence: Duration) -> Result<Link> {
        let peer = server.to_http_peer();
        let (mut http, reused) = self.open(&peer).await.map_err(|error| http2::told(error).into_up())?;
        http.set_write_timeout(peer.options.write_timeout);
        http.set_read_timeout(Some(silence));
        Ok(Link { http, server: server.clone(), peer, reused })
    }

    async fn open(&self, peer: &HttpPeer) -> Result<(HttpSession, bool)> {
        if is_http1_only(peer) {
            let (stream, reused) = match self.http1.reused_stream(peer).await {
                Some(stream) => (stream, true),
                // Boxed: a future is copied at every level that hands it on, and most requests need no new connection.
                None => (Box::pin(self.http1.new_stream(peer)).await?, false),
            };
            let held = Box::new(Held::new(stream));
            return Ok((HttpSession::H1(Http1Session::new_with_options(held, peer)), reused));
        }
        Box::pin(self.open_negotiated(peer)).await
    }

    /// A stream of a connection over HTTP/2, or a connection, if that is what the server speaks.
    async fn open_negotiated(&self, peer: &HttpPeer) -> Result<(HttpSession, bool)> {
        let mut dead = 0;
        let opened = loop {
            match self.turns.wait(peer.reuse_hash(), self.connector.get_http_session(peer)).await {
                // The connector has let go of the connection.
                Err(error) if *error.etype() == ErrorType::H2Error && dead < DEAD => dead += 1,
                opened => break opened?,
            }
        };
        if peer.options.alpn.get_min_http_version() == 2 && !matches!(opened.0, HttpSession::H2(_)) {
            return Err(Error::explain(ErrorType::InvalidH2, "the server does not take HTTP/2"));
        }
        Ok(opened)
    }
}

impl Edge {
    /// A connection to the server that the session names; without one, to the server of the user's sign-in, or to another
    /// well one if that cannot be reached: nothing has been sent yet.
    pub(super) async fn connect(&self, journey: &mut Journey) -> Result<Link> {
        let destination = journey.destination()?;
        let (pool, silence) = (destination.pool(), journey.live.streams.idle_timeout);
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
        journey.stages.connected = Some(journey.started.elapsed());
        Ok(link)
    }

    async fn connect_to(&self, journey: &Journey, pool: &Pool, peer: &Peer, silence: Duration) -> Result<Link> {
        let begun = Instant::now();
        let link = self.upstreams.connect(peer, silence).await;
        if let Ok(link) = &link {
            self.metrics.connected(link.reused, begun.elapsed());
        }
        if let Some(trace) = &journey.trace {
            let reused = link.as_ref().ok().map(|link| link.reused);
            trace.note(begun, What::Connect { server: peer.address, reused });
        }
        link.inspect_err(|error| self.no_answer(journey, pool, peer.address, error))
    }

    /// Notes that a server failed before its answer began. Nothing of what either side said is in these errors.
    pub(super) fn no_answer(&self, journey: &Journey, pool: &Pool, server: SocketAddr, error: &Error) {
        let upstream = &pool.settings().name;
        tracing::warn!(request_id = journey.id, upstream, %server, %error, "a server gave no answer");
        if pool.failed(server)
            && let Some(destination) = &journey.destination
        {
            destination.counts().ejected();
        }
    }
}

impl Link {
    pub fn is_http2(&self) -> bool {
        matches!(self.http, HttpSession::H2(_))
    }

    /// `is_whole`: no body follows.
    pub async fn send(&mut self, mut request: RequestHeader, is_whole: bool) -> Result<()> {
        let sent = match &mut self.http {
            HttpSession::H2(http) => {
                http2::address(&mut request, &self.server)?;
                http.write_request_header(Box::new(request), is_whole).map_err(http2::unsent)
            }
            http => http.write_request_header(Box::new(request)).await,
        };
        sent.map_err(|error| error.into_up())
    }

    pub async fn send_body(&mut self, piece: Bytes, is_last: bool) -> Result<()> {
        self.http.write_request_body(piece, is_last).await.map_err(|error| http2::told(error).into_up())
    }

    pub async fn finish_body(&mut self) -> Result<()> {
        self.http.finish_request_body().await.map_err(|error| http2::told(error).into_up())
    }

    /// The next header of the answer, be it an interim one. Over HTTP/2 those are passed over.
    pub async fn read_header(&mut self) -> Result<Option<&ResponseHeader>> {
        self.http.read_response_header().await.map_err(|error| http2::told(error).into_up())?;
        Ok(self.http.response_header())
    }

    pub async fn read_body(&mut self) -> Result<Option<Bytes>> {
        self.http.read_response_body().await.map_err(|error| http2::told(error).into_up())
    }

    /// From here on the server may be silent for as long as it likes.
    pub fn allow_silence(&mut self) {
        self.http.set_read_timeout(None);
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
    use ErrorType::{ConnectionClosed, H2Error, InvalidH2, ReadError, ReadTimedout, WriteError, WriteTimedout};
    let lost = matches!(error.etype(), ConnectionClosed | ReadError | ReadTimedout | WriteError | WriteTimedout);
    let lost = lost || matches!(error.etype(), H2Error | InvalidH2) || was_not_processed(error);
    lost && *error.esource() == ErrorSource::Upstream
}

/// The server says so, or was not told of the request.
pub fn was_not_processed(error: &Error) -> bool {
    *error.etype() == NOT_PROCESSED
}

fn is_http1_only(peer: &HttpPeer) -> bool {
    peer.options.alpn.get_max_http_version() == 1
}

fn gone(cause: &'static str) -> Box<Error> {
    status_error(404, cause)
}
