//! The people's part of a sign-in: choose a user, approve a second factor, consent. Each step is a page with a form that
//! posts to `/{tenant}/login`; what is known so far is a [`Flow`], kept here and named by the form's hidden `flow`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::{AuthorizeRequest, Prompt, unknown_client};
use crate::call::{Call, Outcome};
use crate::conditional_access;
use crate::directory::{Realm, User};
use crate::errors::EntraError;
use crate::pages::{self, Step};
use crate::scopes::{foreign, not_assigned, not_consented, unknown_resource};
use crate::tickets::{Authorization, Code, Session, random_text};
use crate::tokens;
use crate::world::World;

/// Cookie that names a browser's sessions.
const SSO_COOKIE: &str = "ESTSAUTHPERSISTENT";

/// A sign-in under way.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub begun: i64,
    request: AuthorizeRequest,
    browser: String,
    /// The session that was chosen or begun.
    sid: Option<String>,
    approved: bool,
    consented: bool,
}

/// First look at a proven request: is somebody signed in already, or is a page needed?
pub(super) fn begin(world: &World, call: &Call, request: AuthorizeRequest) -> Response {
    let browser = cookie(call).map_or_else(|| random_text(32), Into::into);
    let sessions = world.tickets().sessions_of(&browser);
    let mut flow = Flow { begun: world.clock.now(), request, browser, sid: None, approved: false, consented: false };
    if flow.request.prompt == Prompt::None {
        return silent(world, call, flow, sessions);
    }
    if let Some(upn) = world.automatic_login() {
        return sign_in(world, call, flow, &upn);
    }
    let may_skip = matches!(flow.request.prompt, Prompt::AsNeeded | Prompt::Consent);
    flow.sid = if may_skip { single(world, &flow.request, sessions) } else { None };
    proceed(world, call, flow)
}

/// POST `/{tenant}/login`: the answer of one of the pages.
pub(crate) async fn continue_flow(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    let now = world.clock.now();
    let found = call.form.get("flow").and_then(|id| world.tickets().take_flow(id, now));
    let Some(mut flow) = found else { return EntraError::new(50089).page(&world, &call) };
    if call.form.has("cancel") {
        let error = EntraError { subcode: Some("cancel"), ..EntraError::new(65004) };
        return flow.request.return_to.refuse(&world, &call, &error);
    }
    if let Some(upn) = call.form.get("user") {
        return sign_in(&world, &call, flow, upn);
    }
    if call.form.get("mfa") == Some("approve") {
        approve(&world, &mut flow);
    }
    match call.form.get("consent") {
        Some("accept") => consent(&world, &mut flow),
        Some(_) => return flow.request.return_to.refuse(&world, &call, &EntraError::new(65004)),
        None => {}
    }
    proceed(&world, &call, flow)
}

/// GET `/{tenant}/oauth2/v2.0/logout`: the browser forgets its sessions.
pub(crate) async fn sign_out(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    if let Some(browser) = cookie(&call) {
        world.tickets().sign_out(browser);
    }
    let wanted = call.any("post_logout_redirect_uri");
    let registered = wanted.filter(|uri| world.directory().apps.iter().any(|app| app.redirect(uri).is_some()));
    let mut response = match registered.and_then(|uri| url::Url::parse(uri).ok()) {
        Some(mut uri) => {
            if let Some(state) = call.any("state") {
                uri.query_pairs_mut().append_pair("state", state);
            }
            (StatusCode::FOUND, [(header::LOCATION, uri.to_string())]).into_response()
        }
        None => pages::signed_out(),
    };
    set_cookie(&mut response, &format!("{SSO_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"));
    response.extensions_mut().insert(Outcome("signed out".into()));
    response
}

/// `prompt=none`: an answer without a page, or an error that says which page would be needed.
fn silent(world: &World, call: &Call, mut flow: Flow, sessions: Vec<(String, Session)>) -> Response {
    let several = sessions.len() > 1;
    flow.sid = single(world, &flow.request, sessions);
    let error = match due(world, &flow) {
        Due::User if several && flow.request.login_hint.is_none() => EntraError::new(16000),
        Due::User => EntraError::new(50058),
        Due::Disabled => EntraError::new(50057).with_error("interaction_required"),
        Due::Outside(error) | Due::Unassigned(error) => error.with_error("interaction_required"),
        Due::SecondFactor(_) => EntraError::new(50076).with_error("interaction_required"),
        Due::Consent(..) => not_consented(&flow.request.client).with_error("consent_required"),
        Due::Refusal(error) => error,
        Due::Nothing(user) => return finish(world, flow, &user),
    };
    flow.request.return_to.refuse(world, call, &error)
}

