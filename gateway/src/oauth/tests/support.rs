//! A server with its parts, browsers with cookie jars, and a client that does what the SDKs do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fake_entra::FakeEntra;
use form_urlencoded::Serializer;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{Request, Response};
use serde_json::Value;
use url::Url;

use crate::access::Access;
use crate::audit::Audit;
use crate::clock::{Clock, Timestamp};
use crate::oauth::{
    AuthorizationServer, ClientSettings, LimitSettings, Parts, Remember, Resource, Resources, Settings,
};
use crate::public_url::PublicUrl;
use crate::sealed::{KeyRing, Sealer};
use crate::session::{self, Sessions};
use crate::store::Switchable;

pub const ISSUER: &str = "http://localhost:8080";
pub const RESOURCE: &str = "http://localhost:8080/mcp";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const REDIRECT_URI: &str = "https://client.example/cb?tenant=a%20b";
pub const USER: &str = "adele@contoso.example";

pub struct Fixture {
    pub server: AuthorizationServer,
    pub sessions: Arc<Sessions>,
    pub store: Arc<Switchable>,
    pub clock: Clock,
    /// Kept alive for its listeners.
    pub entra: Option<FakeEntra>,
    settings: Settings,
    sealer: Sealer,
    entra_client: Arc<entra::Client>,
}

/// Keeps cookies as a browser does, and shows every answer to whoever asks later.
#[derive(Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
}

/// A registered client.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub redirect_uri: String,
}

/// A server that never calls Entra: nothing listens where it would.
pub fn alone() -> Fixture {
    alone_with(|_| {})
}

pub fn alone_with(change: impl FnOnce(&mut Settings)) -> Fixture {
    build(None, change)
}

/// A server in front of a stand-in of its own.
pub async fn with_entra() -> Fixture {
    with_entra_and(|_| {}).await
}

pub async fn with_entra_and(change: impl FnOnce(&mut Settings)) -> Fixture {
    let entra = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    build(Some(entra), change)
}

fn build(fake: Option<FakeEntra>, change: impl FnOnce(&mut Settings)) -> Fixture {
    install_tls_provider();
    let (authority, identity, scope) = match &fake {
        Some(fake) => (fake.authority(), Some(fake.gateway_identity().to_owned()), fake.scope()),
        None => ("http://127.0.0.1:9".to_owned(), None, "api://m/access_as_user".to_owned()),
    };
    let tenant = fake.as_ref().map_or("8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d", FakeEntra::tenant_id);
    let host = entra::credential::IdentityHost::Metadata { endpoint: authority.clone() };
    let told = Arc::new(|| Clock::system().now().into());
    let credential = entra::credential::ManagedIdentity::new(entra::Cloud::Public, identity, &host, told).unwrap();
    let entra_settings = entra::Settings {
        authority: entra::Authority::new(&authority, tenant).unwrap(),
        client_id: fake.as_ref().map_or("g", FakeEntra::gateway_client_id).to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: true,
    };
    let public_url = PublicUrl::parse(ISSUER).unwrap();
    let mut settings = Settings {
        resources: Resources::new(
            &public_url,
            vec![Resource::new(&public_url, "/mcp", &scope), Resource::new(&public_url, "/other", &scope)],
        ),
        public_url,
        server_name: "Contoso tools".into(),
        remember: Remember::Ask,
        limits: LimitSettings::UNBOUNDED,
        clients: ClientSettings { custom_schemes: vec!["cursor".into()], ..ClientSettings::default() },
    };
    change(&mut settings);
    // Of this moment, since Entra's tokens are; standing still, so that tests can move it.
    let clock = Clock::manual(Clock::system().now());
    let store = Arc::new(Switchable::new(clock.clone()));
    let sealer = Sealer::new(KeyRing::ephemeral(), ISSUER);
    let entra_client = Arc::new(entra::Client::new(entra_settings, Arc::new(credential)).unwrap());
    let sessions = Arc::new(Sessions::new(
        session::Settings::default(),
        store.clone(),
        sealer.clone(),
        clock.clone(),
        entra_client.clone(),
        Access::default(),
        Audit::to_log(sealer.clone(), clock.clone()),
    ));
    Fixture::new(settings, sealer, store, clock, sessions, entra_client, fake)
}

impl Fixture {
    fn new(
        settings: Settings,
        sealer: Sealer,
        store: Arc<Switchable>,
        clock: Clock,
        sessions: Arc<Sessions>,
        entra_client: Arc<entra::Client>,
        entra: Option<FakeEntra>,
    ) -> Self {
        let parts = Parts {
            sealer: sealer.clone(),
            store: store.clone(),
            clock: clock.clone(),
            sessions: sessions.clone(),
            entra: entra_client.clone(),
            audit: Audit::to_log(sealer.clone(), clock.clone()),
        };
        let server = AuthorizationServer::new(settings.clone(), parts).unwrap();
        Self { server, sessions, store, clock, entra, settings, sealer, entra_client }
    }

