//! The target: what it says of itself, and the steps of a sign-in there, each of which a case may do otherwise.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::http::{Answer, Client, Request, Trouble};
use super::person::{Buttons, Page, Person};

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

/// Where a person came to after saying yes.
#[derive(Debug)]
pub enum Onward {
    /// At the identity provider; not opened yet.
    Provider(Url),
    /// At the client; never opened.
    Client(Url),
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
    /// Finds the authorization server as a client does: by the challenge, else at the well-known places.
    pub async fn discover(client: Client, mcp: Url, buttons: Buttons) -> anyhow::Result<Self> {
        let answer = client.send(&initialize(&mcp)).await?;
        let named = answer.header("www-authenticate").and_then(|challenge| parameter(challenge, "resource_metadata"));
        let mut places: Vec<_> = named.and_then(|url| Url::parse(&url).ok()).into_iter().collect();
        places.extend(well_known(&mcp, "oauth-protected-resource"));
        let resource = first_document(&client, &places, "resource").await;
        let issuer = resource
            .as_ref()
            .and_then(|(_, document)| document["authorization_servers"][0].as_str())
            .and_then(|issuer| Url::parse(issuer).ok());
        let issuer = match issuer {
            Some(issuer) => issuer,
            None => mcp.join("/")?,
        };
        let mut places = well_known(&issuer, "oauth-authorization-server");
        places.extend(well_known(&issuer, "openid-configuration"));
        places.push(issuer.join(&format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/')))?);
        let found = first_document(&client, &places, "authorization_endpoint").await;
        let Some((metadata_url, metadata)) = found else {
            anyhow::bail!(
                "no metadata of an authorization server at {issuer} (another origin has to be allowed by --also)"
            );
        };
        Ok(Self { client, mcp, buttons, resource, issuer, metadata_url, metadata })
    }

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

    pub fn authorize(&self, parameters: &[(&str, String)]) -> Result<Url, Trouble> {
        let mut url = self.endpoint("authorization_endpoint")?;
        url.query_pairs_mut().extend_pairs(parameters);
        Ok(url)
    }

    /// Opens a request for authorization and goes on by itself as far as the authorization server leads.
    pub async fn ask(&self, person: &mut Person, parameters: &[(&str, String)]) -> Result<Page, Trouble> {
        let mut page = person.open(&self.client, &self.authorize(parameters)?).await?;
        for _ in 0..MOST_PAGES {
            match page.leads_to() {
                Some(next) if self.is_ours(&next) => page = person.open(&self.client, &next).await?,
                _ => break,
            }
        }
        Ok(page)
    }

    /// The consent page of a new request.
    pub async fn consent(&self, person: &mut Person, client: &Registered, proof: &Proof) -> Result<Page, Trouble> {
        let page = self.ask(person, &self.parameters(client, proof)).await?;
        match page.form(&self.buttons.allow) {
            Some(_) => Ok(page),
            None => Err(Trouble::Unable(format!("no page with a button to allow (--allow): {}", page.answer.status))),
        }
    }

    /// Says yes on a consent page.
    pub async fn allow(&self, person: &mut Person, page: &Page) -> Result<Onward, Trouble> {
        let Some((form, button)) = page.form(&self.buttons.allow) else {
            return Err(Trouble::Unable("no button to allow (--allow)".to_owned()));
        };
        let page = person.press(&self.client, page, &form, button).await?;
        self.onward(person, page).await
    }

    /// Follows as far as it leads to the provider or the client.
    pub async fn onward(&self, person: &mut Person, mut page: Page) -> Result<Onward, Trouble> {
        for _ in 0..MOST_PAGES {
            let Some(next) = page.leads_to() else {
                return Err(Trouble::Unable(format!("the way ends at a page of {}", page.answer.status)));
            };
            if is_client(&next) {
                return Ok(Onward::Client(next));
            }
            if !self.is_ours(&next) {
                return Ok(Onward::Provider(next));
            }
            page = person.open(&self.client, &next).await?;
        }
        Err(Trouble::Unable("the way does not end".to_owned()))
    }

    /// Signs in at the provider as the n-th person. The result is the callback, not opened.
    pub async fn sign_in(&self, person: &mut Person, at: &Url, who: usize) -> Result<Url, Trouble> {
        let none = || Trouble::Unable("it needs a sign-in (--login)".to_owned());
        let login = self.buttons.logins.get(who).ok_or_else(none)?;
        let mut page = person.open(&self.client, at).await?;
        for _ in 0..MOST_PAGES {
            if let Some(next) = page.leads_to() {
                if self.is_ours(&next) {
                    return Ok(next);
                }
                page = person.open(&self.client, &next).await?;
            } else if let Some((form, button)) = page.form(std::slice::from_ref(login)) {
                page = person.press(&self.client, &page, &form, button).await?;
            } else {
                return Err(Trouble::Unable(format!("the provider's page of {} has no way on", page.answer.status)));
            }
        }
        Err(Trouble::Unable("the provider's pages do not end".to_owned()))
    }

    /// From the page, or the redirect, that came of a request to the client's answer.
    pub async fn finish(&self, person: &mut Person, page: Page, who: usize) -> Result<Url, Trouble> {
        // There are servers that ask nobody.
        let onward = match page.leads_to() {
            Some(_) => self.onward(person, page).await?,
            None => self.allow(person, &page).await?,
        };
        let provider = match onward {
            Onward::Client(answer) => return Ok(answer),
            Onward::Provider(at) => at,
        };
        let callback = self.sign_in(person, &provider, who).await?;
        let page = person.open(&self.client, &callback).await?;
        match self.onward(person, page).await? {
            Onward::Client(answer) => Ok(answer),
            Onward::Provider(_) => Err(Trouble::Unable("back at the provider".to_owned())),
        }
    }

    /// Everything up to the code: a new client, a new browser, the n-th person.
    pub async fn grant(&self, who: usize) -> Result<Granted, Trouble> {
        let client = self.register().await?;
        self.grant_to(client, who, &[]).await
    }

    /// The same for a client, with parameters put in the place of its own.
    pub async fn grant_to(
        &self,
        client: Registered,
        who: usize,
        instead: &[(&'static str, String)],
    ) -> Result<Granted, Trouble> {
        if self.buttons.logins.len() <= who {
            return Err(Trouble::Unable("it needs a sign-in (--login)".to_owned()));
        }
        let (mut person, proof) = (Person::default(), Proof::new());
        let parameters = with(self.parameters(&client, &proof), instead);
        let page = self.ask(&mut person, &parameters).await?;
        let answer = self.finish(&mut person, page, who).await?;
        let code = query(&answer, "code").ok_or_else(|| Trouble::Unable("an answer without a code".to_owned()))?;
        Ok(Granted { client, proof, answer, code, person })
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

/// A parameter of a challenge (RFC 9110 section 11.2).
pub fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, rest) = challenge.split_once(&format!("{name}="))?;
    Some(match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default().to_owned(),
        None => rest.split([',', ' ']).next().unwrap_or_default().to_owned(),
    })
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

/// Before the path (RFC 8615), and without it.
fn well_known(url: &Url, name: &str) -> Vec<Url> {
    let path = url.path().trim_end_matches('/');
    let places = [format!("/.well-known/{name}{path}"), format!("/.well-known/{name}")];
    places.iter().filter_map(|place| url.join(place).ok()).collect()
}

/// The first of these places that has a document with this member.
async fn first_document(client: &Client, places: &[Url], member: &str) -> Option<(Url, Value)> {
    for place in places {
        if let Ok(answer) = client.send(&Request::get(place)).await
            && let Some(document) = answer.json().filter(|document| document.get(member).is_some())
        {
            return Some((place.clone(), document));
        }
    }
    None
}

/// A sign-in has about eight.
const MOST_PAGES: usize = 20;
