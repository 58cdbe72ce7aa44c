//! Signing in as a person does, in whatever weather: each step may be refused, and that is an answer.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::header::{COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Method};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::chaos::rig::{Signed, upn};
use crate::support::browser::Page;
use crate::support::journey::{REDIRECT_URI, VERIFIER, query};

/// Where the edge is for whoever asks: all of it, or one replica under the name of all.
#[derive(Clone)]
pub struct Door {
    pub http: Client,
    /// `http://localhost:PORT`, which is what everything is named by.
    pub public: String,
    /// The port that is really gone to.
    pub port: u16,
    pub client_id: String,
    /// The codes and tokens that came out, of all doors to this edge.
    pub given: Arc<Mutex<HashSet<String>>>,
}

/// Who was not let in, at which step, and how that was said. Status 0: there was no answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub at: &'static str,
    pub status: u16,
    pub said: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {}: {}", self.status, self.at, self.said.chars().take(160).collect::<String>())
    }
}

/// A browser of the moment: cookies by host.
#[derive(Default)]
struct Jar(Vec<(String, String, String)>);

impl Door {
    /// The same edge, seen at one replica.
    pub fn of_replica(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let host = self.public.strip_prefix("http://").unwrap();
        self.http.request(method, format!("http://127.0.0.1:{}{path}", self.port)).header(HOST, host)
    }

    /// Through everything, to tokens.
    pub async fn sign_in(&self, user: usize) -> Result<Signed, Refusal> {
        let code = self.code(user).await?;
        let (status, tokens) = self.redeem(&code).await;
        if status != 200 {
            return Err(Refusal { at: "token", status, said: tokens.to_string() });
        }
        Ok(Signed::new(user, &tokens))
    }

    /// Likewise, where nothing is wrong: whoever is told to come again does, for a busy machine may have Redis late once.
    pub async fn sign_in_again(&self, user: usize) -> Result<Signed, Refusal> {
        again(async || self.sign_in(user).await).await
    }

    /// Likewise.
    pub async fn code_again(&self, user: usize) -> Result<String, Refusal> {
        again(async || self.code(user).await).await
    }

    /// To the code, which nobody has redeemed.
    pub async fn code(&self, user: usize) -> Result<String, Refusal> {
        let mut jar = Jar::default();
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let resource = self.resource();
        let parameters = [
            ("response_type", "code"),
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", "the state"),
            ("resource", &resource),
        ];
        let url: String = Url::parse_with_params(&format!("{}/authorize", self.public), parameters).unwrap().into();
        let asked = self.go(&mut jar, Method::GET, &url, None).await.expect(303, "authorize")?;
        let page = self.go(&mut jar, Method::GET, &asked.next(), None).await.expect(200, "consent")?;
        let form =
            [("request", page.hidden("request")), ("csrf", page.hidden("csrf")), ("decision", "allow".to_owned())];
        let allowed = self.go(&mut jar, Method::POST, &page.action(), Some(&form)).await.expect(200, "allow")?;
        let users = self.go(&mut jar, Method::GET, &allowed.next(), None).await.expect(200, "entra")?;
        let form = [("flow", users.hidden("flow")), ("user", upn(user))];
        let back = self.go(&mut jar, Method::POST, &users.action(), Some(&form)).await.expect(302, "entra")?;
        let back = self.go(&mut jar, Method::GET, &back.next(), None).await.expect(303, "callback")?;
        let to_client = Url::parse(&back.next()).unwrap();
        let code = query(&to_client, "code");
        self.given.lock().unwrap().extend(code.clone());
        code.ok_or_else(|| {
            let error = query(&to_client, "error").unwrap_or_default();
            // What the client is told is as good as a status, and is told as one.
            let status = if error == "temporarily_unavailable" { 503 } else { 303 };
            Refusal { at: "callback", status, said: to_client.to_string() }
        })
    }

