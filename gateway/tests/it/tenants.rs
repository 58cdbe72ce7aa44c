//! Users of several tenants, by an explicit list (GU-15, T21): from the sign-in over the renewal to the call on behalf of the user.

use std::sync::Arc;
use std::time::Duration;

use fake_entra::{FakeEntra, Options as EntraOptions, Seed};
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;
use sallyport::server::Settings;
use sallyport_mcp_server as mcp_server;
use serde_json::{Value, json};
use url::Url;

use crate::support::browser::{Browser, http_client};
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client, query};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;
use crate::support::{free_port, install_crypto_provider};

/// Of Fabrikam and of Litware; Adele is of Contoso, where the registrations are.
const KIM: &str = "kim@fabrikam.example";
const LEE: &str = "lee@litware.example";
const TOOL: &str = "get_graph_user_details";

/// Contoso's and Fabrikam's users; not Litware's.
fn allowed(seed: &Seed) -> Vec<String> {
    vec![seed.tenant_id.clone(), seed.tenants[0].id.clone()]
}

fn fabrikam() -> String {
    Seed::of_several_tenants().tenants[0].id.clone()
}

fn allow(settings: &mut Settings, tenants: &[String]) {
    settings.entra.authority = settings.entra.authority.clone().allowing(tenants).unwrap();
}

async fn start(upstream: &str) -> Gateway {
    let seed = Seed::of_several_tenants();
    let tenants = allowed(&seed);
    Gateway::start_seeded(Options::simple(upstream), seed, |settings| allow(settings, &tenants)).await
}

async fn sample(entra: &FakeEntra, port: u16, tenants: &[String]) -> mcp_server::Running {
    let settings = mcp_server::Settings {
        listen: format!("127.0.0.1:{port}").parse().unwrap(),
        allowed_callers: vec![entra.gateway_client_id().to_owned()],
        hop_secret_file: None,
        graph_url: entra.graph_url().parse().unwrap(),
        graph_scopes: vec!["https://graph.microsoft.com/User.Read".to_owned()],
        authority: entra::Authority::new(&entra.authority(), entra.tenant_id()).unwrap().allowing(tenants).unwrap(),
        client_id: entra.server_client_id().to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: true,
        clock: mcp_server::clock::Clock::system(),
        credential: entra::Credential::ManagedIdentity {
            client_id: Some(entra.server_identity().to_owned()),
            host: entra::credential::IdentityHost::Metadata { endpoint: entra.imds_url() },
        },
    };
    mcp_server::start(settings).await.unwrap()
}

async fn call_tool(gateway: &Gateway, token: &str) -> (u16, Value) {
    let message = json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": TOOL, "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }},
    });
    let request = http_client()
        .post(gateway.url("/mcp"))
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", TOOL);
    let answer = request.json(&message).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let json = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text);
    (status, serde_json::from_str(json).unwrap_or_default())
}

/// Paths of the token endpoint that were asked for this grant.
fn asked(entra: &FakeEntra, grant: &str) -> Vec<String> {
    let mut paths: Vec<_> = entra
        .journal()
        .into_iter()
        .filter(|entry| entry.grant_type.as_deref() == Some(grant))
        .map(|entry| entry.path.split('/').nth(1).unwrap().to_owned())
        .collect();
    paths.dedup();
    paths
}

#[tokio::test]
async fn users_of_both_tenants_get_their_own_data_from_their_own_tenant() {
    let port = free_port();
    let gateway = start(&format!("http://127.0.0.1:{port}")).await;
    let seed = Seed::of_several_tenants();
    let _server = sample(&gateway.entra, port, &allowed(&seed)).await;
    let client = Client::register(&gateway).await;
    for (user, tenant) in [(KIM, fabrikam()), (ADELE, seed.tenant_id.clone())] {
        let token = client.token(&gateway, user).await;
        let (status, answer) = call_tool(&gateway, &token).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["result"]["structuredContent"]["userPrincipalName"], user, "{answer}");
        let on_behalf = asked(&gateway.entra, "urn:ietf:params:oauth:grant-type:jwt-bearer");
        assert_eq!(on_behalf.last(), Some(&tenant));
    }
    assert_eq!(asked(&gateway.entra, "authorization_code"), ["organizations"]);
}

/// The server behind has a list of its own: who is not in it is refused, whatever the gateway thinks.
#[tokio::test]
async fn the_sample_server_refuses_a_tenant_that_only_the_gateway_allows() {
    let port = free_port();
    let gateway = start(&format!("http://127.0.0.1:{port}")).await;
    let _server = sample(&gateway.entra, port, &[gateway.entra.tenant_id().to_owned()]).await;
    let client = Client::register(&gateway).await;
    assert_eq!(call_tool(&gateway, &client.token(&gateway, KIM).await).await.0, 401);
    assert_eq!(call_tool(&gateway, &client.token(&gateway, ADELE).await).await.0, 200);
}

