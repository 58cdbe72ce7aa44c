//! What goes to an upstream, and what is believed of its answer.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, InvalidHeaderValue,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, request, response};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;

use super::http_messages::status_error;
use super::journey::{Destination, Journey};
use super::route::Endpoint;
use super::{Edge, MCP_SESSION_ID, headers};
use crate::pool::{EndpointRewriter, McpSession, Name, Peer};
use crate::source;
use crate::trace_context::{TRACEPARENT, TRACESTATE};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// So many at most come to those of the client.
const OWN_HEADERS: usize = 8;

/// What becomes of the body of an upstream's answer.
pub enum AnswerBody {
    None,
    Whole,
    /// Events, one by one. Those of the legacy transport begin with the address that messages are posted to.
    Events(Option<EndpointRewriter>),
}

impl Edge {
    /// The request's header for the upstream: the client's own credentials and claims out, ours in, no word on the framing.
    ///
    /// Made without Pingora's own form of it, which keeps the spelling of each name, in pieces of memory of their own.
    pub(super) fn prepare(&self, session: &Session, journey: &Journey) -> Result<request::Parts> {
        let client = session.req_header();
        let destination = journey.destination()?;
        let mut upstream = Request::new(()).into_parts().0;
        upstream.method = client.method.clone();
        upstream.uri = Uri::builder()
            .path_and_query(destination.path(client.uri.query()))
            .build()
            .or_err(ErrorType::InvalidHTTPHeader, "no path for the upstream")?;
        let passed = headers::to_upstream(&client.headers)
            .ok_or_else(|| status_error(400, "the Connection header is no list of names"))?;
        let headers = &mut upstream.headers;
        headers.reserve(client.headers.len() + OWN_HEADERS);
        for (name, value) in passed {
            headers.append(name, value.clone());
        }
        if destination.target.endpoint == Endpoint::Sse {
            // The endpoint event must arrive in clear to be rewritten.
            headers.remove(ACCEPT_ENCODING);
        }
        if let Some(Name::Id(id)) = destination.session.as_ref().map(McpSession::name) {
            headers.insert(MCP_SESSION_ID, value(id.as_str())?);
        }
        for (name, value) in &destination.pool().settings().headers {
            headers.insert(name, value.clone());
        }
        headers.insert(HOST, journey.peer()?.authority().clone());
        headers.insert(X_FORWARDED_HOST, value(self.public_url.authority())?);
        headers.insert(X_FORWARDED_PROTO, value(self.public_url.scheme())?);
        if let Some(client) = self.client(session) {
            headers.insert(X_FORWARDED_FOR, value(source::text(client))?);
        }
        headers.insert(X_REQUEST_ID, value(journey.id.as_str())?);
        if let Some(trace) = &journey.trace {
            headers.insert(TRACEPARENT, trace.exchange(journey.peer()?.address));
            if !trace.is_continued() {
                headers.remove(TRACESTATE);
            }
        }
        // Replaces the caller's own token, which must never reach an upstream.
        headers.insert(AUTHORIZATION, destination.admitted.bearer().clone());
        Ok(upstream)
    }

