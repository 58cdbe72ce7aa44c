//! The instance metadata service: tokens of the machine's managed identities. The same identities in the form App
//! Service gives them are in [`app_service`].

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use crate::call::{Call, Outcome};
use crate::directory::{Identity, Seed};
use crate::jwt::Jwt;
use crate::tokens::identity_token;
use crate::world::World;

pub(crate) mod app_service;

/// First API version with this endpoint.
const OLDEST: &str = "2018-02-01";

/// GET `/metadata/identity/oauth2/token`; the first segment in any case.
pub(crate) async fn token(
    State(world): State<Arc<World>>,
    Path(metadata): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Response {
    if !metadata.eq_ignore_ascii_case("metadata") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let answer =
        issue(&world, &call).unwrap_or_else(|complaint| error(StatusCode::BAD_REQUEST, "invalid_request", complaint));
    signed_by_server(answer)
}

/// GET `/metadata/identity/getplatformmetadata` and `/issuecredential`: IMDS of the second version, which this is not.
pub(crate) async fn second_version() -> Response {
    signed_by_server(StatusCode::NOT_FOUND.into_response())
}

/// The shape of IMDS errors.
pub(crate) fn error(status: StatusCode, code: &str, text: &str) -> Response {
    let mut response = (status, Json(json!({"error": code, "error_description": text}))).into_response();
    response.extensions_mut().insert(Outcome(format!("{code}: {text}")));
    response
}

fn issue(world: &World, call: &Call) -> Result<Response, &'static str> {
    if call.headers.contains_key("x-forwarded-for") {
        // A forwarded request is somebody else's: the defence against request forgery through a proxy.
        return Err("Request contains a forbidden header: X-Forwarded-For");
    }
    if !call.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err("Required metadata header not specified");
    }
    match call.query.get("api-version") {
        None => return Err("Required query variable 'api-version' is missing"),
        Some(version) if !is_date(version) || version < OLDEST => {
            return Err("The requested API version is not supported");
        }
        Some(_) => {}
    }
    let resource = call.query.get("resource").ok_or("Required query variable 'resource' is missing")?;
    let Granted { identity, token, resource, not_before, expires_on } = grant(world, call, resource)?;
    // Every value is a string, unlike the token endpoint's.
    let mut response = Json(json!({
        "access_token": token, "client_id": identity.client_id, "expires_in": "86399", "expires_on": expires_on,
        "ext_expires_in": "86399", "not_before": not_before, "resource": resource, "token_type": "Bearer",
    }))
    .into_response();
    response.extensions_mut().insert(Outcome(format!("token of {}", identity.name)));
    Ok(response)
}

/// A token of one of the machine's identities.
struct Granted {
    identity: Identity,
    token: String,
    resource: String,
    /// Seconds since the epoch, as text.
    not_before: String,
    expires_on: String,
}

/// # Errors
/// The query names no identity, or none of these.
fn grant(world: &World, call: &Call, resource: &str) -> Result<Granted, &'static str> {
    let identity = selected(&world.directory(), call)?.clone();
    let token = identity_token(world, &identity, resource, false);
    let times = Jwt::parse(&token).map(|token| (token.claims["nbf"].to_string(), token.claims["exp"].to_string()));
    let (not_before, expires_on) = times.ok_or("The token could not be read back")?;
    Ok(Granted { identity, token, resource: resource.into(), not_before, expires_on })
}

/// The identity the query names, else the machine's own, else the only one.
fn selected<'a>(directory: &'a Seed, call: &Call) -> Result<&'a Identity, &'static str> {
    let query = &call.query;
    let mut identities = directory.identities.iter();
    let found = if let Some(id) = query.get("client_id") {
        identities.find(|identity| identity.client_id.eq_ignore_ascii_case(id))
    } else if let Some(id) = query.get("object_id") {
        identities.find(|identity| identity.principal_id.eq_ignore_ascii_case(id))
    } else if let Some(id) = query.get("msi_res_id").or(query.get("mi_res_id")) {
        identities.find(|identity| identity.resource_id.eq_ignore_ascii_case(id))
    } else if let Some(own) = directory.identities.iter().find(|identity| identity.system_assigned) {
        return Ok(own);
    } else if directory.identities.len() > 1 {
        return Err(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request",
        );
    } else {
        identities.next()
    };
    found.ok_or("Identity not found")
}

fn is_date(version: &str) -> bool {
    version.len() == 10
        && version.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
}

fn signed_by_server(mut response: Response) -> Response {
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("IMDS/150.870.65.1854"));
    response
}
