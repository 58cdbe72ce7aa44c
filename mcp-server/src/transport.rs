//! The ways in: Streamable HTTP at `/mcp` (both eras: with sessions up to 2025-11-25, stateless from 2026-07-28), legacy
//! HTTP+SSE at `/sse` with `/message`, and `/healthz`. All but the last lie behind the door of [`crate::auth`].
//!
//! `Host` and `Origin` are not checked. Those checks keep web pages from reaching a local server by DNS rebinding and
//! using what the browser or the address proves on its own. Here neither proves anything: every single request must carry
//! an Entra token for this server, asked for by the gateway, which no page can have. So the gateway may reach the server by
//! any name or address.

mod owned_sessions;
mod sse;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any_service, get, post};
use http::{StatusCode, header};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use crate::auth::{Caller, Door, guard};
use crate::step_up;
use crate::tools::Tools;
use owned_sessions::OwnedSessions;
use sse::Streams;

/// Everything the server answers. Streams and sessions end when `stopping` is cancelled.
pub(crate) fn router(door: Arc<Door>, tools: Tools, stopping: &CancellationToken) -> Router {
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_max_request_body_bytes(LARGEST_BODY)
        .with_cancellation_token(stopping.child_token());
    let streams = Streams::new(tools.clone(), stopping.child_token());
    let watch = middleware::from_fn_with_state(tools.clone(), step_up::watch);
    let service = StreamableHttpService::new(move || Ok(tools.clone()), Arc::new(OwnedSessions::default()), config);
    let guarded = Router::new()
        .route("/mcp", any_service(service).layer(middleware::from_fn(as_caller)))
        .route("/sse", get(sse::open))
        .route("/message", post(sse::message).layer(DefaultBodyLimit::max(LARGEST_BODY)))
        .with_state(streams)
        .layer(watch)
        .method_not_allowed_fallback(async || json_error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"))
        .layer(middleware::from_fn_with_state(door, guard));
    guarded.route("/healthz", get(async || "ok")).fallback(async || json_error(StatusCode::NOT_FOUND, "not_found"))
}

/// Runs a request with its caller known to [`OwnedSessions`], whose interface has no place for one.
async fn as_caller(request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>().map(Caller::identity) {
        Some(identity) => owned_sessions::as_owner(identity, next.run(request)).await,
        None => json_error(StatusCode::UNAUTHORIZED, "invalid_token"),
    }
}

fn json_error(status: StatusCode, error: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!(r#"{{"error":"{error}"}}"#)).into_response()
}

/// Bytes. Tool calls here have no arguments to speak of.
pub(crate) const LARGEST_BODY: usize = 1 << 20;
