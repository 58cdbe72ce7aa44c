//! `/authorize`: is the request allowed, and who is asking? The checks run in Entra's order, because that order decides
//! what is a page (client or redirect URI unproven: sending the browser on would make an open redirector) and what is
//! an error at the redirect URI.
//!
//! The people's part is in [`interaction`], the way back to the client in [`answer`].

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::call::{Call, Params};
use crate::directory::{App, Platform, Realm, ResourceMode, Seed};
use crate::errors::EntraError;
use crate::scopes::Requested;
use crate::world::World;

mod answer;
mod interaction;

pub(crate) use answer::{ResponseMode, ReturnAddress};
pub(crate) use interaction::{Flow, continue_flow, sign_out};

/// A request whose client, redirect URI and parameters are proven.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizeRequest {
    pub client: App,
    /// Whose users may sign in here.
    pub realm: Realm,
    pub return_to: ReturnAddress,
    pub spa: bool,
    pub scope: String,
    pub requested: Requested,
    pub nonce: Option<String>,
    pub prompt: Prompt,
    pub login_hint: Option<String>,
    pub challenge: Option<Challenge>,
    pub client_info: bool,
    /// `cp1` was declared.
    pub cae: bool,
    /// The request replays a conditional-access challenge: a second factor is due.
    pub step_up: bool,
    /// The policies that challenge names.
    pub challenged: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Prompt {
    /// Pages only where needed.
    AsNeeded,
    None,
    Login,
    Consent,
    SelectAccount,
}

/// The PKCE challenge of a code (RFC 7636).
#[derive(Clone, Debug)]
pub(crate) enum Challenge {
    Plain(String),
    S256(String),
}

/// Why a request goes no further, and where that is said.
enum Refusal {
    Page(EntraError),
    Redirect(Box<ReturnAddress>, EntraError),
}

/// GET or POST `/{tenant}/oauth2/v2.0/authorize`.
pub(crate) async fn authorize(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Response {
    match AuthorizeRequest::check(&world, &tenant, &call) {
        Ok(request) if call.scripted.is_some() => {
            let error = EntraError::new(call.scripted.unwrap_or_default());
            request.return_to.refuse(&world, &call, &error)
        }
        Ok(request) => interaction::begin(&world, &call, request),
        Err(Refusal::Page(error)) => error.page(&world, &call),
        Err(Refusal::Redirect(address, error)) => address.refuse(&world, &call, &error),
    }
}

impl AuthorizeRequest {
    fn check(world: &World, tenant: &str, call: &Call) -> Result<AuthorizeRequest, Refusal> {
        let directory = world.directory();
        let parameters = if call.form.iter().next().is_some() { &call.form } else { &call.query };
        let (client, realm) = known_client(&directory, tenant, parameters).map_err(Refusal::Page)?;
        let asked = parameters.get("redirect_uri").ok_or_else(|| Refusal::Page(EntraError::new(900971)))?;
        let registered = client.redirect(asked).ok_or_else(|| Refusal::Page(wrong_redirect(&client, asked)))?;
        let return_to = ReturnAddress {
            uri: asked.into(),
            mode: ResponseMode::named(parameters.get("response_mode")),
            state: parameters.get("state").map(Into::into),
        };
        let policies = directory.policies.resource;
        let refuse = |error: EntraError| match (error.code, policies) {
            (9010010, ResourceMode::EnforcePage) => Refusal::Page(error),
            _ => Refusal::Redirect(Box::new(return_to.clone()), error),
        };

        if let Some(name) = parameters.duplicate() {
            return Err(refuse(duplicated(name)));
        }
        response_type(parameters).map_err(refuse)?;
        let scope = parameters.get("scope").ok_or_else(|| refuse(EntraError::missing("scope")))?;
        let requested = Requested::parse(&directory, &client, scope).map_err(refuse)?;
        let challenge = Challenge::from_request(parameters).map_err(refuse)?;
        check_resource(&directory, parameters, &requested).map_err(refuse)?;
        let (cae, step_up) = claims(parameters).map_err(refuse)?;
        Ok(AuthorizeRequest {
            spa: registered.platform == Platform::Spa,
            scope: scope.into(),
            requested,
            nonce: parameters.get("nonce").map(Into::into),
            prompt: Prompt::named(parameters.get("prompt")).map_err(refuse)?,
            login_hint: parameters.get("login_hint").map(Into::into),
            challenge,
            client_info: parameters.get("client_info") == Some("1"),
            cae,
            step_up,
            challenged: challenged(parameters),
            client,
            realm,
            return_to,
        })
    }
}

impl Challenge {
    fn from_request(parameters: &Params) -> Result<Option<Challenge>, EntraError> {
        let Some(challenge) = parameters.get("code_challenge") else { return Ok(None) };
        if !(43..=128).contains(&challenge.len()) {
            return Err(EntraError::new(501491));
        }
        match parameters.get("code_challenge_method") {
            None | Some("plain") => Ok(Some(Challenge::Plain(challenge.into()))),
            Some("S256") => Ok(Some(Challenge::S256(challenge.into()))),
            Some(_) => Err(EntraError::new(501491).saying("Invalid Code_Challenge method: use plain or S256.")),
        }
    }

    pub fn fits(&self, verifier: &str) -> bool {
        match self {
            Challenge::Plain(challenge) => challenge == verifier,
            Challenge::S256(challenge) => *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())),
        }
    }
}

