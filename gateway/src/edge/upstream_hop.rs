//! What goes to an upstream, and what is believed of its answer.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;

use super::http_messages::status_error;
use super::journey::{Destination, Journey};
use super::route::Endpoint;
use super::{Edge, MCP_SESSION_ID, headers};
use crate::pool::{EndpointRewriter, McpSession, Name, Peer};
use crate::trace_context::{TRACEPARENT, TRACESTATE};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What becomes of the body of an upstream's answer.
pub enum AnswerBody {
    None,
    Whole,
    /// Events, one by one. Those of the legacy transport begin with the address that messages are posted to.
    Events(Option<EndpointRewriter>),
}

impl Edge {
    /// The request's header for the upstream: the client's own credentials and claims out, ours in, no word on the framing.
    pub(super) fn prepare(&self, session: &Session, journey: &Journey) -> Result<RequestHeader> {
        let client = session.req_header();
        let destination = journey.destination()?;
        let path = destination.path(client.uri.query());
        let mut upstream =
            RequestHeader::build_no_case(client.method.clone(), path.as_bytes(), Some(client.headers.len() + 8))?;
        upstream.set_version(Version::HTTP_11);
        let passed = headers::to_upstream(&client.headers)
            .ok_or_else(|| status_error(400, "the Connection header is no list of names"))?;
        for (name, value) in passed {
            upstream.append_header(name, value)?;
        }
        if destination.target.endpoint == Endpoint::Sse {
            // The endpoint event must arrive in clear to be rewritten.
            upstream.remove_header(&ACCEPT_ENCODING);
        }
        if let Some(Name::Id(id)) = destination.session.as_ref().map(McpSession::name) {
            upstream.insert_header(MCP_SESSION_ID, id)?;
        }
        for (name, value) in &destination.pool().settings().headers {
            upstream.insert_header(name, value)?;
        }
        upstream.insert_header(HOST, journey.peer()?.authority())?;
        upstream.insert_header(X_FORWARDED_HOST, self.public_url.authority())?;
        upstream.insert_header(X_FORWARDED_PROTO, self.public_url.scheme())?;
        if let Some(client) = self.client(session) {
            upstream.insert_header(X_FORWARDED_FOR, client.to_string())?;
        }
        upstream.insert_header(X_REQUEST_ID, journey.id.as_str())?;
        if let Some(trace) = &journey.trace {
            upstream.insert_header(TRACEPARENT, trace.exchange(journey.peer()?.address))?;
            if !trace.is_continued() {
                upstream.remove_header(&TRACESTATE);
            }
        }
        // Replaces the caller's own token, which must never reach an upstream.
        upstream.insert_header(AUTHORIZATION, destination.admitted.bearer())?;
        Ok(upstream)
    }

    /// The answer's header for the client: what only the edge may say out, sessions sealed, streams marked.
    pub(super) fn receive(
        &self,
        request: &RequestHeader,
        response: &mut ResponseHeader,
        journey: &mut Journey,
    ) -> Result<AnswerBody> {
        if response.status.is_redirection() && response.status != StatusCode::NOT_MODIFIED {
            return Err(status_error(502, "the upstream redirects, and MCP paths never do"));
        }
        let length = content_length(response);
        for name in headers::kept_from_client(&response.headers) {
            response.remove_header(&name);
        }
        self.seal_session(response, journey)?;
        let has_body = request.method != Method::HEAD
            && !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let is_sse = journey.destination()?.target.endpoint == Endpoint::Sse && response.status.is_success();
        journey.streamed = has_body && is_event_stream(response);
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
        frame(request, response, &body, length)?;
        if journey.streamed {
            // Tells other proxies in front of us not to collect events (C5).
            response.insert_header(X_ACCEL_BUFFERING, HeaderValue::from_static("no"))?;
        }
        response.insert_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))?;
        for (name, value) in journey.caller.cors() {
            response.insert_header(name, value)?;
        }
        Ok(body)
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
    fn seal_session(&self, response: &mut ResponseHeader, journey: &Journey) -> Result<()> {
        let Some(id) = response.headers.get(MCP_SESSION_ID) else { return Ok(()) };
        let id = id.to_str().or_err(ErrorType::InvalidHTTPHeader, "the upstream's session id")?;
        let destination = journey.destination()?;
        let session = McpSession::opened(journey.peer()?, id);
        let resource = destination.target.upstream.resource.url();
        let sealed = session.seal(&self.sealer, destination.admitted.session(), resource);
        response.insert_header(MCP_SESSION_ID, sealed)
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

/// Says how the answer is framed for the client: by the upstream's length, or in chunks. HTTP/2 needs neither, and its writer
/// drops the chunks; HTTP/1.0 knows no chunks, and there the end of the connection is the end.
fn frame(request: &RequestHeader, response: &mut ResponseHeader, body: &AnswerBody, length: Option<u64>) -> Result<()> {
    response.set_version(Version::HTTP_11);
    match (body, length) {
        // What is added to a stream would not be in its length.
        (AnswerBody::Events(_), _) | (AnswerBody::Whole, None) => {
            if request.version != Version::HTTP_10 {
                response.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
        }
        (_, Some(length)) if response.status != StatusCode::NO_CONTENT => {
            response.insert_header(CONTENT_LENGTH, length.to_string())?;
        }
        (AnswerBody::None | AnswerBody::Whole, _) => {}
    }
    Ok(())
}

/// The length that the upstream announced. Pingora has refused it when it was given twice and differently.
fn content_length(response: &ResponseHeader) -> Option<u64> {
    let value = response.headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
}

fn is_event_stream(response: &ResponseHeader) -> bool {
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}
