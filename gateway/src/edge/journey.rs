//! What one request carries from hook to hook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use pingora::prelude::{Error, ErrorType, Result};

use super::headers::Caller;
use super::limits::Exchange;
use super::live::Live;
use super::route::{Endpoint, Target};
use super::tool_gate::ReadBody;
use crate::drain::InFlight;
use crate::metrics::UpstreamCounts;
use crate::pool::{McpSession, Name, Peer, Pool};
use crate::secret::random_number;
use crate::session::{Admitted, StreamSlot};
use crate::trace_context::TraceId;
use crate::traces::Trace;

pub struct Journey {
    /// The configuration that it began under, and goes by to its end.
    pub live: Arc<Live>,
    /// Names the request in our logs, in the upstream's, and on error pages.
    pub id: String,
    /// A label, never the path itself.
    pub route: &'static str,
    /// Of our own endpoints, the path as the log has it.
    pub endpoint: Option<&'static str>,
    /// The upstream whose path was asked for.
    pub target: Option<Target>,
    pub stages: Stages,
    /// Why it was not served, in a word for the log.
    pub reason: Option<&'static str>,
    /// Of an error page: `SP-1303`.
    pub code: Option<&'static str>,
    /// The tools that its body calls, where it was read.
    pub calls: Option<Vec<Box<str>>>,
    /// It was let through to an upstream.
    pub relayed: bool,
    pub started: Instant,
    /// Where traces are made: its own.
    pub trace: Option<Arc<Trace>>,
    pub caller: Caller,
    /// Set by admission alone. Without it no hook gets upstream.
    pub destination: Option<Destination>,
    pub peer: Option<Peer>,
    pub streamed: bool,
    /// Its place among the event streams of its session.
    pub slot: Option<StreamSlot>,
    /// Its place among the exchanges of all sessions.
    pub exchange: Option<Exchange>,
    /// The request's body, where it was read before going upstream.
    pub body: Option<ReadBody>,
    _in_flight: InFlight,
}

/// When a request got how far, counted from its header.
#[derive(Clone, Copy, Default)]
pub struct Stages {
    /// Its token was opened and its session found.
    pub admitted: Option<Duration>,
    /// A connection to a server was there.
    pub connected: Option<Duration>,
    /// The header of the server's answer was there.
    pub answered: Option<Duration>,
}

/// Where an admitted request goes.
pub struct Destination {
    pub target: Target,
    pub admitted: Admitted,
    /// The upstream's session that the request names, opened.
    pub session: Option<McpSession>,
}

impl Journey {
    pub fn new(live: Arc<Live>, in_flight: InFlight) -> Self {
        Self {
            live,
            id: format!("{:016x}", random_number()),
            route: "none",
            endpoint: None,
            target: None,
            stages: Stages::default(),
            reason: None,
            code: None,
            calls: None,
            relayed: false,
            started: Instant::now(),
            trace: None,
            caller: Caller::Program,
            destination: None,
            peer: None,
            streamed: false,
            slot: None,
            exchange: None,
            body: None,
            _in_flight: in_flight,
        }
    }

    /// What ties its lines to others: its own trace, or where none are made that of the client, whose word it is then.
    pub fn trace_id(&self, headers: &HeaderMap) -> Option<TraceId> {
        self.trace.as_ref().map(|trace| trace.id()).or_else(|| TraceId::of(headers))
    }

    /// Every request for an upstream was admitted in `request_filter`; if one was not, this fails closed.
    pub fn destination(&self) -> Result<&Destination> {
        self.destination.as_ref().ok_or_else(|| Error::explain(ErrorType::InternalError, "a request was not admitted"))
    }

    pub fn peer(&self) -> Result<&Peer> {
        self.peer.as_ref().ok_or_else(|| Error::explain(ErrorType::InternalError, "no server was picked"))
    }
}

impl Destination {
    pub fn pool(&self) -> &Pool {
        &self.target.upstream.pool
    }

    pub fn counts(&self) -> &UpstreamCounts {
        &self.target.upstream.counts
    }

    /// Path and query on the server. The client's own query goes along, except where ours carries a sealed session.
    pub fn path(&self, query: Option<&str>) -> String {
        let settings = self.pool().settings();
        match (self.session.as_ref().map(McpSession::name), self.target.endpoint) {
            (Some(Name::MessageEndpoint(endpoint)), _) => endpoint.clone(),
            (_, Endpoint::Sse) => with_query(&settings.sse_endpoint, query),
            (_, _) => with_query(&settings.endpoint, query),
        }
    }
}

impl Target {
    /// The path as the client knows it.
    pub fn path(&self) -> String {
        format!("{}{}", self.upstream.resource.path(), self.endpoint.suffix())
    }
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}
