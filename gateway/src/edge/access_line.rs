//! One line for each request. docs/logs.md says what each field means; a test compares.

use std::borrow::Cow;
use std::time::Duration;

use http::{Method, Version};
use pingora::prelude::Error;
use pingora_proxy::Session;

use super::Edge;
use super::journey::{Destination, Journey};
use crate::log;

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
        log::access(|line| {
            line.text("request_id", &journey.id);
            line.some("trace_id", journey.trace_id(&header.headers).map(|id| id.to_text()));
            if let Some(client) = self.client(session) {
                line.address("client", client, None);
            }
            line.text("protocol", protocol(session, header.version));
            line.text("method", method(session));
            line.text("route", journey.route);
            line.some("path", target.map(|target| Cow::from(target.path())).or(journey.endpoint.map(Cow::from)));
            line.number("status", status.into());
            line.some("code", journey.code);
            line.some("reason", journey.reason);
            line.number("bytes", session.body_bytes_sent() as u64);
            line.number("duration_ms", millis(took));
            for (name, before, stage) in [
                ("admit_us", None, stages.admitted),
                ("connect_us", stages.admitted, stages.connected),
                ("answer_us", stages.connected, stages.answered),
            ] {
                if let Some(stage) = stage {
                    line.number(name, micros(stage.saturating_sub(before.unwrap_or_default())));
                }
            }
            line.some("upstream", target.map(|target| target.upstream.pool.settings().name.as_str()));
            if let Some(peer) = &journey.peer {
                line.address("server", peer.address.ip(), Some(peer.address.port()));
            }
            line.some("session", journey.destination.as_ref().map(|Destination { admitted, .. }| admitted.reference()));
            line.some("error", error.map(|error| error.etype().as_str()));
        });
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
