//! A responder on loopback that signs, publishes and answers whatever a test wants: the liar that Entra never is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{hmac, rand};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra::credential::{IdentityHost, ManagedIdentity, Proof};
use entra::{Authority, Client, ClientCredential, CredentialError, Renewal, Secret, Settings, Url};
use serde_json::{Value, json};

pub const TENANT: &str = "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d";
pub const GATEWAY: &str = "11111111-0000-4000-8000-000000000001";
pub const SERVER: &str = "22222222-0000-4000-8000-000000000002";
pub const ADELE: &str = "aaaaaaaa-0000-4000-8000-00000000000a";

/// Of Adele's, at the one tenant.
pub fn renewal<'a>(refresh_token: &'a Secret, scope: &'a str) -> Renewal<'a> {
    Renewal { refresh_token, tenant_id: TENANT, object_id: ADELE, scope, claims: None }
}

/// The time of every test.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_S)
}

/// The same in seconds.
pub const NOW_S: u64 = 1_800_000_000;

/// Published as K1 and, when a test rolls the keys, K2. The third is nobody's.
pub static KEYS: LazyLock<[RsaKeyPair; 3]> =
    LazyLock::new(|| [(); 3].map(|()| RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

pub struct Call {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub form: HashMap<String, String>,
}

#[derive(Clone, Default)]
pub struct Stage(Arc<Script>);

#[derive(Default)]
struct Script {
    address: Mutex<String>,
    keys: Mutex<Value>,
    answers: Mutex<VecDeque<Answer>>,
    calls: Mutex<Vec<Call>>,
}

#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub delay: Duration,
}

pub fn answer(status: u16, body: impl ToString) -> Answer {
    Answer { status, headers: vec![], body: body.to_string(), delay: Duration::ZERO }
}

pub fn install_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Stage {
    pub async fn start() -> Self {
        install_tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stage = Self::default();
        *stage.0.address.lock().unwrap() = format!("http://{}", listener.local_addr().unwrap());
        let base = stage.address();
        stage.publish(json!({"keys": [jwk("K1", 0, &format!("{base}/{{tenantid}}/v2.0"))]}));
        let router = axum::Router::new().fallback(respond).with_state(stage.clone());
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, router).await });
        stage
    }

    pub fn address(&self) -> String {
        self.0.address.lock().unwrap().clone()
    }

    pub fn authority(&self) -> Authority {
        Authority::new(&self.address(), TENANT).unwrap()
    }

    pub fn publish(&self, keys: Value) {
        *self.0.keys.lock().unwrap() = keys;
    }

    /// Queues answers of the token endpoint and of the metadata service.
    pub fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.answers.lock().unwrap().extend(answers);
    }

    pub fn calls(&self, path_end: &str) -> usize {
        self.0.calls.lock().unwrap().iter().filter(|call| call.path.ends_with(path_end)).count()
    }

    pub fn last_call(&self) -> Call {
        self.0.calls.lock().unwrap().pop().expect("there was a call")
    }

    pub fn client(&self, client_id: &str) -> Client {
        self.client_with(client_id, Fixed::new("assertion"), false)
    }

    pub fn client_with(&self, client_id: &str, credential: Arc<Fixed>, accept_emulator: bool) -> Client {
        self.client_at(self.authority(), client_id, credential, accept_emulator)
    }

    /// Whose users the authority allows.
    pub fn client_of(&self, client_id: &str, tenants: &[&str]) -> Client {
        let tenants: Vec<_> = tenants.iter().map(|id| (*id).to_owned()).collect();
        let authority = self.authority().allowing(&tenants).unwrap();
        self.client_at(authority, client_id, Fixed::new("assertion"), false)
    }

    fn client_at(
        &self,
        authority: Authority,
        client_id: &str,
        credential: Arc<Fixed>,
        accept_emulator: bool,
    ) -> Client {
        let settings =
            Settings { authority, client_id: client_id.to_owned(), extra_ca_file: None, cae: false, accept_emulator };
        Client::new(settings, credential).unwrap()
    }
}

/// A credential that counts, and changes its assertion when told to forget.
pub struct Fixed {
    pub text: Mutex<String>,
    pub forgotten: Mutex<u32>,
}

impl Fixed {
    pub fn new(text: &str) -> Arc<Self> {
        Arc::new(Self { text: Mutex::new(text.to_owned()), forgotten: Mutex::new(0) })
    }
}

#[async_trait::async_trait]
impl ClientCredential for Fixed {
    async fn proof(&self, _: &Url) -> Result<Proof, CredentialError> {
        let text = self.text.lock().unwrap().clone();
        if text.is_empty() {
            Err(CredentialError::Unavailable("none in the test".into()))
        } else {
            Ok(Proof::Assertion(text.into()))
        }
    }

    fn forget(&self) {
        *self.forgotten.lock().unwrap() += 1;
        *self.text.lock().unwrap() = "renewed".into();
    }
}

async fn respond(State(stage): State<Stage>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().as_bytes().to_vec();
    let form = if body.is_empty() { query } else { body.to_vec() };
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    stage.0.calls.lock().unwrap().push(Call {
        method: parts.method.to_string(),
        path: path.clone(),
        headers: headers.collect(),
        form: form_urlencoded::parse(&form).into_owned().collect(),
    });
    if path.ends_with("/discovery/v2.0/keys") {
        let keys = stage.0.keys.lock().unwrap().clone();
        let status = if keys.is_null() { 500 } else { 200 };
        return Response::builder().status(status).body(Body::from(keys.to_string())).unwrap();
    }
    let next = stage.0.answers.lock().unwrap().pop_front();
    let next = next.unwrap_or_else(|| answer(418, format!("nothing scripted for {path}")));
    tokio::time::sleep(next.delay).await;
    let mut response = Response::builder().status(next.status);
    for (name, value) in next.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(next.body)).unwrap()
}

pub fn jwk(kid: &str, key: usize, issuer: &str) -> Value {
    let der = KEYS[key].public_key().as_ref();
    // RSAPublicKey of 2048 bits: two headers and the sign byte, the modulus, the exponent 65537.
    assert_eq!(der.len(), 270);
    json!({"kty": "RSA", "use": "sig", "kid": kid, "x5t": kid, "issuer": issuer,
        "n": URL_SAFE_NO_PAD.encode(&der[9..265]), "e": "AQAB", "x5c": ["..."]})
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A token with any header and any claims, signed with RS256 by one of the keys whatever the header says.
pub fn sign(header: &Value, claims: &Value, key: usize) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; KEYS[key].public_modulus_len()];
    KEYS[key].sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub fn signed(claims: &Value) -> String {
    sign(&json!({"typ": "JWT", "alg": "RS256", "kid": "K1"}), claims, 0)
}

pub fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", encode(&json!({"typ": "JWT", "alg": "none", "kid": "K1"})), encode(claims))
}

/// The classic confusion: an HMAC whose secret is the public key, which everybody has.
pub fn hmac_with_the_public_key(claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "HS256", "kid": "K1"});
    let message = format!("{}.{}", encode(&header), encode(claims));
    let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(KEYS[0].public_key()).unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_ref()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The claims with some changed; `null` removes.
pub fn but(claims: &Value, changes: Value) -> Value {
    let mut claims = claims.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    Value::Object(claims)
}

/// An identity whose metadata service is at `endpoint`.
pub fn identity_at(client_id: &str, endpoint: String) -> ManagedIdentity {
    ManagedIdentity::new(
        entra::Cloud::Public,
        Some(client_id.to_owned()),
        &IdentityHost::Metadata { endpoint },
        Arc::new(now),
    )
    .unwrap()
}
