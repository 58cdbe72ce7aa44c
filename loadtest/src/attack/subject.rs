//! The target: what it says of itself, and the steps of a sign-in there, each of which a case may do otherwise.

mod discovery;
mod sign_in;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::http::{Answer, Client, Request, Trouble};
use super::person::{Buttons, Person};
pub use discovery::parameter;
pub use sign_in::Onward;

/// Nobody listens there: the browser is stopped before it opens it.
pub const REDIRECT_URI: &str = "http://127.0.0.1:33418/callback";

pub struct Subject {
    pub client: Client,
    /// The MCP endpoint.
    pub mcp: Url,
    pub buttons: Buttons,
    /// Where the resource's metadata was found, and what it says; None: there is none.
    pub resource: Option<(Url, Value)>,
    pub issuer: Url,
    /// Where the authorization server's metadata was found.
    pub metadata_url: Url,
    pub metadata: Value,
}

#[derive(Clone, Debug)]
pub struct Registered {
    pub id: String,
    pub secret: Option<String>,
    pub redirect_uri: String,
}

/// What a client keeps to itself of one authorization.
#[derive(Clone, Debug)]
pub struct Proof {
    pub verifier: String,
    pub state: String,
}

/// What a client is given.
pub struct Granted {
    pub client: Registered,
    pub proof: Proof,
    /// The client's address with the answer in it.
    pub answer: Url,
    pub code: String,
    pub person: Person,
}

#[derive(Clone, Debug)]
pub struct Tokens {
    pub client: Registered,
    pub access: String,
    pub refresh: Option<String>,
}

impl Subject {
    /// # Errors
    /// When the metadata names no such endpoint.
    pub fn endpoint(&self, name: &str) -> Result<Url, Trouble> {
        let url = self.metadata[name].as_str().and_then(|url| Url::parse(url).ok());
        url.ok_or_else(|| Trouble::Unable(format!("the metadata names no {name}")))
    }

    /// What a client names as `resource`.
    pub fn resource_id(&self) -> String {
        let named = self.resource.as_ref().and_then(|(_, document)| document["resource"].as_str());
        named.unwrap_or(self.mcp.as_str()).to_owned()
    }

    /// Offers a registration of these members, besides what every one has.
    pub async fn offer(&self, redirect_uris: Value, more: Value) -> Result<Answer, Trouble> {
        let mut body = json!({
            "client_name": "loadtest attack",
            "redirect_uris": redirect_uris,
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        self.client.send(&Request::json(&self.endpoint("registration_endpoint")?, body.to_string())).await
    }

    /// A new client that redirects to this computer.
    pub async fn register(&self) -> Result<Registered, Trouble> {
        self.register_at(REDIRECT_URI, json!({})).await
    }

    pub async fn register_at(&self, redirect_uri: &str, more: Value) -> Result<Registered, Trouble> {
        let answer = self.offer(json!([redirect_uri]), more).await?;
        registered(&answer, redirect_uri).ok_or_else(|| Trouble::Unable(format!("registration: {}", answer.status)))
    }

    /// Every parameter of a good request. Cases change them.
    pub fn parameters(&self, client: &Registered, proof: &Proof) -> Vec<(&'static str, String)> {
        vec![
            ("response_type", "code".to_owned()),
            ("client_id", client.id.clone()),
            ("redirect_uri", client.redirect_uri.clone()),
            ("code_challenge", proof.challenge()),
            ("code_challenge_method", "S256".to_owned()),
            ("state", proof.state.clone()),
            ("resource", self.resource_id()),
        ]
    }

    /// A whole sign-in.
    pub async fn tokens(&self, who: usize) -> Result<Tokens, Trouble> {
        let granted = self.grant(who).await?;
        let answer = self.redeem(&granted, &[]).await?;
        granted.tokens(&answer).ok_or_else(|| Trouble::Unable(format!("a good code: {}", answer.status)))
    }

    /// Presents the code, with parameters put in the place of the good ones; an empty one is left out.
    pub async fn redeem(&self, granted: &Granted, instead: &[(&'static str, String)]) -> Result<Answer, Trouble> {
        let fields = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", granted.code.clone()),
            ("redirect_uri", granted.client.redirect_uri.clone()),
            ("code_verifier", granted.proof.verifier.clone()),
            ("resource", self.resource_id()),
        ];
        self.token(&granted.client, &with(fields, instead)).await
    }

    pub async fn refresh(&self, client: &Registered, refresh: &str) -> Result<Answer, Trouble> {
        let fields = [("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh.to_owned())];
        self.token(client, &fields).await
    }

    pub async fn token(&self, client: &Registered, fields: &[(&'static str, String)]) -> Result<Answer, Trouble> {
        let url = self.endpoint("token_endpoint")?;
        self.client.send(&Request::form(&url, client.fields().into_iter().chain(fields.to_vec()))).await
    }

    /// Calls the MCP endpoint with an `Authorization` header of this token.
    pub async fn call(&self, token: &str) -> Result<Answer, Trouble> {
        self.client.send(&initialize(&self.mcp).with("Authorization", format!("Bearer {token}"))).await
    }

    /// Whether the URL is the authorization server's or the resource's, and not the provider's.
    pub fn is_ours(&self, url: &Url) -> bool {
        let ours = [self.issuer.origin(), self.mcp.origin()];
        ours.contains(&url.origin()) && !is_client(url)
    }
}

impl Registered {
    /// How it says who it is, at the token endpoint.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let secret = self.secret.clone().map(|secret| ("client_secret", secret));
        [("client_id", self.id.clone())].into_iter().chain(secret).collect()
    }
}

impl Proof {
    pub fn new() -> Self {
        Self { verifier: random_text(), state: random_text() }
    }

    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

impl Granted {
    pub fn tokens(&self, answer: &Answer) -> Option<Tokens> {
        let document = answer.json().filter(|_| answer.status == 200)?;
        let access = document["access_token"].as_str()?.to_owned();
        let refresh = document["refresh_token"].as_str().map(str::to_owned);
        Some(Tokens { client: self.client.clone(), access, refresh })
    }
}

pub fn registered(answer: &Answer, redirect_uri: &str) -> Option<Registered> {
    let document = answer.json().filter(|_| matches!(answer.status, 200 | 201))?;
    Some(Registered {
        id: document["client_id"].as_str()?.to_owned(),
        secret: document["client_secret"].as_str().map(str::to_owned),
        redirect_uri: redirect_uri.to_owned(),
    })
}

/// Parameters, some of them put in the place of those of the same name; an empty one is left out.
pub fn with(
    parameters: Vec<(&'static str, String)>,
    instead: &[(&'static str, String)],
) -> Vec<(&'static str, String)> {
    let kept = parameters.into_iter().filter(|(name, _)| !instead.iter().any(|(its, _)| its == name));
    kept.chain(instead.iter().filter(|(_, value)| !value.is_empty()).cloned()).collect()
}

/// One parameter of a URL's query, if it is there exactly once.
pub fn query(url: &Url, name: &str) -> Option<String> {
    let mut values = url.query_pairs().filter(|(its, _)| its == name).map(|(_, value)| value.into_owned());
    values.next().filter(|_| values.next().is_none())
}

/// The first request of every MCP client.
pub fn initialize(mcp: &Url) -> Request {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "loadtest attack", "version": "1"},
    }});
    Request::json(mcp, body.to_string()).with("Accept", "application/json, text/event-stream")
}

pub fn random_text() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn is_client(url: &Url) -> bool {
    url.as_str().starts_with(REDIRECT_URI)
}