    /// The same installation with other settings: keys, store and time are what they were. Entra stays with `self`.
    pub fn restarted(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings.clone();
        change(&mut settings);
        let (sealer, store, clock) = (self.sealer.clone(), self.store.clone(), self.clock.clone());
        Self::new(settings, sealer, store, clock, self.sessions.clone(), self.entra_client.clone(), None)
    }

    pub fn entra(&self) -> &FakeEntra {
        self.entra.as_ref().expect("the fixture was made with Entra")
    }

    pub fn token_calls(&self) -> u64 {
        self.entra().counters().token_calls()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub async fn get(&self, path: &str) -> Response<Bytes> {
        self.server.handle(Request::get(path).body(Bytes::new()).unwrap()).await
    }

    pub async fn post_json(&self, path: &str, body: &str) -> Response<Bytes> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json; charset=utf-8");
        self.server.handle(request.body(Bytes::from(body.to_owned())).unwrap()).await
    }

    pub async fn post_form(&self, path: &str, pairs: &[(&str, &str)]) -> Response<Bytes> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.server.handle(request.body(Bytes::from(form(pairs))).unwrap()).await
    }

    pub async fn register(&self, name: &str, redirect_uri: &str) -> Client {
        let body = serde_json::json!({ "client_name": name, "redirect_uris": [redirect_uri] });
        let response = self.post_json("/register", &body.to_string()).await;
        assert_eq!(response.status(), 201);
        let id = json(&response)["client_id"].as_str().unwrap().to_owned();
        Client { id, redirect_uri: redirect_uri.to_owned() }
    }

    /// As SDKs redeem: every parameter that there is.
    pub async fn redeem(&self, client: &Client, code: &str) -> Response<Bytes> {
        self.redeem_with(client, code, &[]).await
    }

    /// Likewise with some parameters replaced.
    pub async fn redeem_with(&self, client: &Client, code: &str, changed: &[(&str, &str)]) -> Response<Bytes> {
        let mut pairs = BTreeMap::from([
            ("grant_type", "authorization_code"),
            ("client_id", &client.id),
            ("code", code),
            ("redirect_uri", &client.redirect_uri),
            ("code_verifier", VERIFIER),
            ("resource", RESOURCE),
        ]);
        pairs.extend(changed.iter().copied());
        self.post_form("/token", &pairs.into_iter().collect::<Vec<_>>()).await
    }

    /// As SDKs refresh.
    pub async fn refresh(&self, client: &Client, refresh_token: &str) -> Response<Bytes> {
        self.refresh_with(client, refresh_token, &[]).await
    }

    /// Likewise with some parameters replaced.
    pub async fn refresh_with(
        &self,
        client: &Client,
        refresh_token: &str,
        changed: &[(&str, &str)],
    ) -> Response<Bytes> {
        let mut pairs = BTreeMap::from([
            ("grant_type", "refresh_token"),
            ("client_id", &client.id),
            ("refresh_token", refresh_token),
            ("resource", RESOURCE),
        ]);
        pairs.extend(changed.iter().copied());
        self.post_form("/token", &pairs.into_iter().collect::<Vec<_>>()).await
    }

    /// How often Entra was asked to renew.
    pub fn renewals(&self) -> u64 {
        self.entra().counters().token.get("refresh_token").copied().unwrap_or_default()
    }

    /// The tokens of a client that has just signed in.
    pub async fn tokens(&self, client: &Client) -> Value {
        let code = self.sign_in(&mut Browser::default(), client).await;
        json(&self.redeem(client, &code).await)
    }

    pub async fn admits(&self, tokens: &Value) -> bool {
        let header = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        self.sessions.admit(Some(&header.parse().unwrap()), RESOURCE).await.is_ok()
    }

    /// The whole way to a code, with the user clicking Allow.
    pub async fn sign_in(&self, browser: &mut Browser, client: &Client) -> String {
        let entra_url = browser.allow(self, client, &[]).await;
        let callback = self.at_entra(&entra_url).await;
        let response = browser.get(self, &callback).await;
        assert_eq!(response.status(), 303, "{}", text(&response));
        parameter(&location(&response), "code")
    }

    /// The user signs in at Entra; gives path and query of our callback.
    pub async fn at_entra(&self, entra_url: &str) -> String {
        self.entra().next_login(USER);
        self.follow(entra_url).await
    }

    /// One step at Entra that ends at our callback.
    pub async fn follow(&self, entra_url: &str) -> String {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let response = http.get(entra_url).send().await.unwrap();
        let location = response.headers().get(LOCATION).expect("Entra sends the browser back").to_str().unwrap();
        path_and_query(location)
    }
}

impl Browser {
    pub async fn get(&mut self, fixture: &Fixture, path: &str) -> Response<Bytes> {
        self.send(fixture, Request::get(path).body(Bytes::new()).unwrap()).await
    }

