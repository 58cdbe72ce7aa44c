//! `/token`: the checks every grant shares, then the grant.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::authorize::{duplicated, known_tenant, unknown_client};
use crate::call::{Call, Outcome};
use crate::client_auth::{self, Caller};
use crate::conditional_access;
use crate::directory::{Platform, Realm, User};
use crate::errors::{EntraError, token_headers};
use crate::scopes::{Permissions, Requested, foreign, not_assigned, not_consented, unknown_resource};
use crate::tickets::{Authorization, Session};
use crate::tokens::{self, Proof, UserToken};
use crate::world::World;

mod client_credentials;
mod code;
mod on_behalf_of;
mod refresh;

/// POST `/{tenant}/oauth2/v2.0/token`.
pub(crate) async fn token(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Response {
    match grant(&world, &tenant, &call) {
        Ok(body) => {
            let mut response = (StatusCode::OK, Json(body)).into_response();
            token_headers(&mut response, &call, &Uuid::new_v4().to_string());
            response.extensions_mut().insert(Outcome("tokens issued".into()));
            response
        }
        Err(error) => error.answer(&world, &call),
    }
}

/// A proven client and the call it makes.
struct Request<'a> {
    world: &'a World,
    call: &'a Call,
    caller: Caller,
    realm: Realm,
}

fn grant(world: &World, tenant: &str, call: &Call) -> Result<Value, EntraError> {
    let form = &call.form;
    if let Some(name) = form.duplicate() {
        return Err(duplicated(name));
    }
    let directory = world.directory().clone();
    let realm = known_tenant(&directory, tenant)?;
    let grant_type = form.get("grant_type").ok_or_else(|| EntraError::missing("grant_type"))?;
    let caller = client_auth::identify(&directory, &realm, call)?;
    if realm == Realm::Shared && !caller.app().is_some_and(|app| app.multi_tenant) {
        return Err(EntraError::new(50194).saying(format!(
            "Application '{}' is not configured as a multi-tenant application. Use a tenant-specific endpoint.",
            caller.client_id()
        )));
    }
    let is_spa = caller.app().is_some_and(|app| app.redirect_uris.iter().any(|uri| uri.platform == Platform::Spa));
    if call.header("origin").is_some() && !is_spa {
        return Err(EntraError::new(9002326));
    }
    let proof = client_auth::authenticate(world, call, &realm, &caller)?;
    let request = Request { world, call, caller, realm };
    match grant_type {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" | "client_credentials" if request.realm == Realm::Shared => {
            Err(EntraError::new(50059))
        }
        "authorization_code" => code::redeem(&request, proof),
        "refresh_token" => refresh::refresh(&request, proof),
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => on_behalf_of::exchange(&request, proof),
        "client_credentials" => client_credentials::issue(&request, proof),
        other => Err(EntraError::new(70003).saying(format!("The app requested an unsupported grant type '{other}'."))),
    }
}

/// Tokens for a user, once a grant has established whom and what for.
struct Issue<'a> {
    authorization: &'a Authorization,
    scope: &'a str,
    proof: Proof,
    nonce: Option<&'a str>,
    id_token: bool,
    refresh_token: bool,
    client_info: bool,
    cae: bool,
}

