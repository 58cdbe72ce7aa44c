//! The real thing, as often as there are replicas: over one store, with one key ring and one time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use entra::{Secret, SignIn};
use http::HeaderValue;
use serde_json::Value;

use super::super::support::{self, RESOURCE, VERIFIER, form};
use super::between::{Between, Missing};
use super::desk::Desk;
use super::family::ACCESS_LIVES;
use super::world::{Answer, IDLE, LONGEST};
use crate::access::Access;
use crate::audit::{Audit, Context};
use crate::clock::{Clock, Timestamp};
use crate::oauth::client::ClientRef;
use crate::oauth::records::AuthorizationRequest;
use crate::oauth::{AuthorizationServer, Parts};
use crate::sealed::{Index, KeyRing, Sealer};
use crate::session::{self, Denied, Grant, Selector, Sessions};
use crate::store::{MemoryStore, Store, Table};

pub const REPLICAS: usize = 3;
const TENANT: &str = "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d";
/// At which every schedule begins.
const START: Timestamp = Timestamp::from_unix(1_800_000_000);

/// What is made once for many schedules.
pub struct Installation {
    servers: Vec<Arc<AuthorizationServer>>,
    sealer: Sealer,
    entra: Arc<entra::Client>,
    audit: Audit,
    pub owner: support::Client,
    pub other: support::Client,
    request: AuthorizationRequest,
}

/// For one schedule.
pub struct Replicas {
    pub servers: Vec<Arc<AuthorizationServer>>,
    pub clock: Clock,
    pub desk: Desk,
    pub request: AuthorizationRequest,
}

/// What `/token` answers.
pub struct Told {
    pub answer: Answer,
    pub tokens: Option<Tokens>,
}

pub struct Tokens {
    pub access_token: String,
    pub expires_in: u64,
    pub refresh_token: String,
    pub session: Index,
}

/// Entra out of reach: its tokens are never renewed.
struct NoCredential;

#[async_trait::async_trait]
impl entra::ClientCredential for NoCredential {
    async fn proof(&self, _: &entra::Url) -> Result<entra::credential::Proof, entra::CredentialError> {
        Err(entra::CredentialError::Unavailable("none in this test".into()))
    }
}

impl Installation {
    pub async fn new() -> Self {
        let settings = support::alone().server.settings;
        let sealer = Sealer::new(KeyRing::ephemeral(), support::ISSUER);
        let clock = Clock::manual(START);
        let entra = entra::Settings {
            authority: entra::Authority::new("http://127.0.0.1:9", TENANT).unwrap(),
            client_id: "g".into(),
            extra_ca_file: None,
            cae: false,
            accept_emulator: false,
        };
        let entra = Arc::new(entra::Client::new(entra, Arc::new(NoCredential)).unwrap());
        let audit = Audit::to_log(sealer.clone(), clock.clone());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        let sessions = Arc::new(Sessions::new(
            session::Settings::default(),
            store.clone(),
            sealer.clone(),
            clock.clone(),
            entra.clone(),
            Access::default(),
            audit.clone(),
        ));
        let server = || {
            let (sealer, store, clock) = (sealer.clone(), store.clone(), clock.clone());
            let (sessions, entra, audit) = (sessions.clone(), entra.clone(), audit.clone());
            let parts = Parts { sealer, store, clock, sessions, entra, audit };
            Arc::new(AuthorizationServer::new(settings.clone(), parts).unwrap())
        };
        let servers: Vec<_> = (0..REPLICAS).map(|_| server()).collect();
        let owner = register(&servers[0], "Owner").await;
        let other = register(&servers[0], "Other").await;
        let asked = http::Request::get(support::authorize_path(&owner, &[])).body(Bytes::new()).unwrap();
        let consent = servers[0].handle(asked).await;
        let request = support::parameter(&support::location(&consent), "request");
        let request = AuthorizationRequest::open(&sealer, &request).unwrap();
        Self { servers, sealer, entra, audit, owner, other, request }
    }

    /// Everything that a schedule before could have left is new.
    pub fn replicas(&mut self, missing: Option<Missing>) -> Replicas {
        let clock = Clock::manual(START);
        let inner = Arc::new(MemoryStore::new(clock.clone()));
        let desk = Desk::new(REPLICAS);
        desk.open(true);
        for (replica, server) in self.servers.iter_mut().enumerate() {
            let redeemed = Mutex::new(HashMap::new());
            let store = Between { inner: inner.clone(), desk: desk.clone(), replica, missing, redeemed };
            let store: Arc<dyn Store> = Arc::new(store);
            let still = missing == Some(Missing::Time) && replica == 0;
            let clock = if still { Clock::manual(START) } else { clock.clone() };
            let settings = session::Settings {
                access_lifetime: Duration::from_secs(ACCESS_LIVES),
                session_idle: Duration::from_secs(IDLE),
                session_max: Duration::from_secs(LONGEST),
                cached: 16,
                ..session::Settings::default()
            };
            let server = Arc::get_mut(server).expect("nothing goes on of the schedule before");
            server.codes = Table::new(store.clone(), self.sealer.clone(), clock.clone(), "code");
            server.clock = clock.clone();
            server.sessions = Arc::new(Sessions::new(
                settings,
                store,
                self.sealer.clone(),
                clock,
                self.entra.clone(),
                Access::default(),
                self.audit.clone(),
            ));
        }
        Replicas { servers: self.servers.clone(), clock, desk, request: self.request.clone() }
    }
}