fn sign_in(world: &World, call: &Call, mut flow: Flow, upn: &str) -> Response {
    let user = world.directory().user_named(upn).cloned();
    let Some(user) = user else { return choose(world, flow, Some(EntraError::new(50034))) };
    if user.disabled {
        return choose(world, flow, Some(EntraError::new(50057)));
    }
    let held = world.tickets().sessions_of(&flow.browser);
    let held = held.into_iter().find(|(_, session)| session.oid == user.oid && flow.request.prompt != Prompt::Login);
    let sid = match held {
        Some((sid, _)) => sid,
        None => begin_session(
            world,
            &flow,
            Session { oid: user.oid.clone(), mfa: false, satisfied: BTreeSet::new(), revoked: false, stale: false },
        ),
    };
    let browser = flow.browser.clone();
    flow.sid = Some(sid);
    let mut response = proceed(world, call, flow);
    set_cookie(&mut response, &format!("{SSO_COOKIE}={browser}; Path=/; HttpOnly; SameSite=Lax"));
    response
}

/// A second factor begins a new session: tokens of the old one stay single-factor.
fn approve(world: &World, flow: &mut Flow) {
    let session = flow.sid.as_deref().and_then(|sid| world.tickets().session(sid).cloned());
    if let Some(mut session) = session {
        session.mfa = true;
        session.satisfied.extend(flow.request.challenged.iter().cloned());
        session.satisfied.extend(asked_policies(world, &flow.request, &session.oid));
        flow.sid = Some(begin_session(world, flow, session));
        flow.approved = true;
    }
}

/// The policies that stand before the resources a request names: a second factor satisfies them all.
fn asked_policies(world: &World, request: &AuthorizeRequest, oid: &str) -> Vec<String> {
    let directory = world.directory();
    let Some(user) = directory.user(oid) else { return vec![] };
    let resources = request.requested.resources.iter();
    resources
        .flat_map(|asked| conditional_access::policies(&directory, user, &asked.resource))
        .map(|policy| policy.id.clone())
        .collect()
}

fn begin_session(world: &World, flow: &Flow, session: Session) -> String {
    world.tickets().begin_session(&flow.browser, session)
}

/// Stores the user's consent to everything this request asks for.
fn consent(world: &World, flow: &mut Flow) {
    let Due::Consent(user, _) = due(world, flow) else { return };
    let mut directory = world.directory();
    for asked in &flow.request.requested.resources {
        let due = asked.grants_due(&directory, &flow.request.client, &user.oid);
        directory.grants.extend(due);
    }
    flow.consented = true;
}

/// What stands between a flow and its code.
enum Due {
    User,
    Disabled,
    /// The user is of a tenant that has no part in this: Entra says so on a page.
    Outside(EntraError),
    /// The app is not for this user: likewise.
    Unassigned(EntraError),
    SecondFactor(User),
    /// The user, and the scopes to consent to.
    Consent(User, Vec<String>),
    /// Not for people to mend.
    Refusal(EntraError),
    Nothing(User),
}

fn due(world: &World, flow: &Flow) -> Due {
    let session = flow.sid.as_deref().and_then(|sid| world.tickets().session(sid).cloned());
    let Some(session) = session.filter(|session| !session.revoked && !session.stale) else { return Due::User };
    let directory = world.directory();
    let Some(user) = directory.user(&session.oid).cloned() else { return Due::User };
    let request = &flow.request;
    let tenant = directory.tenant_of(&user).to_owned();
    match &request.realm {
        Realm::Tenant(id) if *id != tenant => {
            return Due::Outside(foreign(&directory, &world.issuer_v1_of(&tenant), id, &request.client, &user));
        }
        _ if !directory.is_installed(&request.client, &tenant) => {
            return Due::Outside(unknown_client(&directory, &Realm::Tenant(tenant), &request.client.client_id));
        }
        _ => {}
    }
    if user.disabled {
        return Due::Disabled;
    }
    let mut named = request.requested.resources.iter();
    let known = |resource: &str| directory.app(resource).is_some_and(|app| directory.is_installed(app, &tenant));
    if let Some(asked) = named.find(|asked| !known(&asked.resource)) {
        return Due::Refusal(unknown_resource(&directory, &tenant, &asked.named));
    }
    let resources = request.requested.resources.iter().filter_map(|asked| directory.app(&asked.resource));
    if let Some(app) = resources.chain([&request.client]).find(|app| !directory.assigned(app, &user)) {
        return Due::Unassigned(not_assigned(app, &user));
    }
    for asked in &request.requested.resources {
        match conditional_access::check(&directory, &user, &asked.resource, &session.satisfied) {
            Err(error) if error.code == 53003 => return Due::Refusal(error.with_error("access_denied")),
            Err(_) => return Due::SecondFactor(user),
            Ok(()) => {}
        }
    }
    if !flow.approved && (request.step_up || user.mfa_required && !session.mfa) {
        return Due::SecondFactor(user);
    }
    let checks = request.requested.resources.iter();
    if let Err(error) =
        checks.map(|asked| asked.check_self(&directory, &request.client, &user.oid)).collect::<Result<Vec<()>, _>>()
    {
        return Due::Refusal(error);
    }
    let asked = request.requested.resources.iter();
    let missing: Vec<String> = asked
        .flat_map(|asked| asked.grants_due(&directory, &request.client, &user.oid))
        .flat_map(|grant| grant.scopes)
        .collect();
    let forced = request.prompt == Prompt::Consent && !flow.consented;
    match (missing.is_empty(), forced) {
        (true, false) => Due::Nothing(user),
        (true, true) => Due::Consent(user, request.scope.split_ascii_whitespace().map(Into::into).collect()),
        (false, _) => Due::Consent(user, missing),
    }
}

