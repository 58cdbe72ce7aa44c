//! A client, the gateway, the sample server and Entra: from a policy that is switched on to a call that works again.

use std::time::Duration;

use fake_entra::{Fault, Match};
use reqwest::Response;
use sallyport::clock::Clock;
use sallyport_mcp_server as mcp_server;
use serde_json::{Value, json};
use url::Url;

use super::claims::refresh_token;
use super::refused::{assert_plain_challenge, renewals};
use crate::support::browser::{Browser, Page, http_client};
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client, query};

const TOOL: &str = "get_graph_user_details";
const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

struct Everything {
    clock: Clock,
    gateway: Gateway,
    client: Client,
    _server: mcp_server::Running,
}

impl Everything {
    async fn start(cae: bool) -> Self {
        let port = free_port();
        let clock = Clock::manual(Clock::system().now());
        let gateway = Gateway::start_at(&format!("http://127.0.0.1:{port}"), &clock, |settings, _| {
            settings.entra.cae = cae;
        })
        .await;
        let entra = &gateway.entra;
        let settings = mcp_server::Settings {
            listen: format!("127.0.0.1:{port}").parse().unwrap(),
            allowed_callers: vec![entra.gateway_client_id().to_owned()],
            hop_secret_file: None,
            graph_url: entra.graph_url().parse().unwrap(),
            graph_scopes: vec!["https://graph.microsoft.com/User.Read".to_owned()],
            authority: entra::Authority::new(&entra.authority(), entra.tenant_id()).unwrap(),
            client_id: entra.server_client_id().to_owned(),
            extra_ca_file: None,
            cae,
            accept_emulator: true,
            clock: mcp_server::clock::Clock::system(),
            credential: entra::Credential::ManagedIdentity {
                client_id: Some(entra.server_identity().to_owned()),
                host: entra::credential::IdentityHost::Metadata { endpoint: entra.imds_url() },
            },
        };
        let server = mcp_server::start(settings).await.unwrap();
        let client = Client::register(&gateway).await;
        Self { clock, gateway, client, _server: server }
    }

