//! Who calls the token endpoint, and does it prove so: by a federated assertion, an assertion signed with the key of a
//! certificate ([`certificate`]) or a secret, as the directory gave the app one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::authorize::unknown_client;
use crate::call::Call;
use crate::directory::{App, FederatedCredential, Identity, Realm, Seed, TrustedIssuer};
use crate::errors::EntraError;
use crate::jwt::Jwt;
use crate::tokens::{EXCHANGE_GUID, EXCHANGE_URI, Proof};
use crate::world::World;

mod certificate;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The principal named by `client_id`.
pub(crate) enum Caller {
    App(Box<App>),
    Identity(Box<Identity>),
}

impl Caller {
    pub fn client_id(&self) -> &str {
        match self {
            Caller::App(app) => &app.client_id,
            Caller::Identity(identity) => &identity.client_id,
        }
    }

    pub fn app(&self) -> Option<&App> {
        match self {
            Caller::App(app) => Some(app),
            Caller::Identity(_) => None,
        }
    }

    fn federated_credentials(&self) -> &[FederatedCredential] {
        match self {
            Caller::App(app) => &app.federated_credentials,
            Caller::Identity(identity) => &identity.federated_credentials,
        }
    }
}

/// # Errors
/// 900144, 700016.
pub(crate) fn identify(directory: &Seed, realm: &Realm, call: &Call) -> Result<Caller, EntraError> {
    let basic = basic(call).map(|(id, _)| id);
    let client_id = call.form.get("client_id").or(basic.as_deref()).ok_or_else(|| EntraError::missing("client_id"))?;
    let installed = |app: &&App| match realm {
        Realm::Tenant(id) => directory.is_installed(app, id),
        Realm::Shared => true,
    };
    if let Some(app) = directory.app(client_id).filter(installed) {
        return Ok(Caller::App(Box::new(app.clone())));
    }
    match directory.identity(client_id).filter(|_| realm.has(&directory.tenant_id)) {
        Some(identity) => Ok(Caller::Identity(Box::new(identity.clone()))),
        None => Err(unknown_client(directory, realm, client_id)),
    }
}

/// # Errors
/// 7000218 nothing given, 7000215 wrong secret, 7000222 expired secret, and those of assertions.
pub(crate) fn authenticate(world: &World, call: &Call, realm: &Realm, caller: &Caller) -> Result<Proof, EntraError> {
    if let Some(assertion) = call.form.get("client_assertion") {
        world.journal.canary(assertion);
        return match call.form.get("client_assertion_type") {
            Some(ASSERTION_TYPE) => asserted(world, call, realm, caller, assertion),
            Some(_) => Err(EntraError::new(90023).saying("Unsupported 'client_assertion_type' value.")),
            None => Err(EntraError::missing("client_assertion_type")),
        };
    }
    let secret = call.form.get("client_secret").map(Into::into).or_else(|| basic(call).map(|(_, secret)| secret));
    let Some(secret) = secret else { return Err(EntraError::new(7000218)) };
    let known = caller.app().and_then(|app| app.secrets.iter().find(|known| known.value() == secret));
    match known {
        Some(known) if known.is_expired(world.clock.now()) => Err(EntraError::new(7000222).saying(format!(
            "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new keys for your app, \
             or consider using certificate credentials for added security.",
            caller.client_id()
        ))),
        Some(_) => Ok(Proof::Secret),
        None => Err(EntraError::new(7000215).saying(format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the \
             client secret ID, for a secret added to app '{}'.",
            caller.client_id()
        ))),
    }
}

