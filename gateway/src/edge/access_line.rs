//! One line for each request. docs/logs.md says what each field means; a test compares.

use std::time::Duration;

use http::{Method, Version};
use pingora::prelude::Error;
use pingora_proxy::Session;

use super::Edge;
use super::journey::{Destination, Journey};
use crate::audit::TraceId;

impl Edge {
    /// Neither the path nor the query, where codes and sessions travel, nor anything else that the client has made up.
    pub(super) fn write_access_line(
        &self,
        session: &Session,
        journey: &Journey,
        status: u16,
        took: Duration,
        error: Option<&Error>,
    ) {
        let header = session.req_header();
        let target = journey.target.as_ref();
        let stages = &journey.stages;
        let since = |before: Option<Duration>, stage: Option<Duration>| {
            Some(micros(stage?.saturating_sub(before.unwrap_or_default())))
        };
        tracing::info!(
            target: "access",
            request_id = journey.id,
            trace_id = TraceId::of(&header.headers).map(|id| display(id.to_text())),
            client = self.client(session).map(display),
            protocol = protocol(session, header.version),
            method = method(session),
            route = journey.route,
            path = target.map(|target| display(target.path())).or(journey.endpoint.map(|path| display(path.to_owned()))),
            status,
            code = journey.code,
            reason = journey.reason,
            bytes = session.body_bytes_sent(),
            duration_ms = millis(took),
            admit_us = since(None, stages.admitted),
            connect_us = since(stages.admitted, stages.connected),
            answer_us = since(stages.connected, stages.answered),
            upstream = target.map(|target| target.upstream.pool.settings().name.as_str()),
            server = journey.peer.as_ref().map(|peer| display(peer.address)),
            session = journey.destination.as_ref().map(|Destination { admitted, .. }| admitted.reference()),
            error = error.map(|error| error.etype().as_str()),
        );
    }
}

/// One that somebody made up could be of any length.
pub(super) fn method(session: &Session) -> &'static str {
    match session.req_header().method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

fn protocol(session: &Session, version: Version) -> &'static str {
    match version {
        _ if session.is_http2() => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
