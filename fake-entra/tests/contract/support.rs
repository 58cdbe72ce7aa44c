//! One running stand-in, an HTTP client that neither follows redirects nor keeps cookies, and the walk of a sign-in.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fake_entra::{FakeEntra, Options, Seed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const ADELE: &str = "adele@contoso.example";
pub const ALEX: &str = "alex@contoso.example";
pub const BLAKE: &str = "blake@contoso.example";
pub const CALLBACK: &str = "http://localhost:8080/oauth-callback";
pub const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more-0";
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub const EXCHANGE: &str = "api://AzureADTokenExchange";
pub const GRAPH_SCOPE: &str = "https://graph.microsoft.com/User.Read";

/// The T1 app of the built-in directory.
pub const SINGLE: &str = "3c9e5f60-28c7-4ea1-a2d9-7f40ab6e8c03";

pub struct Bench {
    pub entra: FakeEntra,
    pub http: reqwest::Client,
}

/// A page's answer or a redirect's parameters.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

pub type Form = Vec<(String, String)>;

pub async fn bench() -> Bench {
    bench_with(Seed::default()).await
}

pub async fn bench_with(seed: Seed) -> Bench {
    bench_of(Options { seed, ..Options::default() }).await
}

pub async fn bench_of(options: Options) -> Bench {
    // Already installed by another test of this process: the same one.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let entra = FakeEntra::start(options).await.unwrap();
    let mut http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(std::time::Duration::from_secs(10));
    if let Some(certificate) = entra.authority_certificate() {
        http = http.tls_certs_only([reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap()]);
    }
    Bench { entra, http: http.build().unwrap() }
}