/// The client's own assertion, or one of another issuer: known issuer, then signature, time, and the credential's subject and audience.
fn asserted(world: &World, call: &Call, realm: &Realm, caller: &Caller, assertion: &str) -> Result<Proof, EntraError> {
    let token = Jwt::parse(assertion).ok_or_else(|| EntraError::new(50027))?;
    let issuer = token.text("iss");
    if let Some(app) = caller.app().filter(|app| app.client_id == issuer) {
        let endpoint = format!("{}{}", world.base, call.path);
        return certificate::prove(world, &endpoint, realm, app, &token);
    }
    let trusted = issuer_role(world, issuer)?;
    let credentials: Vec<&FederatedCredential> =
        caller.federated_credentials().iter().filter(|credential| credential.issuer == trusted).collect();
    if credentials.is_empty() {
        return Err(no_match(700211, "issuer", issuer));
    }
    let ring = match trusted {
        TrustedIssuer::Tenant => &world.keys,
        TrustedIssuer::Cluster => world.cluster_keys(),
        // Nothing is fetched from outside the process.
        TrustedIssuer::Url(_) => return Err(EntraError::new(90061)),
    };
    if !token.signed_by(ring) {
        return Err(EntraError::new(700027)
            .saying("Client assertion failed signature validation. [Reason - The key was not found.]"));
    }
    if !token.is_current(world.clock.now()) {
        return Err(EntraError::new(700024));
    }
    if trusted == TrustedIssuer::Tenant {
        check_identity_token(&token)?;
    }
    let fitting: Vec<_> = credentials.into_iter().filter(|known| known.subject == token.text("sub")).collect();
    if fitting.is_empty() {
        return Err(no_match(700213, "subject", token.text("sub")));
    }
    check_audience(&fitting, &token)
}

/// Which of the issuers a credential can name this is.
///
/// # Errors
/// 700227: this tenant's version 1 issuer.
fn issuer_role(world: &World, issuer: &str) -> Result<TrustedIssuer, EntraError> {
    if issuer == world.issuer() {
        Ok(TrustedIssuer::Tenant)
    } else if issuer == world.cluster_issuer() {
        Ok(TrustedIssuer::Cluster)
    } else if issuer == world.issuer_v1() || issuer.starts_with("https://sts.windows.net/") {
        Err(EntraError::new(700227))
    } else {
        Ok(TrustedIssuer::Url(issuer.into()))
    }
}

/// Of the tenant's own tokens only those a managed identity got from its machine will do.
fn check_identity_token(token: &Jwt) -> Result<(), EntraError> {
    if token.text("idtyp") != "app" {
        Err(EntraError::new(700229))
    } else if !token.claims["xms_ficinfo"].is_null() {
        Err(EntraError::new(700231))
    } else if token.text("xms_mirid").is_empty() {
        Err(EntraError::new(700226))
    } else {
        Ok(())
    }
}

/// The tenant's tokens carry the GUID where the credential says the URI; others carry what the credential says.
fn check_audience(credentials: &[&FederatedCredential], token: &Jwt) -> Result<Proof, EntraError> {
    if credentials.iter().all(|credential| credential.audience == EXCHANGE_GUID) {
        return Err(EntraError::new(700214));
    }
    let audiences = token.audiences();
    let fits = |credential: &&FederatedCredential| match credential.issuer {
        TrustedIssuer::Tenant => credential.audience == EXCHANGE_URI && audiences == [EXCHANGE_GUID],
        _ => audiences == [credential.audience.as_str()],
    };
    if credentials.iter().any(fits) {
        Ok(Proof::Federated)
    } else {
        Err(no_match(700212, "audience", &audiences.join(" ")))
    }
}

fn no_match(code: u32, what: &str, presented: &str) -> EntraError {
    EntraError::new(code).saying(format!(
        "No matching federated identity record found for presented assertion {what} '{presented}'. Check your federated identity \
         credential Subject, Audience and Issuer against the presented assertion. \
         https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
    ))
}

/// `client_secret_basic`: id and secret, each form-encoded (RFC 6749 2.3.1).
fn basic(call: &Call) -> Option<(String, String)> {
    let (scheme, encoded) = call.header("authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

fn decoded(part: &str) -> String {
    form_urlencoded::parse(part.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}