    async fn control(&self, what: &str) {
        let entra = &self.gateway.entra;
        let url = format!("{}/_emu/users/{ADELE}/{what}", entra.control_url());
        let answer = http_client().post(url).bearer_auth(entra.control_token()).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    fn fault_on_exchange(&self, fault: Fault) {
        let matching = Match { grant: Some(OBO.to_owned()), ..Match::default() };
        self.gateway.entra.fault(Fault { matching, ..fault });
    }

    fn exchanges(&self) -> u64 {
        self.gateway.entra.counters().token.get(OBO).copied().unwrap_or_default()
    }

    /// Calls the tool, in a session or in none.
    async fn call(&self, tokens: &Value, session: Option<&str>) -> Response {
        let mut message = json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": TOOL, "arguments": {}},
        });
        let mut request = self.post(tokens);
        match session {
            Some(session) => {
                request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
            }
            None => {
                message["params"]["_meta"] = json!({
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
                request = request
                    .header("mcp-protocol-version", "2026-07-28")
                    .header("mcp-method", "tools/call")
                    .header("mcp-name", TOOL);
            }
        }
        request.json(&message).send().await.unwrap()
    }

    async fn initialize(&self, tokens: &Value) -> String {
        let client = json!({"name": "test", "version": "0"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let answer = self.post(tokens).json(&message).send().await.unwrap();
        let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let request = self.post(tokens).header("mcp-session-id", &session).header("mcp-protocol-version", "2025-11-25");
        assert_eq!(request.json(&initialized).send().await.unwrap().status(), 202);
        session
    }

    fn post(&self, tokens: &Value) -> reqwest::RequestBuilder {
        let token = tokens["access_token"].as_str().unwrap();
        self.gateway.post("/mcp").bearer_auth(token).header("accept", "application/json, text/event-stream")
    }

    async fn refused_refresh(&self, tokens: &Value) {
        let (status, answer) = self.client.refresh(&self.gateway, refresh_token(tokens)).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    }
}

async fn assert_details(answer: Response) {
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status == 200 && text.contains(ADELE) && text.contains(r#""isError":false"#), "{status} {text}");
}

/// All of Entra's pages, to where it sends the browser.
async fn through_entra(browser: &Browser, url: &str) -> String {
    let mut page: Page = browser.get(url).await;
    for _ in 0..4 {
        if page.status == 302 {
            return page.next();
        }
        assert_eq!(page.status, 200, "{}", page.body);
        let answer = if page.body.contains("name=\"mfa\"") { ("mfa", "approve") } else { ("user", ADELE) };
        page = browser.submit(&page.action(), &[("flow", &page.hidden("flow")), answer]).await;
    }
    panic!("Entra has no end: {}", page.body);
}

#[tokio::test]
async fn a_policy_is_switched_on_and_met_at_the_next_sign_in() {
    let all = Everything::start(false).await;
    let (gateway, client) = (&all.gateway, &all.client);
    let tokens = client.tokens(gateway, ADELE).await;
    all.control("require-mfa").await;
    assert_plain_challenge(gateway, all.call(&tokens, None).await).await;
    all.refused_refresh(&tokens).await;
    // However often the client tries.
    for _ in 0..5 {
        assert_plain_challenge(gateway, all.call(&tokens, None).await).await;
    }
    assert_eq!((renewals(gateway), all.exchanges()), (1, 1));

    let browser = Browser::new();
    let at_entra = client.consent(gateway, &browser, "allow").await.next();
    let bounce = browser.get(&through_entra(&browser, &at_entra).await).await;
    let at_entra = Url::parse(&bounce.next()).unwrap();
    assert!(query(&at_entra, "claims").unwrap().contains("capolids"), "{at_entra}");
    assert_eq!(query(&at_entra, "login_hint").as_deref(), Some(ADELE));
    let back = browser.get(&through_entra(&browser, at_entra.as_str()).await).await;
    let back = Url::parse(&back.next()).unwrap();
    let (status, tokens) = client.redeem(gateway, &query(&back, "code").expect("one bounce")).await;
    assert_eq!(status, 200, "{tokens}");
    assert_details(all.call(&tokens, None).await).await;
    assert_eq!(client.refresh(gateway, refresh_token(&tokens)).await.0, 200);
}

#[tokio::test]
async fn what_a_new_token_mends_the_client_does_not_see() {
    let all = Everything::start(false).await;
    for in_session in [false, true] {
        let tokens = all.client.tokens(&all.gateway, ADELE).await;
        let session = if in_session { Some(all.initialize(&tokens).await) } else { None };
        let before = renewals(&all.gateway);
        all.fault_on_exchange(Fault { aadsts: Some(50076), ..Fault::default() });
        assert_details(all.call(&tokens, session.as_deref()).await).await;
        assert_eq!(renewals(&all.gateway), before + 1, "in a session: {in_session}");
        assert_details(all.call(&tokens, session.as_deref()).await).await;
    }
}

/// Continuous access evaluation: Graph ends a token before its time.
#[tokio::test]
async fn a_user_who_is_revoked_signs_in_again_and_goes_on() {
    for cae in [true, false] {
        let all = Everything::start(cae).await;
        let (gateway, client) = (&all.gateway, &all.client);
        let tokens = client.tokens(gateway, ADELE).await;
        if cae {
            assert_details(all.call(&tokens, None).await).await;
            let told = |path: &str| {
                let journal = gateway.entra.journal();
                journal.iter().filter(|it| it.path.ends_with(path)).any(|it| it.parameters.contains("claims"))
            };
            assert!(told("/authorize") && told("/token"), "cp1 is declared");
        }
        all.control("revoke").await;
        all.clock.advance(Duration::from_secs(61));
        assert_plain_challenge(gateway, all.call(&tokens, None).await).await;
        all.refused_refresh(&tokens).await;
        let tokens = client.tokens(gateway, ADELE).await;
        assert_details(all.call(&tokens, None).await).await;
    }
}

#[tokio::test]
async fn trouble_at_entra_is_503() {
    let all = Everything::start(false).await;
    let tokens = all.client.tokens(&all.gateway, ADELE).await;
    all.fault_on_exchange(Fault { aadsts: Some(50076), ..Fault::default() });
    let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
    all.gateway.entra.fault(Fault { matching, status: Some(503), times: 2, ..Fault::default() });
    let answer = all.call(&tokens, None).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after") && !answer.headers().contains_key("www-authenticate"));
    all.clock.advance(Duration::from_secs(5));
    assert_details(all.call(&tokens, None).await).await;
}