impl Request<'_> {
    /// The app that calls; identities can only use client_credentials.
    fn app(&self) -> Result<&crate::directory::App, EntraError> {
        let unknown = || unknown_client(&self.world.directory(), &self.realm, self.caller.client_id());
        self.caller.app().ok_or_else(unknown)
    }

    /// # Errors
    /// 9010010 / 901002 on `resource`, 28000, scopes that make no sense (as `invalid_scope` here).
    fn permissions(&self, scope: &str) -> Result<Permissions, EntraError> {
        let client = self.app()?;
        let directory = self.world.directory();
        let requested = Requested::parse(&directory, client, scope).map_err(|error| match error.code {
            650053 => error.with_error("invalid_scope"),
            _ => error,
        })?;
        crate::authorize::check_resource(&directory, &self.call.form, &requested)?;
        requested.single(scope)
    }

    /// # Errors
    /// 50057, 50173, 70043, 50076, 50020, 500011, 50105, 53003, then consent (65001) and self-use (90008, 90009).
    fn issue(&self, issue: &Issue) -> Result<Value, EntraError> {
        let world = self.world;
        let client = self.app()?;
        let permissions = self.permissions(issue.scope)?;
        let (user, session) = check_user(world, issue.authorization, &permissions.resource)?;
        let directory = world.directory().clone();
        let tenant = directory.tenant_of(&user);
        if let Realm::Tenant(id) = &self.realm
            && id != tenant
        {
            return Err(foreign(&directory, &world.issuer_v1_of(tenant), id, client, &user));
        }
        let resource = directory.app(&permissions.resource).ok_or_else(|| EntraError::new(500011))?;
        if !directory.is_installed(resource, tenant) {
            return Err(unknown_resource(&directory, tenant, &permissions.named));
        }
        if let Some(app) = [resource, client].into_iter().find(|app| !directory.assigned(app, &user)) {
            return Err(not_assigned(app, &user));
        }
        conditional_access::check(&directory, &user, &resource.client_id, &session.satisfied)?;
        permissions.check_self(&directory, client, &user.oid)?;
        if !permissions.unconsented(&directory, client, &user.oid).is_empty() {
            return Err(not_consented(client));
        }
        let granted = directory.granted(client, resource, &user.oid);
        let is_graph = resource.client_id == crate::directory::GRAPH;
        let oidc: Vec<&str> = if is_graph {
            let shown = issue.authorization.oidc.iter().map(String::as_str);
            shown.filter(|scope| *scope != "offline_access").collect()
        } else {
            vec![]
        };
        let scp = oidc.iter().copied().chain(granted.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
        let lifetime = if issue.cae && resource.optional_claims.iter().any(|claim| claim == "xms_cc") {
            86_400
        } else {
            world.lifetime()
        };
        let access_token = UserToken {
            client,
            resource,
            named: &permissions.named,
            user: &user,
            sid: &issue.authorization.sid,
            mfa: session.mfa,
            scp: &scp,
            cae: issue.cae,
            proof: issue.proof,
            lifetime,
        }
        .sign(world);
        let prefix = resource.identifier_uris.first().unwrap_or(&resource.client_id);
        let scope = match granted.is_empty() {
            true if permissions.default => format!("{}/.default", permissions.named),
            _ => {
                let full = granted.iter().map(|name| format!("{prefix}/{name}"));
                oidc.iter().map(|scope| (*scope).to_owned()).chain(full).collect::<Vec<_>>().join(" ")
            }
        };
        let mut body = json!({
            "token_type": "Bearer", "scope": scope, "expires_in": lifetime, "ext_expires_in": lifetime,
            "access_token": access_token,
        });
        if issue.refresh_token {
            let kept = Authorization { scope: issue.scope.into(), ..issue.authorization.clone() };
            let now = world.clock.now();
            let token = world.tickets().issue_refresh_token(kept, now);
            world.journal.canary(&token);
            body["refresh_token"] = json!(token);
        }
        if issue.id_token {
            let authorization = issue.authorization;
            let token = tokens::id_token(world, client, &user, &authorization.sid, issue.nonce, &authorization.oidc);
            body["id_token"] = json!(token);
        }
        if issue.client_info {
            body["client_info"] = json!(tokens::client_info(world, &user));
        }
        Ok(body)
    }
}

/// The user behind a grant, if tokens may be issued at all, and the session.
///
/// # Errors
/// 50034 gone, 50057 disabled, 50173 session revoked, 70043 session too old, 50076 second factor due.
fn check_user(world: &World, grant: &Authorization, resource: &str) -> Result<(User, Session), EntraError> {
    let (oid, sid) = (grant.oid.as_str(), grant.sid.as_str());
    let session = world.tickets().session(sid).cloned();
    let user = world.directory().user(oid).cloned().ok_or_else(|| EntraError::new(50034))?;
    let session = session.filter(|session| session.oid == oid && !session.revoked);
    match session {
        _ if user.disabled => Err(EntraError::new(50057)),
        None => Err(EntraError::new(50173)),
        Some(session) if session.stale => Err(EntraError::new(70043)),
        Some(session) if user.mfa_required && !session.mfa => Err(EntraError::second_factor(resource)),
        Some(session) => Ok((user, session)),
    }
}