#[tokio::test]
async fn a_tenant_that_is_not_listed_gets_a_page_and_the_client_a_no() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    // Entra itself lets her sign in: both apps are installed there.
    let callback = client.callback(&gateway, &browser, LEE).await;
    let page = browser.get(&callback).await;
    assert_eq!(page.status, 403, "{}", page.body);
    assert!(page.body.contains("SP-1305") && page.body.contains("Your account may not use this server"));
    let stranger = &Seed::of_several_tenants().tenants[1];
    assert!(!page.body.contains(&stranger.id) && !page.body.contains("Litware") && !page.body.contains(LEE));
    let back = page.body.split("class=\"primary\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let back = Url::parse(&back.replace("&#38;", "&").replace("&amp;", "&")).unwrap();
    assert_eq!(query(&back, "error").unwrap(), "access_denied");
    assert_eq!(query(&back, "state").unwrap(), "the state");
    assert!(query(&back, "iss").is_some() && query(&back, "code").is_none());
    assert!(query(&back, "error_description").unwrap().contains("SP-1305"));
    assert_eq!(gateway.metric(r#"sallyport_access_refused_total{kind="tenant"}"#).await, 1.0);
    assert_eq!(sessions(&gateway, "").await.len(), 0, "nothing is kept of it");
    assert_eq!(browser.get(&callback).await.status, 403, "and once is once");
}

/// Without a list nobody gets as far as that: the tenant's own page has no place for others.
#[tokio::test]
async fn without_a_list_users_sign_in_at_the_one_tenant() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_seeded(Options::simple(&upstream.url), Seed::of_several_tenants(), |_| {}).await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    let at_entra = client.consent(&gateway, &browser, "allow").await.next();
    assert!(at_entra.contains(gateway.entra.tenant_id()) && !at_entra.contains("organizations"), "{at_entra}");
    gateway.entra.next_login(KIM);
    let page = browser.get(&at_entra).await;
    assert!(page.status == 400 && page.body.contains("AADSTS50020"), "{}", page.body);
    client.token(&gateway, ADELE).await;
}

async fn sessions(gateway: &Gateway, query: &str) -> Vec<Value> {
    let answer = http_client().get(gateway.admin_url(&format!("/sessions{query}"))).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn operators_see_of_which_tenant_a_user_is_and_find_everybody_by_object_id() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let kims = client.token(&gateway, KIM).await;
    client.token(&gateway, ADELE).await;
    let all = sessions(&gateway, "").await;
    let mut tenants: Vec<_> = all.iter().map(|session| session["user"]["tenant_id"].as_str().unwrap()).collect();
    tenants.sort_unstable();
    let mut both = allowed(&Seed::of_several_tenants());
    both.sort_unstable();
    assert_eq!(tenants, both);
    let kim = Seed::of_several_tenants().users.into_iter().find(|user| user.upn == KIM).unwrap().oid;
    assert_eq!(sessions(&gateway, &format!("?user={kim}")).await.len(), 1, "in whichever tenant");
    assert_eq!(sessions(&gateway, &format!("?user={}/{kim}", fabrikam())).await.len(), 1);
    assert_eq!(sessions(&gateway, &format!("?user={}/{kim}", gateway.entra.tenant_id())).await.len(), 0);
    let revoke = http_client().post(gateway.admin_url("/sessions/revoke")).json(&json!({ "user": kim }));
    assert_eq!(revoke.send().await.unwrap().json::<Value>().await.unwrap()["ended"], 1);
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(kims).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(sessions(&gateway, "").await.len(), 1);
}

/// Two replicas during a rollout: the newer one's list has lost a tenant.
#[tokio::test]
async fn renewals_go_to_the_users_tenant_and_a_tenant_that_leaves_the_list_takes_its_sessions_along() {
    let Some(redis) = RedisServer::start() else { return };
    install_crypto_provider();
    let upstream = Upstream::start().await;
    let seed = Seed::of_several_tenants();
    let tenants = allowed(&seed);
    let entra = Arc::new(FakeEntra::start(EntraOptions { seed, ..EntraOptions::default() }).await.unwrap());
    let ring = std::env::temp_dir().join(format!("sallyport-tenants-{}-{}.json", std::process::id(), free_port()));
    let clock = Clock::manual(Clock::system().now());
    KeyRing::create(&ring, clock.now()).unwrap();
    let ports = [free_port(), free_port()];
    let [before, after] =
        Gateway::fleet(entra.clone(), ports, ports[0], &upstream.url, &redis.url(), &clock, &ring, |at, settings| {
            allow(settings, &tenants[..2 - at]);
        })
        .await;
    std::fs::remove_file(&ring).unwrap();
    let client = Client::register(&before).await;
    let signed = [client.tokens(&before, ADELE).await, client.tokens(&before, KIM).await];
    clock.advance(Duration::from_secs(2 * 3600));
    for (tokens, tenant, status) in [(&signed[0], &tenants[0], 200), (&signed[1], &tenants[1], 401)] {
        let (renewed, tokens) = client.refresh(&before, tokens["refresh_token"].as_str().unwrap()).await;
        assert_eq!(renewed, 200, "{tokens}");
        assert_eq!(asked(&entra, "refresh_token").last(), Some(tenant));
        let (token, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        let call = async |replica: &Gateway| replica.post("/mcp").bearer_auth(token).body("{}").send().await.unwrap();
        assert_eq!(call(&before).await.status(), 200);
        assert_eq!(call(&after).await.status(), status, "{tenant}");
        let (refused, answer) = client.refresh(&after, refresh).await;
        match status {
            200 => assert_eq!(refused, 200, "{answer}"),
            _ => assert_eq!((refused, answer["error"].as_str()), (400, Some("invalid_grant")), "{tenant}"),
        }
    }
}