impl Bench {
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}{path}", self.entra.authority(), self.entra.tenant_id())
    }

    pub async fn get(&self, url: &str) -> Answer {
        Answer::of(self.http.get(url).send().await.unwrap()).await
    }

    /// A complete authorization request of the gateway; `changes` replace, add or (empty value) remove parameters.
    pub fn authorize_form(&self, changes: &[(&str, &str)]) -> Form {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let scope = format!("{} openid profile offline_access", self.entra.scope());
        let form = [
            ("client_id", self.entra.gateway_client_id()),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", &scope),
            ("state", "st-4_7.te~"),
            ("nonce", "n-1"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        changed(&form, changes)
    }

    pub async fn authorize(&self, changes: &[(&str, &str)]) -> Answer {
        self.authorize_with_cookie(changes, "").await
    }

    pub async fn authorize_with_cookie(&self, changes: &[(&str, &str)], cookie: &str) -> Answer {
        let query = encoded(&self.authorize_form(changes));
        let request = self.http.get(format!("{}?{query}", self.url("/oauth2/v2.0/authorize")));
        Answer::of(request.header("cookie", cookie).send().await.unwrap()).await
    }

    /// Posts a page's form with one button.
    pub async fn click(&self, page: &Answer, button: (&str, &str)) -> Answer {
        let form = [("flow", page.flow().as_str()), button].map(|(k, v)| (k.to_owned(), v.to_owned()));
        Answer::of(self.http.post(self.url("/login")).form(&form).send().await.unwrap()).await
    }

    /// A code for the gateway, by page and click.
    pub async fn code(&self, user: &str) -> String {
        let page = self.authorize(&[]).await;
        self.click(&page, ("user", user)).await.redirect()["code"].clone()
    }

    pub async fn imds(&self, identity: &str) -> String {
        let url = format!(
            "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={EXCHANGE}&client_id={identity}",
            self.entra.imds_url()
        );
        let answer = Answer::of(self.http.get(url).header("Metadata", "true").send().await.unwrap()).await;
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn token(&self, form: &Form) -> Answer {
        Answer::of(self.http.post(self.url("/oauth2/v2.0/token")).form(form).send().await.unwrap()).await
    }

    /// Redemption as a correct gateway does it.
    pub async fn redeem_form(&self, code: &str, changes: &[(&str, &str)]) -> Form {
        let assertion = self.imds(self.entra.gateway_identity()).await;
        let scope = format!("{} openid profile offline_access", self.entra.scope());
        let form = [
            ("client_id", self.entra.gateway_client_id()),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("scope", &scope),
            ("code_verifier", VERIFIER),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ];
        changed(&form, changes)
    }

    pub async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let form = self.redeem_form(code, changes).await;
        self.token(&form).await
    }

    /// Tokens of a complete sign-in.
    pub async fn tokens(&self, user: &str) -> Value {
        let code = self.code(user).await;
        let answer = self.redeem(&code, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    pub async fn refresh(&self, refresh_token: &str, changes: &[(&str, &str)]) -> Answer {
        let assertion = self.imds(self.entra.gateway_identity()).await;
        let scope = self.entra.scope();
        let form = [
            ("client_id", self.entra.gateway_client_id()),
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("scope", &scope),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ];
        self.token(&changed(&form, changes)).await
    }

    /// The MCP server's exchange of a user's token for one of Graph.
    pub async fn on_behalf_of(&self, assertion: &str, changes: &[(&str, &str)]) -> Answer {
        let own = self.imds(self.entra.server_identity()).await;
        let form = [
            ("client_id", self.entra.server_client_id()),
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("requested_token_use", "on_behalf_of"),
            ("assertion", assertion),
            ("scope", GRAPH_SCOPE),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &own),
        ];
        self.token(&changed(&form, changes)).await
    }

    pub async fn graph(&self, path: &str, token: &str) -> Answer {
        let url = format!("{}{path}", self.entra.graph_url());
        Answer::of(self.http.get(url).bearer_auth(token).send().await.unwrap()).await
    }

    pub async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        let url = format!("{}/_emu{path}", self.entra.control_url());
        let request = self.http.request(method.parse().unwrap(), url).bearer_auth(self.entra.control_token());
        let request = if body.is_null() { request } else { request.json(&body) };
        Answer::of(request.send().await.unwrap()).await
    }

    /// A control call that must work.
    pub async fn order(&self, path: &str, body: Value) {
        let answer = self.control("POST", path, body).await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.body);
    }
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    /// Parameters of a redirect to the callback, whether in query or fragment.
    pub fn redirect(&self) -> BTreeMap<String, String> {
        assert_eq!(self.status, 302, "{}", self.body);
        let location = url::Url::parse(self.header("location")).unwrap();
        let mut target = location.clone();
        target.set_query(None);
        target.set_fragment(None);
        assert_eq!(target.as_str(), CALLBACK);
        let encoded = location.fragment().or(location.query()).unwrap();
        form_urlencoded::parse(encoded.as_bytes()).into_owned().collect()
    }

    /// `error` and AADSTS number of a redirect.
    pub fn refusal(&self) -> (String, u32) {
        let parameters = self.redirect();
        (parameters["error"].clone(), number(&parameters["error_description"]))
    }

    /// `error` and AADSTS number of a JSON answer, which must be complete.
    pub fn error(&self) -> (String, u32) {
        let body = self.json();
        let code = number(body["error_description"].as_str().unwrap());
        assert_eq!(body["error_codes"], json!([code]));
        assert!(body["error_uri"].as_str().unwrap().ends_with(&format!("/error?code={code}")));
        let error = body["error"].as_str().unwrap().to_owned();
        assert_eq!(self.status, if error == "invalid_client" { 401 } else { 400 }, "{}", self.body);
        (error, code)
    }

    /// AADSTS number of an error page.
    pub fn page_error(&self) -> u32 {
        assert_eq!(self.status, 400, "{}", self.body);
        assert!(self.header("content-type").starts_with("text/html"));
        assert!(self.headers.get("location").is_none());
        number(&self.body[self.body.find("AADSTS").expect("a number")..])
    }

    pub fn flow(&self) -> String {
        let at = self.body.find("name=\"flow\" value=\"").unwrap_or_else(|| panic!("no form: {}", self.body));
        self.body[at + 19..].split('"').next().unwrap().to_owned()
    }

    /// The single sign-on cookie set by this answer.
    pub fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

pub fn encoded(form: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// The payload of a token, unproven.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

pub fn jose_header(token: &str) -> Value {
    part(token, 0)
}

/// Replaces the values of `names` by `*`, after checking that they are there.
pub fn masked(mut value: Value, names: &[&str]) -> Value {
    for name in names {
        assert!(value.get(name).is_some(), "no {name} in {value}");
        value[*name] = json!("*");
    }
    value
}

pub fn changed(form: &[(&str, &str)], changes: &[(&str, &str)]) -> Form {
    let mut form: Form = form.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        if !value.is_empty() {
            form.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    form
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn number(description: &str) -> u32 {
    let digits = description.strip_prefix("AADSTS").unwrap_or_else(|| panic!("no AADSTS: {description}"));
    digits.split(':').next().unwrap().parse().unwrap()
}
