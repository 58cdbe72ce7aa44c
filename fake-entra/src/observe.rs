//! Around every request of the public port: read it once and bounded, apply a scripted fault, journal the outcome.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use crate::call::{Call, Outcome, Params};
use crate::clock::wall_milliseconds;
use crate::connection::Cutter;
use crate::errors::EntraError;
use crate::faults::Fault;
use crate::graph::GraphError;
use crate::imds;
use crate::jwt::Jwt;
use crate::pages;
use crate::world::World;

/// Largest request body that is read.
const BODY_LIMIT: usize = 256 * 1024;

/// The middleware.
pub(crate) async fn observe(
    State(world): State<Arc<World>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    request: Request,
    next: Next,
) -> Response {
    let started = wall_milliseconds();
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let is_form = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("application/x-www-form-urlencoded"));
    let mut call = Call {
        method: parts.method.clone(),
        path: parts.uri.path().into(),
        headers: parts.headers.clone(),
        query: Params::parse(parts.uri.query().unwrap_or_default().as_bytes()),
        form: if is_form { Params::parse(&body) } else { Params::default() },
        scripted: None,
    };
    let fault = world.faults.take(&call, &named_users(&world, &call));
    if let Some(fault) = &fault {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        call.scripted = fault.aadsts.filter(|_| call.path.ends_with("/authorize"));
    }
    let call = Arc::new(call);
    let scripted = fault.as_ref().and_then(|fault| scripted(&world, &call, fault, &cutter));
    let was_scripted = scripted.is_some();
    let mut response = match scripted {
        Some(response) => response,
        None => {
            parts.extensions.insert(call.clone());
            next.run(Request::from_parts(parts, Body::from(body))).await
        }
    };
    if let Some(fault) = &fault {
        response = decorated(response, fault).await;
    }
    let status = response.status();
    let outcome = match response.extensions().get::<Outcome>() {
        Some(Outcome(words)) => words.clone(),
        None => status.canonical_reason().unwrap_or("?").to_lowercase(),
    };
    let outcome = if was_scripted { format!("fault: {outcome}") } else { outcome };
    tracing::debug!(method = %call.method, path = call.path, status = status.as_u16(), outcome, "request");
    world.journal.record(&call, started, status.as_u16(), outcome, fault.is_some());
    response
}

/// Object id and name of the user a request is about, unproven: for matching faults only.
fn named_users(world: &World, call: &Call) -> Vec<String> {
    let tickets = world.tickets();
    let ticket = call.form.get("code").and_then(|code| tickets.code(code)).map(|code| code.authorization.oid.clone());
    let refreshed = call.form.get("refresh_token").and_then(|token| tickets.refresh_token(token));
    let ticket = ticket.or_else(|| refreshed.map(|token| token.authorization.oid.clone()));
    drop(tickets);
    let token = call.form.get("assertion").or(call.bearer()).and_then(Jwt::parse);
    let oid = ticket.or_else(|| token.map(|token| token.text("oid").to_owned()));
    let directory = world.directory();
    let user = oid.and_then(|oid| directory.user(&oid));
    user.map(|user| vec![user.oid.clone(), user.upn.clone()]).unwrap_or_default()
}

/// The answer a fault gives in the handler's place.
fn scripted(world: &World, call: &Call, fault: &Fault, cutter: &Cutter) -> Option<Response> {
    if fault.drop_connection {
        cutter.cut();
        let mut response = Response::default();
        response.extensions_mut().insert(Outcome("connection dropped".into()));
        return Some(response);
    }
    if call.scripted.is_some() || !fault.answers() {
        return None;
    }
    let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
    let failing = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = if let Some(body) = &fault.body {
        Json(body.clone()).into_response()
    } else if fault.html {
        let error = EntraError::new(90033);
        pages::error(failing, "The service is unavailable.", &error.report(world, &call.correlation()))
    } else if let Some(code) = fault.aadsts {
        EntraError::new(code).answer(world, call)
    } else if call.path.starts_with("/graph/") {
        GraphError::with_status(failing).answer(world, call)
    } else if call.path == "/msi/token" {
        imds::app_service::error(failing, imds_words(failing).1)
    } else if call.path.to_ascii_lowercase().starts_with("/metadata/") {
        let (code, text) = imds_words(failing);
        imds::error(failing, code, text)
    } else {
        let code = match failing.as_u16() {
            429 => 90055,
            500.. => 90033,
            _ => 90023,
        };
        EntraError::new(code).answer(world, call)
    };
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    Some(response)
}

fn imds_words(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        404 => ("not_found", "The identity endpoint is not available yet"),
        410 => ("gone", "The instance metadata service is being updated"),
        429 => ("too_many_requests", "Too many requests"),
        400 => ("invalid_request", "The request is not valid"),
        _ => ("internal_error", "The service failed"),
    }
}

/// Headers and truncation, which apply to scripted and real answers alike.
async fn decorated(mut response: Response, fault: &Fault) -> Response {
    if let Some(wait) = fault.retry_after.as_deref().and_then(|wait| HeaderValue::from_str(wait).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    for (name, value) in &fault.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    if !fault.truncate_body || fault.drop_connection {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    // The promised length stays: the client must notice.
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    Response::from_parts(parts, broken_after(whole.slice(..whole.len() / 2)))
}

/// A body that sends `part`, gives it time to leave, and breaks the connection.
fn broken_after(part: Bytes) -> Body {
    Body::from_stream(stream::unfold(Some(part), |part| async {
        match part {
            Some(part) => Some((Ok(part), None)),
            None => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Some((Err(std::io::Error::other("scripted fault")), None))
            }
        }
    }))
}
