//! The request's journey, hook by hook. The order here is the security of the whole:
//!
//! | hook | what happens |
//! | --- | --- |
//! | `early_request_filter` | bounds on the connection |
//! | `request_filter` | host, route; our own endpoints are answered; everything else must be admitted (`admission`), its tools allowed where rules stand (`tool_gate`), and goes upstream only with an `Admitted` (`relay`, `upstream_hop`) |
//! | `fail_to_proxy`, `logging` | one answer for what went wrong, one line, one count |
//!
//! `request_filter` answers every request: Pingora's own proxy loop, and the hooks that belong to it, are not used.

mod access_line;
mod admission;
mod audited;
mod bounds;
mod challenge;
mod connected;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod header_deadline;
mod headers;
mod http_messages;
mod idle;
mod journey;
mod limits;
mod live;
mod refusal;
mod relay;
mod route;
mod tool_gate;
mod traced;
mod upstream_hop;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderName, Method};
use pingora::ErrorSource;
use pingora::modules::http::HttpModules;
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

pub use bounds::Bounds;
pub use challenge::Challenges;
pub use connected::Connected;
pub use header_deadline::{HeaderDeadline, arrived as header_arrived};
pub use headers::{Origins, kept_from_client, to_upstream};
pub use idle::IdleConnections;
pub use limits::{LimitSettings, Limits};
pub use live::Live;
pub use relay::{StreamSettings, Upstreams};
pub use route::{Routes, Upstream};
pub use tool_gate::LongBodies;

use crate::audit::Audit;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::public_url::PublicUrl;
use crate::sealed::Sealer;
use crate::source::TrustedProxies;
use crate::traces::{self, Traces};
use framing::is_framed_once;
use headers::with_headers;
use http_messages::{answered, has_long_header, linger, write_whole};
use journey::Journey;
use refusal::Refusal;

const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Everything the edge works with. It is built once, in `server`.
pub struct Edge {
    pub public_url: PublicUrl,
    /// Asked once for each request, when its header has come.
    pub live: Arc<ArcSwap<Live>>,
    pub sealer: Sealer,
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    /// The connections to every pool's servers.
    pub upstreams: Upstreams,
    pub trusted_proxies: TrustedProxies,
    pub bounds: Arc<Bounds>,
    pub long_bodies: LongBodies,
    pub audit: Audit,
    pub traces: Option<Traces>,
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Journey;

    fn new_ctx(&self) -> Journey {
        Journey::new(self.live.load_full(), self.drain.enter())
    }

    /// None: nothing is compressed here, and each request would carry what could.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _journey: &mut Journey) -> Result<()> {
        header_arrived();
        if session.get_keepalive_reuses_remaining() == Some(0) {
            self.metrics.limited("requests_per_connection");
        }
        // Who asked for an end, or knows of nothing else as HTTP/1.0 does, waits for it.
        let stays = session.get_keepalive().is_some() && !self.drain.is_draining();
        session.set_keepalive(stays.then_some(self.bounds.keep_alive.as_secs()));
        session.set_read_timeout(Some(self.bounds.read_time));
        session.set_write_timeout(Some(self.bounds.write_time));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, journey: &mut Journey) -> Result<bool> {
        journey.trace = self.begin_trace(session);
        if has_long_header(session, &self.bounds) {
            return self.refuse(session, journey, Refusal::HeaderTooLarge).await;
        }
        let raw = session.as_http1().map(|http| http.get_headers_raw_bytes());
        if !is_framed_once(&session.req_header().headers, raw.as_deref()) {
            session.set_keepalive(None);
            return self.refuse(session, journey, Refusal::BadRequest).await;
        }
        if !self.is_for_us(session) {
            let refusal = Self::misdirected(session);
            return self.refuse(session, journey, refusal).await;
        }
        let path = session.req_header().uri.path();
        if let Some(endpoint) = journey.live.oauth.endpoint(path) {
            (journey.route, journey.endpoint) = ("oauth", Some(endpoint));
            return traces::within(journey.trace.clone(), Box::pin(self.authorize(session, journey))).await;
        }
        match journey.live.routes.find(path) {
            Some(target) => {
                // Boxed, for a stream would hold the room that admitting it once needed.
                let admitted = traces::within(journey.trace.clone(), Box::pin(self.admit(session, journey, target)));
                let answered = admitted.await?
                    || self.has_tool_rules(journey) && Box::pin(self.check_tools(session, journey)).await?;
                if !answered {
                    journey.relayed = true;
                    self.relay(session, journey).await?;
                }
                Ok(true)
            }
            None => self.refuse(session, journey, Refusal::UnknownPath).await,
        }
    }

    /// Never reached: `request_filter` answers everything, and what it could not answer is an error.
    async fn upstream_peer(&self, _session: &mut Session, _journey: &mut Journey) -> Result<Box<HttpPeer>> {
        Err(Error::explain(ErrorType::InternalError, "only the relay goes upstream"))
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, journey: &mut Journey) -> FailToProxy {
        let refusal = Refusal::from_error(error);
        if let (Some(destination), Some(cause)) =
            (&journey.destination, refusal.as_ref().and_then(Refusal::upstream_cause))
        {
            destination.counts().failed(cause);
        }
        if let Some(refusal) = &refusal {
            self.count(refusal);
        }
        journey.reason = refusal.as_ref().map(Refusal::name);
        let error_code = refusal.as_ref().map_or(0, |refusal| refusal.status().as_u16());
        if let Some(refusal) = refusal
            && answered(session).is_none()
        {
            session.set_keepalive(None);
            let answer = with_headers(refusal.answer(), journey.caller.cors());
            // The client may be gone; there is nobody else to tell.
            let _ = write_whole(session, answer).await;
            if !session.is_body_done() {
                linger(session).await;
            }
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, journey: &mut Journey) {
        if session.is_http2()
            && error.is_some_and(|error| *error.esource() == ErrorSource::Downstream)
            && let Some(connected) = Connected::of(session.digest().and_then(|digest| digest.proxy_digest.as_ref()))
        {
            connected.count_reset(journey.live.limits.resets());
        }
        if error.is_some_and(|error| {
            *error.etype() == ErrorType::WriteTimedout && *error.esource() != ErrorSource::Upstream
        }) {
            self.metrics.limited("write_timeout");
        }
        let status = answered(session).map_or(0, |response| response.status.as_u16());
        let took = journey.started.elapsed();
        self.metrics.answered(journey.route, status, took, journey.streamed);
        self.note_calls(session, journey, status, took);
        if journey.live.access_log {
            self.write_access_line(session, journey, status, took, error);
        }
        self.end_trace(session, journey, status, error);
    }

    /// Pingora would log the URL with its query, where codes travel.
    fn request_summary(&self, session: &Session, journey: &Journey) -> String {
        format!("{} {} {}", access_line::method(session), journey.route, journey.id)
    }

    fn suppress_error_log(&self, _session: &Session, _journey: &Journey, error: &Error) -> bool {
        // A client that goes away is no fault of ours; `logging` counts it.
        matches!(error.esource(), ErrorSource::Downstream)
    }
}