impl Prompt {
    fn named(value: Option<&str>) -> Result<Prompt, EntraError> {
        match value {
            None => Ok(Prompt::AsNeeded),
            Some("none") => Ok(Prompt::None),
            Some("login") => Ok(Prompt::Login),
            Some("consent") => Ok(Prompt::Consent),
            Some("select_account") => Ok(Prompt::SelectAccount),
            Some(_) => Err(EntraError::new(90023).saying("Unsupported 'prompt' value.")),
        }
    }
}

/// The app that asks, in a tenant that can serve it.
///
/// # Errors
/// 90002 unknown tenant, 900144 no client id, 700016 unknown app, or not in this tenant, 50194 a single-tenant app at `common`.
fn known_client(directory: &Seed, tenant: &str, parameters: &Params) -> Result<(App, Realm), EntraError> {
    let realm = known_tenant(directory, tenant)?;
    let client_id = parameters.get("client_id").ok_or_else(|| EntraError::missing("client_id"))?;
    let client = directory.app(client_id).ok_or_else(|| unknown_client(directory, &realm, client_id))?;
    match &realm {
        Realm::Tenant(id) if !directory.is_installed(client, id) => Err(unknown_client(directory, &realm, client_id)),
        Realm::Shared if !client.multi_tenant => Err(EntraError::new(50194).saying(format!(
            "Application '{}'({}) is not configured as a multi-tenant application. Usage of the /common endpoint is not \
             supported for such apps. Use a tenant-specific endpoint.",
            client.client_id, client.name
        ))),
        _ => Ok((client.clone(), realm)),
    }
}

/// # Errors
/// 90002.
pub(crate) fn known_tenant(directory: &Seed, name: &str) -> Result<Realm, EntraError> {
    directory.realm(name).ok_or_else(|| {
        EntraError::new(90002).saying(format!(
            "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
        ))
    })
}

/// `resource` on v2, as the policy wants it. `requested` are the scopes it is compared with.
///
/// # Errors
/// 9010010, 901002.
pub(crate) fn check_resource(directory: &Seed, parameters: &Params, requested: &Requested) -> Result<(), EntraError> {
    let Some(resource) = parameters.get("resource") else { return Ok(()) };
    match directory.policies.resource {
        ResourceMode::Ignore => Ok(()),
        ResourceMode::Legacy => Err(EntraError::new(901002)),
        ResourceMode::Enforce | ResourceMode::EnforcePage => {
            let target = directory.apps.iter().find(|app| app.identifier_uris.iter().any(|uri| uri == resource));
            let fits = target.is_some_and(|app| {
                !requested.resources.is_empty()
                    && requested.resources.iter().all(|asked| asked.resource == app.client_id)
            });
            if fits { Ok(()) } else { Err(EntraError::new(9010010)) }
        }
    }
}

/// Does `claims` declare `cp1`; does it replay a challenge of a policy?
///
/// # Errors
/// 90023: not a JSON object.
pub(crate) fn claims(parameters: &Params) -> Result<(bool, bool), EntraError> {
    let Some(text) = parameters.get("claims") else { return Ok((false, false)) };
    let claims: Value = serde_json::from_str(text)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| EntraError::new(90023).saying("The 'claims' parameter is not a JSON object."))?;
    let wanted = &claims["access_token"];
    let capabilities = wanted["xms_cc"]["values"].as_array();
    let cae = capabilities.is_some_and(|values| values.iter().any(|value| value == "cp1"));
    Ok((cae, ["capolids", "polids"].iter().any(|name| !wanted[*name].is_null())))
}

/// The policies that a replayed challenge names, of a `claims` that was checked before.
fn challenged(parameters: &Params) -> Vec<String> {
    let claims: Value = parameters.get("claims").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let values = claims["access_token"]["capolids"]["values"].as_array();
    values.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}

pub(crate) fn duplicated(name: &str) -> EntraError {
    EntraError::new(9000411)
        .saying(format!("The request is not properly formatted. The parameter '{name}' is duplicated."))
}

pub(crate) fn unknown_client(directory: &Seed, realm: &Realm, client_id: &str) -> EntraError {
    let tenant = match realm {
        Realm::Tenant(id) => directory.name_of_tenant(id),
        Realm::Shared => &directory.tenant_name,
    };
    EntraError::new(700016).saying(format!(
        "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the application \
         has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have \
         sent your authentication request to the wrong tenant."
    ))
}

pub(crate) fn wrong_redirect(client: &App, asked: &str) -> EntraError {
    EntraError::new(50011).saying(format!(
        "The redirect URI '{asked}' specified in the request does not match the redirect URIs configured for the application \
         '{}'. Make sure the redirect URI sent in the request matches one added to your application in the Azure portal.",
        client.client_id
    ))
}

fn response_type(parameters: &Params) -> Result<(), EntraError> {
    match parameters.get("response_type") {
        None => Err(EntraError::missing("response_type")),
        Some("code") => Ok(()),
        Some(other) => {
            Err(EntraError::new(700054).saying(format!("response_type '{other}' is not enabled for the application.")))
        }
    }
}