fn proceed(world: &World, call: &Call, flow: Flow) -> Response {
    match due(world, &flow) {
        Due::User => choose(world, flow, None),
        Due::Disabled => choose(world, flow, Some(EntraError::new(50057))),
        Due::Outside(error) | Due::Unassigned(error) => error.page(world, call),
        Due::SecondFactor(user) => {
            let id = keep(world, flow);
            step(
                "second factor page",
                pages::second_factor(&Step { tenant: &world.seed().tenant_id, flow: &id }, &user),
            )
        }
        Due::Consent(user, scopes) => {
            let client = flow.request.client.name.clone();
            let id = keep(world, flow);
            step(
                "consent page",
                pages::consent(&Step { tenant: &world.seed().tenant_id, flow: &id }, &user, &client, &scopes),
            )
        }
        Due::Refusal(error) => flow.request.return_to.refuse(world, call, &error),
        Due::Nothing(user) => finish(world, flow, &user),
    }
}

/// The page of users, with a complaint about the last choice.
fn choose(world: &World, mut flow: Flow, complaint: Option<EntraError>) -> Response {
    flow.sid = None;
    let directory = world.directory();
    let here = |user: &&User| flow.request.realm.has(directory.tenant_of(user));
    let mut users: Vec<User> = directory.users.iter().filter(here).cloned().collect();
    // `select_account` and a hint contradict each other: Entra drops the hint.
    if let Some(hint) = flow.request.login_hint.as_ref().filter(|_| flow.request.prompt != Prompt::SelectAccount) {
        users.sort_by_key(|user| !user.upn.eq_ignore_ascii_case(hint));
    }
    drop(directory);
    let client = flow.request.client.name.clone();
    let id = keep(world, flow);
    let outcome = complaint.as_ref().map_or_else(|| Outcome("user page".into()), EntraError::outcome);
    let complaint = complaint.map(|error| format!("AADSTS{}: {}", error.code, error.text));
    step(
        &outcome.0,
        pages::users(&Step { tenant: &world.seed().tenant_id, flow: &id }, &client, &users, complaint.as_deref()),
    )
}

fn finish(world: &World, flow: Flow, user: &User) -> Response {
    let request = flow.request;
    let code = Code {
        authorization: Authorization {
            client_id: request.client.client_id,
            oid: user.oid.clone(),
            sid: flow.sid.unwrap_or_default(),
            oidc: request.requested.oidc,
            scope: request.scope,
            cae: request.cae,
        },
        realm: request.realm,
        redirect_uri: request.return_to.uri.clone(),
        spa: request.spa,
        challenge: request.challenge,
        nonce: request.nonce,
        client_info: request.client_info,
        issued: world.clock.now(),
        redeemed: false,
    };
    let short = world.policies().short_codes;
    let text = world.tickets().issue_code(code, short);
    world.journal.canary(&text);
    let mut parameters = vec![("code", text), ("session_state", Uuid::new_v4().to_string())];
    if request.client_info {
        parameters.push(("client_info", tokens::client_info(world, user)));
    }
    request.return_to.answer(parameters, Outcome("code issued".into()))
}

/// The one session that fits without asking: the hinted user's, or the only one.
fn single(world: &World, request: &AuthorizeRequest, mut sessions: Vec<(String, Session)>) -> Option<String> {
    if let Some(hint) = &request.login_hint {
        let directory = world.directory();
        let oid = directory.user_named(hint).map(|user| user.oid.clone())?;
        sessions.retain(|(_, session)| session.oid == oid);
    }
    if sessions.len() == 1 { sessions.pop().map(|(sid, _)| sid) } else { None }
}

fn keep(world: &World, flow: Flow) -> String {
    let (id, now) = (random_text(24), world.clock.now());
    world.tickets().keep_flow(&id, flow, now);
    id
}

fn step(outcome: &str, mut page: Response) -> Response {
    page.extensions_mut().insert(Outcome(outcome.into()));
    page
}

fn cookie(call: &Call) -> Option<&str> {
    let cookies = call.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == SSO_COOKIE && !value.is_empty())
        .map(|(_, value)| value)
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