    /// A form of our own page.
    pub async fn post(&mut self, fixture: &Fixture, path: &str, pairs: &[(&str, &str)]) -> Response<Bytes> {
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ORIGIN, ISSUER)
            .header("sec-fetch-site", "same-origin");
        self.send(fixture, request.body(Bytes::from(form(pairs))).unwrap()).await
    }

    pub async fn send(&mut self, fixture: &Fixture, mut request: Request<Bytes>) -> Response<Bytes> {
        if !self.cookies.is_empty() {
            let header: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.headers_mut().insert(COOKIE, header.join("; ").parse().unwrap());
        }
        let response = fixture.server.handle(request).await;
        for header in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie::Cookie::parse(header.to_str().unwrap().to_owned()).unwrap();
            if cookie.max_age() == Some(cookie::time::Duration::ZERO) {
                self.cookies.remove(cookie.name());
            } else {
                self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
        response
    }

    /// From `/authorize` to the consent page.
    pub async fn consent_page(&mut self, fixture: &Fixture, client: &Client) -> ConsentForm {
        self.consent_page_for(fixture, client, &[]).await
    }

    /// Likewise with some parameters replaced.
    pub async fn consent_page_for(
        &mut self,
        fixture: &Fixture,
        client: &Client,
        changed: &[(&str, &str)],
    ) -> ConsentForm {
        let response = self.get(fixture, &authorize_path(client, changed)).await;
        assert_eq!(response.status(), 303, "{}", text(&response));
        let path = path_and_query(&location(&response));
        assert!(path.starts_with("/consent?request="), "{path}");
        let page = self.get(fixture, &path).await;
        assert_eq!(page.status(), 200, "{}", text(&page));
        ConsentForm {
            path,
            request: hidden(text(&page), "request"),
            csrf: hidden(text(&page), "csrf"),
            html: text(&page).to_owned(),
        }
    }

    /// Clicks Allow; gives the address at Entra that the page leads to.
    pub async fn allow(&mut self, fixture: &Fixture, client: &Client, more: &[(&str, &str)]) -> String {
        let form = self.consent_page(fixture, client).await;
        let response = self.post(fixture, "/consent", &form.decision("allow", more)).await;
        assert_eq!(response.status(), 200, "{}", text(&response));
        onwards(&response)
    }

    pub fn names(&self) -> Vec<&str> {
        self.cookies.keys().map(String::as_str).collect()
    }
}

/// What the consent page has in its form.
pub struct ConsentForm {
    pub path: String,
    pub request: String,
    pub csrf: String,
    pub html: String,
}

impl ConsentForm {
    pub fn decision<'a>(&'a self, decision: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut pairs = vec![("request", self.request.as_str()), ("csrf", self.csrf.as_str()), ("decision", decision)];
        pairs.extend(more);
        pairs
    }
}

/// `/authorize` as SDKs ask, with some parameters replaced; an empty value leaves one out.
pub fn authorize_path(client: &Client, changed: &[(&str, &str)]) -> String {
    let mut pairs = BTreeMap::from([
        ("response_type", "code"),
        ("client_id", client.id.as_str()),
        ("redirect_uri", client.redirect_uri.as_str()),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "st+te/=="),
        ("scope", "mcp.access openid"),
        ("resource", RESOURCE),
    ]);
    pairs.extend(changed.iter().copied());
    pairs.retain(|_, value| !value.is_empty());
    format!("/authorize?{}", form(&pairs.into_iter().collect::<Vec<_>>()))
}

pub fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

pub fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

pub fn location(response: &Response<Bytes>) -> String {
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

pub fn parameter(url: &str, name: &str) -> String {
    let values: Vec<_> = Url::parse(url)
        .unwrap()
        .query_pairs()
        .filter(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
        .collect();
    assert_eq!(values.len(), 1, "{name} is exactly once in {url}");
    values[0].clone()
}

pub fn path_and_query(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// Where a page leads by itself; its visible link must lead there too.
pub fn onwards(response: &Response<Bytes>) -> String {
    let html = text(response);
    let refresh = html.split_once(r#"content="0; url="#).unwrap().1.split_once('"').unwrap().0;
    assert!(html.contains(&format!(r#"href="{refresh}""#)));
    refresh.replace("&#38;", "&").replace("&#39;", "'")
}

/// Where a page would lead that leads nowhere by itself.
pub fn offered(response: &Response<Bytes>) -> Option<String> {
    let html = text(response);
    assert!(!response.headers().contains_key(LOCATION) && !html.contains("http-equiv"), "{html}");
    let link = html.split_once(r#"<a href="http"#)?.1.split_once('"')?.0;
    Some(format!("http{}", link.replace("&#38;", "&").replace("&#39;", "'")))
}

/// The code that an error page shows.
pub fn fault(response: &Response<Bytes>) -> &str {
    let html = text(response);
    assert!(response.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"), "{html}");
    assert!(!response.headers().contains_key(LOCATION));
    html.split_once("SP-").map(|(_, rest)| &rest[..4]).unwrap_or_else(|| panic!("no code in {html}"))
}

pub fn hidden(html: &str, name: &str) -> String {
    let start = format!(r#"<input type="hidden" name="{name}" value=""#);
    html.split_once(&start).unwrap().1.split_once('"').unwrap().0.to_owned()
}

fn install_tls_provider() {
    // An error says that another test of this process was first.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}