async fn register(server: &AuthorizationServer, name: &str) -> support::Client {
    let body = serde_json::json!({ "client_name": name, "redirect_uris": [support::REDIRECT_URI] }).to_string();
    let request = http::Request::post("/register").header("content-type", "application/json");
    let response = server.handle(request.body(Bytes::from(body)).unwrap()).await;
    let id = support::json(&response)["client_id"].as_str().unwrap().to_owned();
    support::Client { id, redirect_uri: support::REDIRECT_URI.to_owned() }
}

/// A user has signed in at Entra: the code, if the store has kept everything.
pub async fn sign_in(
    server: &AuthorizationServer,
    request: &AuthorizationRequest,
    user: &str,
    entra_token: &str,
    entra_lives: u64,
) -> Option<String> {
    let sign_in = SignIn {
        user: entra::User { tenant_id: TENANT.into(), object_id: user.into(), name: None, username: None },
        memberships: entra::Memberships::default(),
        access_token: entra::AccessToken {
            token: Secret::new(entra_token.into()),
            expires_in: Duration::from_secs(entra_lives),
            scope: String::new(),
        },
        refresh_token: Some(Secret::new("entra-refresh-token".into())),
    };
    let grant = Grant { client: *request.client.as_bytes(), resource: request.resource.clone() };
    server.grant(request, &grant, &sign_in, "scope", &Context::default()).await.ok()
}

pub async fn redeem(
    server: &AuthorizationServer,
    client: &support::Client,
    code: &str,
    right: bool,
) -> Result<Told, String> {
    let wrong = "x".repeat(43);
    let pairs = [
        ("grant_type", "authorization_code"),
        ("client_id", client.id.as_str()),
        ("code", code),
        ("redirect_uri", client.redirect_uri.as_str()),
        ("code_verifier", if right { VERIFIER } else { &wrong }),
        ("resource", RESOURCE),
    ];
    told(server, client, post(server, "/token", &pairs).await)
}

pub async fn refresh(server: &AuthorizationServer, client: &support::Client, token: &str) -> Result<Told, String> {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("client_id", client.id.as_str()),
        ("refresh_token", token),
        ("resource", RESOURCE),
    ];
    told(server, client, post(server, "/token", &pairs).await)
}

pub async fn sign_out(
    server: &AuthorizationServer,
    client: &support::Client,
    token: &str,
) -> Result<(Answer, usize), String> {
    match post(server, "/revoke", &[("client_id", client.id.as_str()), ("token", token)]).await {
        (200, _) => Ok((Answer::Done, 1)),
        (503, _) => Ok((Answer::Later, 0)),
        (status, body) => Err(format!("signing out was answered {status} {body}")),
    }
}

/// Ends all sessions of a user, as an operator does.
pub async fn revoke(server: &AuthorizationServer, user: &str) -> Result<(Answer, usize), String> {
    let selector = Selector::user(user, &[TENANT.to_owned()]).unwrap();
    let revoked = server.sessions.revoke_selected(&selector, "test", &Context::default()).await;
    match revoked.failure {
        None if revoked.unknown == 0 => Ok((Answer::Done, revoked.ended)),
        None => Ok((Answer::Unsure, revoked.ended)),
        Some(session::NotRevoked::Store(_)) => Ok((Answer::Later, revoked.ended)),
        _ => Err(format!("an operator was told {revoked:?}")),
    }
}

/// A call with a token, for whose session it is. `resource` may be another than the token's.
pub async fn call(server: &AuthorizationServer, token: &str, resource: &str) -> (Answer, Option<(Index, String)>) {
    let header = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    match server.sessions.admit(Some(&header), resource).await {
        Ok(admitted) => {
            let bearer = admitted.bearer().to_str().unwrap().to_owned();
            (Answer::Done, Some((admitted.session(), bearer)))
        }
        Err(denied @ Denied::Store(_)) if denied.is_trouble_behind_us() => (Answer::Later, None),
        Err(_) => (Answer::Refused, None),
    }
}

async fn post(server: &AuthorizationServer, path: &str, pairs: &[(&str, &str)]) -> (u16, Value) {
    let request = http::Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    let response = server.handle(request.body(Bytes::from(form(pairs))).unwrap()).await;
    (response.status().as_u16(), support::json(&response))
}

fn told(server: &AuthorizationServer, client: &support::Client, (status, body): (u16, Value)) -> Result<Told, String> {
    let (answer, tokens) = match (status, body["error"].as_str()) {
        (200, None) => {
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            let (access_token, refresh_token) = (text("access_token"), text("refresh_token"));
            let client = *ClientRef::of(&client.id).as_bytes();
            let opened =
                server.sessions.open_refresh_token(client, &refresh_token).map_err(|cause| cause.to_string())?;
            let (id, generation) = opened.named();
            let session = server.sealer.index(&id).ok_or("a session under a key that is not there")?;
            let expires_in = body["expires_in"].as_u64().ok_or("no expires_in")?;
            (Answer::Tokens(generation), Some(Tokens { access_token, expires_in, refresh_token, session }))
        }
        (400, Some("invalid_grant")) => (Answer::Refused, None),
        (503, Some("temporarily_unavailable")) => (Answer::Later, None),
        _ => return Err(format!("{status} {body}")),
    };
    Ok(Told { answer, tokens })
}
