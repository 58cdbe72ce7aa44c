//! What goes to an upstream, and what is believed of its answer.

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;

use super::http_messages::status_error;
use super::journey::{Destination, Journey};
use super::route::Endpoint;
use super::{Edge, MCP_SESSION_ID, challenge, headers};
use crate::oauth::resource_metadata_url;
use crate::pool::{EndpointRewriter, McpSession, Name, Peer};

impl Edge {
    /// The request's header for the upstream: the client's own credentials and claims out, ours in.
    pub(super) fn prepare(&self, session: &Session, upstream: &mut RequestHeader, journey: &Journey) -> Result<()> {
        let destination = journey.destination()?;
        let peer = journey.peer()?;
        upstream.set_uri(destination.uri(upstream.uri.query())?);
        for name in headers::refused_upstream(&upstream.headers) {
            upstream.remove_header(&name);
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
        upstream.insert_header(HOST, peer.authority())?;
        upstream.insert_header("x-forwarded-host", self.public_url.authority())?;
        upstream.insert_header("x-forwarded-proto", self.public_url.scheme())?;
        if let Some(client) = self.client(session) {
            upstream.insert_header("x-forwarded-for", client.to_string())?;
        }
        upstream.insert_header("x-request-id", journey.id.as_str())?;
        // Replaces the caller's own token, which must never reach an upstream.
        upstream.insert_header(AUTHORIZATION, destination.admitted.bearer())?;
        Ok(())
    }

    /// The answer's header for the client: what only the edge may say out, sessions sealed, streams marked.
    pub(super) fn receive(&self, response: &mut ResponseHeader, journey: &mut Journey) -> Result<()> {
        for name in headers::refused_downstream(&response.headers) {
            response.remove_header(&name);
        }
        if response.status.is_redirection() && response.status != StatusCode::NOT_MODIFIED {
            return Err(status_error(502, "the upstream redirects, and MCP paths never do"));
        }
        if response.status == StatusCode::UNAUTHORIZED {
            self.answer_for_the_upstream(response, journey)?;
        }
        self.seal_session(response, journey)?;
        journey.streamed = is_event_stream(response);
        if journey.streamed {
            // Tells other proxies in front of us not to collect events (C5).
            response.insert_header("x-accel-buffering", "no")?;
        }
        if journey.destination()?.target.endpoint == Endpoint::Sse && response.status.is_success() {
            // Nothing but a stream that can be read is passed on: its endpoint event would go unseen.
            if !journey.streamed || response.headers.contains_key(CONTENT_ENCODING) {
                return Err(status_error(502, "the upstream's answer is no plain event stream"));
            }
            response.remove_header(&CONTENT_LENGTH);
            journey.rewriter = Some(EndpointRewriter::default());
        }
        response.insert_header("x-content-type-options", "nosniff")?;
        for (name, value) in journey.caller.cors() {
            response.insert_header(name, value)?;
        }
        Ok(())
    }

    /// The one event of a legacy stream that names the server's own path.
    pub(super) fn rewrite_endpoint(&self, body: &mut Option<Bytes>, journey: &mut Journey) -> Result<()> {
        let Some(mut rewriter) = journey.rewriter.take() else { return Ok(()) };
        if let Some(chunk) = body.take() {
            let (destination, peer) = (journey.destination()?, journey.peer()?);
            let ours = |endpoint: &str| self.message_url(destination, peer, endpoint);
            let rewritten = rewriter
                .feed(chunk, ours)
                .map_err(|cause| Error::because(ErrorType::InvalidHTTPHeader, "the upstream's event stream", cause))?;
            *body = Some(rewritten);
        }
        journey.rewriter = Some(rewriter);
        Ok(())
    }

    /// An upstream that refuses Entra's token speaks of its own authority; the client only knows us (B11).
    fn answer_for_the_upstream(&self, response: &mut ResponseHeader, journey: &mut Journey) -> Result<()> {
        let destination = journey.destination()?;
        let upstream = &destination.pool().settings().name;
        tracing::warn!(request_id = journey.id, upstream, "the upstream refused Entra's token");
        self.metrics.upstream_failed(upstream, "refused_token");
        let metadata = resource_metadata_url(&self.public_url, &destination.target.path());
        let (parts, _) = challenge::challenge(&metadata, Some("invalid_token")).into_parts();
        for name in [CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING] {
            response.remove_header(&name);
        }
        response.insert_header(CONTENT_LENGTH, "0")?;
        response.insert_header(WWW_AUTHENTICATE, &parts.headers[WWW_AUTHENTICATE])?;
        journey.drop_body = true;
        Ok(())
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

fn is_event_stream(response: &ResponseHeader) -> bool {
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}
