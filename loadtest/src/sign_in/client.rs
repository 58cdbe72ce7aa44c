//! An MCP client and its user: the whole sign-in, from discovery to the token, each step timed.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use rand::Rng;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::browser::{Browser, Connections, Page, encoded};
use crate::clock::wall;
use crate::failure::Failure;
use crate::target::Target;
use crate::tokens::Session;

/// Where the edge's endpoints are, by its own word (RFC 8414).
#[derive(Clone)]
pub struct Endpoints {
    resource: Target,
    register: Target,
    authorize: Target,
    token: Target,
}

/// The parts of a sign-in, in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    Register,
    /// `/authorize` and the consent page.
    Authorize,
    /// Allow.
    Consent,
    /// Everything at Entra: none of the edge's time.
    Entra,
    /// Back at the edge, which redeems Entra's code.
    Callback,
    Token,
}

impl Step {
    pub const ALL: [Self; 6] =
        [Self::Register, Self::Authorize, Self::Consent, Self::Entra, Self::Callback, Self::Token];

    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Authorize => "authorize",
            Self::Consent => "consent",
            Self::Entra => "at Entra",
            Self::Callback => "callback",
            Self::Token => "token",
        }
    }
}

/// What of a step was done at once: some have several pages.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub step: Step,
    /// Since 1970.
    pub begun: Duration,
    pub took: Duration,
}

/// A sign-in, as it went.
#[derive(Clone, Debug, Default)]
pub struct Course(Vec<Part>);

impl Course {
    pub fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        Self(parts.into_iter().collect())
    }

    /// In the order of time.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    /// How long a step took.
    pub fn took(&self, step: Step) -> Duration {
        self.0.iter().filter(|part| part.step == step).map(|part| part.took).sum()
    }

    async fn time<T>(&mut self, step: Step, part: impl Future<Output = T>) -> T {
        let (begun, clock) = (wall(), Instant::now());
        let done = part.await;
        self.0.push(Part { step, begun, took: clock.elapsed() });
        done
    }
}

impl Endpoints {
    /// Asks the edge that serves `resource`.
    ///
    /// # Errors
    /// When its metadata cannot be had, or name another machine.
    pub async fn discover(connections: &mut Connections, resource: &Target) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Metadata {
            registration_endpoint: String,
            authorization_endpoint: String,
            token_endpoint: String,
        }
        let away = |_| Failure::Content("endpoint on this machine");
        let at = resource.join("/.well-known/oauth-authorization-server").map_err(away)?;
        let answer = connections.exchange(&at, Request::new(Full::default())).await?;
        let metadata: Metadata = parsed(&answer, StatusCode::OK)?;
        Ok(Self {
            resource: resource.clone(),
            register: at.join(&metadata.registration_endpoint).map_err(away)?,
            authorize: at.join(&metadata.authorization_endpoint).map_err(away)?,
            token: at.join(&metadata.token_endpoint).map_err(away)?,
        })
    }

    /// Registers a client, signs `user` in and redeems the code.
    ///
    /// # Errors
    /// Says at which kind of answer it ended.
    pub async fn sign_in(&self, connections: &mut Connections, user: &str) -> Result<(Session, Course), Failure> {
        let mut course = Course::default();
        let client_id = course.time(Step::Register, self.register(connections)).await?;

        let verifier = random_text();
        let answer = self.authorize(connections, &client_id, &verifier, user, &mut course).await?;
        let query = answer.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let code = form_urlencoded::parse(query.as_bytes())
            .find_map(|(name, value)| (name == "code").then(|| value.into_owned()))
            .ok_or(Failure::Content("code"))?;

        let session = course.time(Step::Token, self.redeem(connections, &client_id, &code, &verifier)).await?;
        Ok((session, course))
    }

    async fn register(&self, connections: &mut Connections) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Registered {
            client_id: String,
        }
        let body = serde_json::json!({
            "client_name": "loadtest",
            "redirect_uris": [REDIRECT_URI],
            "token_endpoint_auth_method": "none",
        });
        let request = post("application/json", body.to_string());
        let answer = connections.exchange(&self.register, request).await?;
        Ok(parsed::<Registered>(&answer, StatusCode::CREATED)?.client_id)
    }

    /// The browser's part. The result is the URL that the browser would have opened at the client.
    async fn authorize(
        &self,
        connections: &mut Connections,
        client_id: &str,
        verifier: &str,
        user: &str,
        course: &mut Course,
    ) -> Result<String, Failure> {
        let mut url = self.authorize.url().clone();
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))),
            ("code_challenge_method", "S256"),
            ("state", &random_text()),
            ("resource", self.resource.url().as_str()),
        ]);
        let mut browser = Browser::default();
        let to = Target::new(url).map_err(|_| Failure::Content("endpoint on this machine"))?;
        let mut page = course.time(Step::Authorize, browser.get(connections, to)).await?;
        for _ in 0..MOST_PAGES {
            if let Some(next) = page.leads_to() {
                if next.strip_prefix(REDIRECT_URI).is_some_and(|rest| rest.starts_with('?')) {
                    return Ok(next);
                }
                let to = page.join(&next)?;
                page = course.time(self.step_of(&to), browser.get(connections, to)).await?;
            } else if let Some(form) = page.form_with(ALLOW) {
                page = course.time(Step::Consent, browser.press(connections, &page, form, ALLOW)).await?;
            } else if let Some(form) = page.form_with(("user", user)) {
                page = course.time(Step::Entra, browser.press(connections, &page, form, ("user", user))).await?;
            } else {
                return Err(dead_end(&page));
            }
        }
        Err(Failure::Content("end of the sign-in"))
    }

    fn step_of(&self, to: &Target) -> Step {
        if to.address() != self.authorize.address() {
            return Step::Entra;
        }
        if to.url().path() == "/oauth-callback" { Step::Callback } else { Step::Authorize }
    }

    async fn redeem(
        &self,
        connections: &mut Connections,
        client_id: &str,
        code: &str,
        verifier: &str,
    ) -> Result<Session, Failure> {
        #[derive(Deserialize)]
        struct Tokens {
            access_token: String,
            expires_in: u64,
        }
        let body = encoded([
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("code", code),
            ("code_verifier", verifier),
            ("resource", self.resource.url().as_str()),
        ]);
        let request = post("application/x-www-form-urlencoded", body);
        let answer = connections.exchange(&self.token, request).await?;
        let tokens: Tokens = parsed(&answer, StatusCode::OK)?;
        Ok(Session {
            access_token: tokens.access_token,
            expires_at: wall().as_secs().saturating_add(tokens.expires_in),
        })
    }
}

fn dead_end(page: &Page) -> Failure {
    match page.status() {
        200 => Failure::Content("way on"),
        got => Failure::Status { got, expected: 200 },
    }
}

fn post(kind: &'static str, body: String) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    request
}

fn parsed<'a, T: Deserialize<'a>>(answer: &'a Response<Bytes>, status: StatusCode) -> Result<T, Failure> {
    let (got, expected) = (answer.status().as_u16(), status.as_u16());
    if got != expected {
        return Err(Failure::Status { got, expected });
    }
    serde_json::from_slice(answer.body()).map_err(|_| Failure::Content("JSON as expected"))
}

fn random_text() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Nobody listens there: the browser is stopped before it opens it.
const REDIRECT_URI: &str = "http://127.0.0.1:33418/callback";
const ALLOW: (&str, &str) = ("decision", "allow");
/// A sign-in has about eight.
const MOST_PAGES: usize = 20;