    /// The answer's header for the client: what only the edge may say out, sessions sealed, streams marked.
    pub(super) fn receive(
        &self,
        request: &RequestHeader,
        mut response: response::Parts,
        journey: &mut Journey,
    ) -> Result<(Box<ResponseHeader>, AnswerBody)> {
        if response.status.is_redirection() && response.status != StatusCode::NOT_MODIFIED {
            return Err(status_error(502, "the upstream redirects, and MCP paths never do"));
        }
        let length = content_length(&response.headers);
        for name in headers::kept_from_client(&response.headers) {
            response.headers.remove(&name);
        }
        self.seal_session(&mut response.headers, journey)?;
        let has_body = request.method != Method::HEAD
            && !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let is_sse = journey.destination()?.target.endpoint == Endpoint::Sse && response.status.is_success();
        journey.streamed = has_body && is_event_stream(&response.headers);
        // Nothing but a stream that can be read is passed on: its endpoint event would go unseen.
        if is_sse && has_body && (!journey.streamed || response.headers.contains_key(CONTENT_ENCODING)) {
            return Err(status_error(502, "the upstream's answer is no plain event stream"));
        }
        let body = if !has_body {
            AnswerBody::None
        } else if journey.streamed {
            AnswerBody::Events(is_sse.then(EndpointRewriter::default))
        } else {
            AnswerBody::Whole
        };
        frame(request, &mut response, &body, length);
        if journey.streamed {
            // Tells other proxies in front of us not to collect events (C5).
            response.headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        response.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in journey.caller.cors() {
            response.headers.insert(name, value);
        }
        Ok((Box::new(response.into()), body))
    }

    /// The one event of a legacy stream that names the server's own path.
    pub(super) fn rewrite_endpoint(
        &self,
        rewriter: &mut EndpointRewriter,
        chunk: Bytes,
        journey: &Journey,
    ) -> Result<Bytes> {
        let (destination, peer) = (journey.destination()?, journey.peer()?);
        let ours = |endpoint: &str| self.message_url(destination, peer, endpoint);
        rewriter.feed(chunk, ours).map_err(|cause| {
            Error::because(ErrorType::InvalidHTTPHeader, "the upstream's event stream", cause).into_up()
        })
    }

    /// The session that an upstream opens gets a name that only this user can use, and that any replica can route (D10).
    fn seal_session(&self, answer: &mut HeaderMap, journey: &Journey) -> Result<()> {
        let Some(id) = answer.get(MCP_SESSION_ID) else { return Ok(()) };
        let id = id.to_str().or_err(ErrorType::InvalidHTTPHeader, "the upstream's session id")?;
        let destination = journey.destination()?;
        let session = McpSession::opened(journey.peer()?, id);
        let resource = destination.target.upstream.resource.url();
        let sealed = session.seal(&self.sealer, destination.admitted.session(), resource);
        answer.insert(MCP_SESSION_ID, value(sealed)?);
        Ok(())
    }

    /// Our own URL for the message endpoint that an upstream announced.
    fn message_url(&self, destination: &Destination, peer: &Peer, endpoint: &str) -> Option<String> {
        let resource = &destination.target.upstream.resource;
        let stream_path = &destination.pool().settings().sse_endpoint;
        let message = McpSession::announced(peer, stream_path, endpoint)?;
        let sealed = message.seal(&self.sealer, destination.admitted.session(), resource.url());
        Some(format!("{}{}?sessionId={sealed}", resource.path(), Endpoint::Message.suffix()))
    }
}

fn value(text: impl TryInto<HeaderValue, Error = InvalidHeaderValue>) -> Result<HeaderValue> {
    text.try_into().or_err(ErrorType::InvalidHTTPHeader, "no value of a header")
}

/// Says how the answer is framed for the client: by the upstream's length, or in chunks. HTTP/2 needs neither, and its writer
/// drops the chunks; HTTP/1.0 knows no chunks, and there the end of the connection is the end.
fn frame(request: &RequestHeader, response: &mut response::Parts, body: &AnswerBody, length: Option<u64>) {
    response.version = Version::HTTP_11;
    match (body, length) {
        // What is added to a stream would not be in its length.
        (AnswerBody::Events(_), _) | (AnswerBody::Whole, None) => {
            if request.version != Version::HTTP_10 {
                response.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        (_, Some(length)) if response.status != StatusCode::NO_CONTENT => {
            response.headers.insert(CONTENT_LENGTH, length.into());
        }
        (AnswerBody::None | AnswerBody::Whole, _) => {}
    }
}

/// The length that the upstream announced. Pingora has refused it when it was given twice and differently.
fn content_length(answer: &HeaderMap) -> Option<u64> {
    let value = answer.get(CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
}

fn is_event_stream(answer: &HeaderMap) -> bool {
    let content_type = answer.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}
