//! The sign-in of an MCP client, step by step.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::browser::{Browser, Page, http_client};
use super::gateway::Gateway;

pub const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";
pub const VERIFIER: &str = "a-verifier-that-is-long-enough-to-be-one-0123456789";
pub const ADELE: &str = "adele@contoso.example";
pub const ALEX: &str = "alex@contoso.example";

/// An MCP client that has registered.
pub struct Client {
    pub id: String,
    pub resource: String,
}

impl Client {
    pub async fn register(gateway: &Gateway) -> Self {
        let body = json!({ "redirect_uris": [REDIRECT_URI], "client_name": "Test client" });
        let answer = http_client().post(gateway.url("/register")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let answer: Value = answer.json().await.unwrap();
        Self { id: answer["client_id"].as_str().unwrap().to_owned(), resource: gateway.url("/mcp") }
    }

    pub fn authorize_url(&self, gateway: &Gateway) -> String {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", "the state"),
            ("resource", &self.resource),
        ];
        Url::parse_with_params(&gateway.url("/authorize"), parameters).unwrap().into()
    }

    /// From /authorize to the page where Entra asks who it is.
    pub async fn consent(&self, gateway: &Gateway, browser: &Browser, decision: &str) -> Page {
        let redirect = browser.get(&self.authorize_url(gateway)).await;
        assert_eq!(redirect.status, 303, "{}", redirect.body);
        let page = browser.get(&redirect.next()).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let (request, csrf) = (page.hidden("request"), page.hidden("csrf"));
        browser.submit(&page.action(), &[("request", &request), ("csrf", &csrf), ("decision", decision)]).await
    }

    /// From /authorize through Allow and Entra to the URL of the callback, which is not opened yet.
    pub async fn callback(&self, gateway: &Gateway, browser: &Browser, user: &str) -> String {
        let interstitial = self.consent(gateway, browser, "allow").await;
        assert_eq!(interstitial.status, 200, "{}", interstitial.body);
        sign_in_at_entra(browser, &interstitial.next(), user).await
    }

    /// The whole way to the client's redirect URI, as its query.
    pub async fn authorize(&self, gateway: &Gateway, browser: &Browser, user: &str) -> Url {
        let callback = self.callback(gateway, browser, user).await;
        let back = browser.get(&callback).await;
        assert_eq!(back.status, 303, "{}", back.body);
        Url::parse(&back.next()).unwrap()
    }

    pub async fn redeem(&self, gateway: &Gateway, code: &str) -> (u16, Value) {
        self.redeem_with(gateway, code, &[]).await
    }

    /// `changes` replace parameters of an honest request.
    pub async fn redeem_with(&self, gateway: &Gateway, code: &str, changes: &[(&str, &str)]) -> (u16, Value) {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("client_id", &self.id),
            ("code_verifier", VERIFIER),
            ("resource", &self.resource),
        ];
        for (name, value) in changes {
            form.retain(|(existing, _)| existing != name);
            form.push((name, value));
        }
        let answer = http_client().post(gateway.url("/token")).form(&form).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    /// An access token for `user`, obtained the honest way.
    pub async fn token(&self, gateway: &Gateway, user: &str) -> String {
        self.tokens(gateway, user).await["access_token"].as_str().unwrap().to_owned()
    }

    /// Everything that `/token` answers.
    pub async fn tokens(&self, gateway: &Gateway, user: &str) -> Value {
        let back = self.authorize(gateway, &Browser::new(), user).await;
        let (status, answer) = self.redeem(gateway, &query(&back, "code").unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Refreshes at one replica.
    pub async fn refresh(&self, gateway: &Gateway, refresh_token: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", &self.id),
            ("resource", &self.resource),
        ];
        let answer = gateway.post("/token").form(&form).send().await.unwrap();
        let status = answer.status().as_u16();
        assert_eq!(status == 503, answer.headers().contains_key("retry-after"));
        (status, answer.json().await.unwrap())
    }
}

/// Signs in at the stand-in and gives the URL that it sends the browser back to.
pub async fn sign_in_at_entra(browser: &Browser, authorize_url: &str, user: &str) -> String {
    let users = browser.get(authorize_url).await;
    if users.status == 302 {
        // Signed in there already.
        return users.next();
    }
    assert_eq!(users.status, 200, "{}", users.body);
    let back = browser.submit(&users.action(), &[("flow", &users.hidden("flow")), ("user", user)]).await;
    assert_eq!(back.status, 302, "{}", back.body);
    back.next()
}

pub fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
