//! The managed identity of App Service and Container Apps: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use uuid::Uuid;

use super::{Granted, grant};
use crate::call::{Call, Outcome};
use crate::world::World;

/// The one API version clients use.
const VERSION: &str = "2019-08-01";

/// GET `/msi/token`.
pub(crate) async fn token(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    match issue(&world, &call) {
        Ok(granted) => {
            let Granted { identity, token, resource, expires_on, .. } = granted;
            let mut response = Json(json!({
                "access_token": token, "client_id": identity.client_id, "expires_on": expires_on,
                "resource": resource, "token_type": "Bearer",
            }))
            .into_response();
            response.extensions_mut().insert(Outcome(format!("token of {}", identity.name)));
            response
        }
        Err((status, complaint)) => error(status, complaint),
    }
}

/// The shape of App Service's errors.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"statusCode": status.as_u16(), "message": message, "correlationId": Uuid::new_v4().to_string()});
    let mut response = (status, Json(body)).into_response();
    response.extensions_mut().insert(Outcome(message.into()));
    response
}

fn issue(world: &World, call: &Call) -> Result<Granted, (StatusCode, &'static str)> {
    let header = call.header("x-identity-header").unwrap_or_default();
    // The header is what keeps a forged request out: only the app's own environment has its value.
    if aws_lc_rs::constant_time::verify_slices_are_equal(header.as_bytes(), world.identity_header.as_bytes()).is_err() {
        return Err((StatusCode::FORBIDDEN, "The X-IDENTITY-HEADER is missing or wrong."));
    }
    let refuse = |complaint| (StatusCode::BAD_REQUEST, complaint);
    match call.query.get("api-version") {
        None => return Err(refuse("The api-version is missing.")),
        Some(VERSION) => {}
        Some(_) => return Err(refuse("The api-version is not supported.")),
    }
    let resource = call.query.get("resource").ok_or_else(|| refuse("The resource is missing."))?;
    grant(world, call, resource).map_err(refuse)
}
