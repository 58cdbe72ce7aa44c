//! The control port: what tests and people may change and see from outside the process. Every call needs the bearer
//! token that was made at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::wall_milliseconds;
use crate::directory::{FederatedCredential, Grant, Policies};
use crate::faults::Fault;
use crate::keys::Rotation;
use crate::world::World;

#[derive(Clone)]
struct Control {
    world: Arc<World>,
    token: Arc<str>,
}

/// The routes below `/_emu`.
pub(crate) fn router(world: Arc<World>, token: &str) -> Router {
    let control = Control { world, token: token.into() };
    Router::new()
        .route("/_emu/reset", post(reset))
        .route("/_emu/clock", get(clock).post(set_clock))
        .route("/_emu/keys/rotate", post(rotate))
        .route("/_emu/faults", get(armed).post(arm).delete(disarm))
        .route("/_emu/next-login", post(next_login))
        .route("/_emu/users/{oid}/{action}", post(change_user))
        .route("/_emu/consents", post(consent))
        .route("/_emu/fics", post(trust))
        .route("/_emu/policies", get(policies).put(set_policies))
        .route("/_emu/users/{oid}/memberships", put(set_memberships))
        .route("/_emu/service-account-token", post(service_account_token))
        .route("/_emu/journal", get(journal))
        .route("/_emu/counters", get(counters))
        .layer(middleware::from_fn_with_state(control.clone(), authenticated))
        .with_state(control)
}

async fn authenticated(State(control): State<Control>, request: Request, next: Next) -> Response {
    let sent = request.headers().get("authorization").map(|value| value.as_bytes());
    let expected = format!("Bearer {}", control.token);
    let fits =
        sent.is_some_and(|sent| aws_lc_rs::constant_time::verify_slices_are_equal(sent, expected.as_bytes()).is_ok());
    if fits { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
}

async fn reset(State(control): State<Control>) -> StatusCode {
    control.world.reset();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockOffset {
    offset_s: i64,
}

async fn clock(State(control): State<Control>) -> Json<Value> {
    let clock = &control.world.clock;
    Json(json!({"offset_s": clock.offset(), "now": clock.now(), "real_ms": wall_milliseconds()}))
}

async fn set_clock(State(control): State<Control>, Json(wish): Json<ClockOffset>) -> StatusCode {
    control.world.clock.set_offset(wish.offset_s);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roll {
    mode: Rotation,
}

async fn rotate(State(control): State<Control>, Json(roll): Json<Roll>) -> StatusCode {
    match control.world.keys.rotate(roll.mode) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn armed(State(control): State<Control>) -> Json<Vec<Fault>> {
    Json(control.world.faults.armed())
}

async fn arm(State(control): State<Control>, Json(fault): Json<Fault>) -> StatusCode {
    control.world.faults.arm(fault);
    StatusCode::NO_CONTENT
}

async fn disarm(State(control): State<Control>) -> StatusCode {
    control.world.faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NextLogin {
    upn: String,
}

async fn next_login(State(control): State<Control>, Json(wish): Json<NextLogin>) -> StatusCode {
    if control.world.directory().user_named(&wish.upn).is_none() {
        return StatusCode::NOT_FOUND;
    }
    control.world.queue_login(&wish.upn);
    StatusCode::NO_CONTENT
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UserAction {
    Disable,
    Enable,
    Revoke,
    RequireMfa,
    SatisfyMfa,
    RequireSignIn,
}

/// `{oid}` may also be a user principal name.
async fn change_user(State(control): State<Control>, Path((name, action)): Path<(String, UserAction)>) -> StatusCode {
    let world = &control.world;
    let oid = {
        let mut directory = world.directory();
        let Some(user) = directory.user_mut(&name) else { return StatusCode::NOT_FOUND };
        match action {
            UserAction::Disable => user.disabled = true,
            UserAction::Enable => user.disabled = false,
            UserAction::RequireMfa => user.mfa_required = true,
            UserAction::Revoke | UserAction::SatisfyMfa | UserAction::RequireSignIn => {}
        }
        user.oid.clone()
    };
    match action {
        UserAction::Revoke => world.tickets().revoke_sessions(&oid),
        UserAction::SatisfyMfa => world.tickets().satisfy_mfa(&oid),
        UserAction::RequireSignIn => world.tickets().require_sign_in(&oid),
        UserAction::Disable | UserAction::Enable | UserAction::RequireMfa => {}
    }
    StatusCode::NO_CONTENT
}

/// What an administrator has assigned: all of it, in the place of what was.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assigned {
    roles: BTreeMap<String, Vec<String>>,
    groups: Vec<String>,
}

/// Tokens say so from the next one on.
async fn set_memberships(
    State(control): State<Control>,
    Path(name): Path<String>,
    Json(assigned): Json<Assigned>,
) -> StatusCode {
    let mut directory = control.world.directory();
    let Some(user) = directory.user_mut(&name) else { return StatusCode::NOT_FOUND };
    (user.roles, user.groups) = (assigned.roles, assigned.groups);
    StatusCode::NO_CONTENT
}

async fn consent(State(control): State<Control>, Json(grant): Json<Grant>) -> StatusCode {
    control.world.directory().grants.push(grant);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trust {
    client_id: String,
    credential: FederatedCredential,
}

async fn trust(State(control): State<Control>, Json(trust): Json<Trust>) -> StatusCode {
    let mut directory = control.world.directory();
    match directory.apps.iter_mut().find(|app| app.client_id == trust.client_id) {
        // Entra keeps at most 20 per app.
        Some(app) if app.federated_credentials.len() >= 20 => StatusCode::BAD_REQUEST,
        Some(app) => {
            app.federated_credentials.push(trust.credential);
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}

async fn policies(State(control): State<Control>) -> Json<Policies> {
    Json(control.world.policies())
}

/// Policies the body leaves out go back to their default.
async fn set_policies(State(control): State<Control>, Json(policies): Json<Policies>) -> StatusCode {
    control.world.directory().policies = policies;
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceAccount {
    subject: String,
}

async fn service_account_token(State(control): State<Control>, Json(account): Json<ServiceAccount>) -> Json<Value> {
    Json(json!({"token": control.world.service_account_token(&account.subject)}))
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn journal(State(control): State<Control>, Query(query): Query<Since>) -> Response {
    Json(control.world.journal.since(query.since)).into_response()
}

async fn counters(State(control): State<Control>) -> Response {
    Json(control.world.journal.counters()).into_response()
}
