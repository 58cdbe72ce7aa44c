//! What traces get of requests.

use std::sync::Arc;
use std::time::Instant;

use http::Version;
use pingora::prelude::Error;
use pingora::protocols::l4::socket::SocketAddr;
use pingora_proxy::Session;

use super::Edge;
use super::access_line::method;
use super::journey::{Destination, Journey};
use crate::traces::{Admission, Request, Trace};

impl Edge {
    /// `None` where none are made.
    pub(super) fn begin_trace(&self, session: &Session) -> Option<Arc<Trace>> {
        let traces = self.traces.as_ref()?;
        let peer = session.client_addr().and_then(SocketAddr::as_inet).map(|peer| peer.ip());
        Some(traces.begin(peer, &session.req_header().headers))
    }

    /// Nothing of it is in the client's own words.
    pub(super) fn end_trace(&self, session: &Session, journey: &mut Journey, status: u16, error: Option<&Error>) {
        let Some(trace) = journey.trace.take() else { return };
        let target = journey.target.as_ref();
        trace.end(|| Request {
            ended: Instant::now(),
            method: method(session),
            path: target.map(|target| target.path()).or(journey.endpoint.map(str::to_owned)),
            version: match session.req_header().version {
                _ if session.is_http2() => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            status,
            request_id: journey.id.clone(),
            reason: journey.reason,
            code: journey.code,
            error: error.map(|error| error.etype().as_str().to_owned()),
            upstream: target.map(|target| target.upstream.pool.settings().name.clone()),
            streamed: journey.streamed,
            admission: journey.destination.as_ref().map(|Destination { admitted, .. }| Admission {
                begun: admitted.stages().begun,
                open: admitted.stages().open,
                lookup: admitted.stages().lookup,
                tier: admitted.tier().name(),
            }),
        });
    }
}