    pub async fn redeem(&self, code: &str) -> (u16, Value) {
        let resource = self.resource();
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("client_id", &self.client_id),
            ("code_verifier", VERIFIER),
            ("resource", &resource),
        ])
        .await
    }

    pub async fn refresh(&self, refresh_token: &str) -> (u16, Value) {
        let resource = self.resource();
        self.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", &self.client_id),
            ("resource", &resource),
        ])
        .await
    }

    pub async fn revoke(&self, refresh_token: &str) -> u16 {
        let form = [("token", refresh_token), ("client_id", &self.client_id)];
        self.request(Method::POST, "/revoke").form(&form).send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// The status of a call, and what the server says if it is one. `id` tells the call from all others.
    pub async fn call(&self, access_token: &str, id: &str) -> (u16, Value) {
        let body = format!("{{\"id\":\"{id}\"}}");
        let request = self.request(Method::POST, "/mcp").bearer_auth(access_token).body(body);
        let Ok(answer) = request.header("content-type", "application/json").send().await else {
            return (0, Value::Null);
        };
        let status = answer.status().as_u16();
        match answer.json().await {
            Ok(said) => (status, said),
            // What is not JSON is of no use where there should be an answer.
            Err(_) => (if status == 200 { 0 } else { status }, Value::Null),
        }
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let Ok(answer) = self.request(Method::POST, "/token").form(form).send().await else { return (0, Value::Null) };
        let status = answer.status().as_u16();
        let Ok(said) = answer.json::<Value>().await else { return (0, Value::Null) };
        let tokens = ["access_token", "refresh_token"].iter().filter_map(|key| said[key].as_str());
        self.given.lock().unwrap().extend(tokens.map(str::to_owned));
        (status, said)
    }

    fn resource(&self) -> String {
        format!("{}/mcp", self.public)
    }

    async fn go(&self, jar: &mut Jar, method: Method, url: &str, form: Option<&[(&str, String)]>) -> Gone {
        let parsed = Url::parse(url).unwrap();
        let host = format!("{}:{}", parsed.host_str().unwrap(), parsed.port().unwrap_or(80));
        let mut request = match url.strip_prefix(&self.public) {
            Some(path) => self.request(method, path),
            None => self.http.request(method, url),
        };
        let cookies: Vec<_> =
            jar.0.iter().filter(|(of, ..)| *of == host).map(|(_, name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if let Some(form) = form {
            request =
                request.form(form).header(ORIGIN, format!("http://{host}")).header("sec-fetch-site", "same-origin");
        }
        let answered = async {
            let answer = request.send().await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, answer.text().await?))
        };
        match answered.await {
            Ok((status, headers, body)) => {
                jar.keep(&host, &headers);
                let location = headers.get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
                Gone(Ok(Page { status, url: parsed, location, body, headers }))
            }
            Err(error) => Gone(Err(format!("{error:?}"))),
        }
    }
}

/// Bounded.
async fn again<T>(what: impl AsyncFn() -> Result<T, Refusal>) -> Result<T, Refusal> {
    for _ in 0..5 {
        match what().await {
            Err(refusal) if refusal.status == 503 => tokio::time::sleep(Duration::from_millis(300)).await,
            other => return other,
        }
    }
    what().await
}

struct Gone(Result<Page, String>);

impl Gone {
    fn expect(self, status: u16, at: &'static str) -> Result<Page, Refusal> {
        match self.0 {
            Ok(page) if page.status == status => Ok(page),
            Ok(page) => Err(Refusal { at, status: page.status.as_u16(), said: page.location.unwrap_or(page.body) }),
            Err(said) => Err(Refusal { at, status: 0, said }),
        }
    }
}

impl Jar {
    fn keep(&mut self, host: &str, headers: &reqwest::header::HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').unwrap();
            self.0.retain(|(of, kept, _)| of != host || kept != name.trim());
            if !attributes.to_ascii_lowercase().contains("max-age=0") {
                self.0.push((host.to_owned(), name.trim().to_owned(), value.to_owned()));
            }
        }
    }
}

/// As patient as the slowest answer that may come; `kept` keeps a few connections for later. Who came in a crowd leaves, or the
/// edge would seem to hold what clients do.
pub fn client(kept: bool) -> Client {
    crate::support::install_crypto_provider();
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // Whatever a client would try again by itself would be hidden here.
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(20));
    builder.pool_max_idle_per_host(if kept { 4 } else { 0 }).pool_idle_timeout(Duration::from_secs(10)).build().unwrap()
}

/// Whether this is an answer to the person who asked.
pub fn is_about(said: &Value, signed: &Signed, id: &str) -> bool {
    said["oid"] == signed.oid.as_str() && said["said"]["id"] == id
}
