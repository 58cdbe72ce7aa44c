//! A server with the stand-in behind it, users that sign in, and an MCP client small enough to see through.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use entra::credential::{IdentityHost, ManagedIdentity};
use entra::{Authority, AuthorizeRequest, Client, Credential, Redemption, Secret};
use fake_entra::{FakeEntra, Options};
use reqwest::{RequestBuilder, Response};
use sallyport_mcp_server::clock::Clock;
use sallyport_mcp_server::{Running, Settings, start};
use serde_json::{Value, json};

pub const ADELE: &str = "adele@contoso.example";
pub const ALEX: &str = "alex@contoso.example";
pub const TOOL: &str = "get_graph_user_details";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "http://localhost/oauth-callback";

/// What the whole process logged, at every level.
pub static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(|| Tee).init();
    Mutex::default()
});

struct Tee;

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub struct Stage {
    pub fake: FakeEntra,
    pub server: Running,
    pub http: reqwest::Client,
    /// Seconds that the server's clock is ahead.
    pub ahead: Arc<Mutex<u64>>,
}

pub fn install_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Stage {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        install_tls();
        drop(LOG.lock().unwrap());
        let fake = FakeEntra::start(Options::default()).await.unwrap();
        let ahead: Arc<Mutex<u64>> = Arc::default();
        let mut settings = settings(&fake);
        settings.clock = {
            let (system, ahead) = (Clock::system(), Arc::clone(&ahead));
            Clock::of(move || system.now() + Duration::from_secs(*ahead.lock().unwrap()))
        };
        change(&mut settings);
        let server = start(settings).await.unwrap();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_only([])
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self { fake, server, http, ahead }
    }

    /// A client of one of the two registrations, with an identity of its own.
    pub fn client(&self, client_id: &str, identity: &str) -> Client {
        let settings = entra::Settings {
            authority: Authority::new(&self.fake.authority(), self.fake.tenant_id()).unwrap(),
            client_id: client_id.to_owned(),
            extra_ca_file: None,
            cae: false,
            accept_emulator: true,
        };
        let host = IdentityHost::Metadata { endpoint: self.fake.imds_url() };
        let clock = Clock::system();
        let identity =
            ManagedIdentity::new(entra::Cloud::Public, Some(identity.to_owned()), &host, Arc::new(move || clock.now()))
                .unwrap();
        Client::new(settings, Arc::new(identity)).unwrap()
    }

    /// Signs a user in as the gateway does, and returns the token that the gateway would send on.
    pub async fn token(&self, user: &str) -> String {
        let gateway = self.client(self.fake.gateway_client_id(), self.fake.gateway_identity());
        let scope = &format!("{} openid profile", self.fake.scope());
        self.fake.next_login(user);
        let request = AuthorizeRequest {
            redirect_uri: CALLBACK,
            scope,
            state: "state",
            nonce: "nonce",
            code_challenge: CHALLENGE,
            prompt: None,
            login_hint: None,
            claims: None,
        };
        let answer = self.http.get(gateway.authorize_url(&request)).send().await.unwrap();
        let location = answer.headers().get("location").expect("the stand-in signs in at once").to_str().unwrap();
        let location = entra::Url::parse(location).unwrap();
        let code = location.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let (code, verifier) = (Secret::new(code), Secret::new(VERIFIER.to_owned()));
        let redemption =
            Redemption { code: &code, redirect_uri: CALLBACK, scope, code_verifier: &verifier, nonce: "nonce" };
        let sign_in = gateway.redeem(redemption, self.now()).await.unwrap();
        sign_in.access_token.token.expose().to_owned()
    }

    fn now(&self) -> SystemTime {
        Clock::system().now() + Duration::from_secs(*self.ahead.lock().unwrap())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    /// A POST to /mcp with what every client sends.
    pub fn post(&self, token: &str, message: &Value) -> RequestBuilder {
        self.http
            .post(self.url("/mcp"))
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .json(message)
    }

    /// One stateless request of 2026-07-28.
    pub fn stateless(&self, token: &str, id: u64, method: &str, mut params: Value) -> RequestBuilder {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut request =
            self.post(token, &message).header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        request
    }

    /// Calls the tool without a session and returns the tool result.
    pub async fn call(&self, token: &str) -> Value {
        let request = self.stateless(token, 7, "tools/call", json!({"name": TOOL, "arguments": {}}));
        result(request.send().await.unwrap(), 7).await
    }
}

pub fn settings(fake: &FakeEntra) -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_callers: vec![fake.gateway_client_id().to_owned()],
        hop_secret_file: None,
        graph_url: fake.graph_url().parse().unwrap(),
        graph_scopes: vec!["https://graph.microsoft.com/User.Read".to_owned()],
        authority: Authority::new(&fake.authority(), fake.tenant_id()).unwrap(),
        client_id: fake.server_client_id().to_owned(),
        extra_ca_file: None,
        credential: Credential::ManagedIdentity {
            client_id: Some(fake.server_identity().to_owned()),
            host: IdentityHost::Metadata { endpoint: fake.imds_url() },
        },
        cae: false,
        accept_emulator: true,
        clock: Clock::system(),
    }
}

/// The result of the request with this id, whether it came as JSON or as a stream.
pub async fn result(response: Response, id: u64) -> Value {
    let answer = answer(response, id).await;
    assert!(answer.get("result").is_some(), "{answer}");
    answer["result"].clone()
}

pub async fn answer(response: Response, id: u64) -> Value {
    assert_eq!(response.status(), 200);
    let stream = response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream");
    if !stream {
        return response.json().await.unwrap();
    }
    let mut events = Events::new(response);
    loop {
        let (_, data) = events.next().await.expect("an answer before the stream ends");
        if let Ok(message) = serde_json::from_str::<Value>(&data)
            && message["id"] == id
        {
            return message;
        }
    }
}

/// Server-sent events, one by one.
pub struct Events {
    response: Response,
    unread: String,
}

impl Events {
    pub fn new(response: Response) -> Self {
        Self { response, unread: String::new() }
    }

    /// Name (`message` when none is given) and data of the next event; comments are passed over.
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    lines.map(str::trim_start).map(str::to_owned).next()
                };
                let event = field("data").map(|data| (field("event").unwrap_or_else(|| "message".into()), data));
                self.unread = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await.expect("in time");
            self.unread.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// The stream ends, sooner or later but bounded by [`Events::next`].
    pub async fn end(mut self) {
        while self.next().await.is_some() {}
    }
}
