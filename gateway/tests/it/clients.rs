//! Clients of every kind through a whole gateway, and what a person's browser sees beside the sign-in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sallyport::oauth::{
    ClientSecret, ClientSettings, DocumentHost, DocumentSettings, Network, Preregistered, RedirectUri,
};
use serde_json::{Value, json};

use crate::support::browser::{Browser, http_client};
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client, REDIRECT_URI, query};
use crate::support::publisher::{HOST, Publisher};
use crate::support::upstream::Upstream;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn gateway_with(upstream: &Upstream, clients: ClientSettings) -> Gateway {
    Gateway::start_with(Options { clients, ..Options::simple(&upstream.url) }).await
}

fn client(gateway: &Gateway, id: &str) -> Client {
    Client { id: id.to_owned(), resource: gateway.url("/mcp") }
}

/// The code of a sign-in, redeemed with more parameters.
async fn redeem(gateway: &Gateway, client: &Client, more: &[(&str, &str)]) -> (u16, Value) {
    let back = client.authorize(gateway, &Browser::new(), ADELE).await;
    client.redeem_with(gateway, &query(&back, "code").unwrap(), more).await
}

async fn assert_admitted(gateway: &Gateway, answer: &Value) {
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let call = http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await.unwrap();
    assert_eq!(call.status(), 200);
}

#[tokio::test]
async fn a_client_with_a_secret_gets_a_token_with_it_only() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let body = json!({ "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_post" });
    let answer = http_client().post(gateway.url("/register")).json(&body).send().await.unwrap();
    let registered: Value = answer.json().await.unwrap();
    let client = client(&gateway, registered["client_id"].as_str().unwrap());
    let (status, answer) = redeem(&gateway, &client, &[]).await;
    assert_eq!((status, answer["error"].as_str()), (401, Some("invalid_client")));
    let secret = registered["client_secret"].as_str().unwrap();
    let (status, answer) = redeem(&gateway, &client, &[("client_secret", secret)]).await;
    assert_eq!(status, 200, "{answer}");
    assert_admitted(&gateway, &answer).await;
}

#[tokio::test]
async fn a_client_that_the_operator_knows_gets_a_token() {
    let upstream = Upstream::start().await;
    let known = Preregistered {
        client_id: "contoso-assistant".to_owned(),
        name: "Contoso Assistant".to_owned(),
        redirect_uris: vec![RedirectUri::parse(REDIRECT_URI, &[]).unwrap()],
        secret: Some(ClientSecret::of(SECRET)),
    };
    let clients = ClientSettings { registration: false, preregistered: vec![known], ..ClientSettings::default() };
    let gateway = gateway_with(&upstream, clients).await;
    let (status, answer) = redeem(&gateway, &client(&gateway, "contoso-assistant"), &[("client_secret", SECRET)]).await;
    assert_eq!(status, 200, "{answer}");
    assert_admitted(&gateway, &answer).await;
}

#[tokio::test]
async fn a_client_that_publishes_a_document_gets_a_token() {
    let (upstream, publisher) = (Upstream::start().await, Publisher::start());
    let look_up = publisher.look_up();
    let network = Network {
        resolver: Arc::new(move |_| {
            let addresses = look_up();
            Box::pin(async move { Ok(addresses) })
        }),
        may_connect: |address| address == IpAddr::from(Ipv4Addr::LOCALHOST),
        extra_root: Some(publisher.root.clone()),
    };
    let hosts = vec![DocumentHost::parse(&format!("{HOST}:{}", publisher.port)).unwrap()];
    let documents = Some(DocumentSettings { hosts, network });
    let gateway = gateway_with(&upstream, ClientSettings { documents, ..ClientSettings::default() }).await;
    let id = publisher.publish_client("/client.json", "Published client", &[REDIRECT_URI]);
    let (status, answer) = redeem(&gateway, &client(&gateway, &id), &[]).await;
    assert_eq!(status, 200, "{answer}");
    assert_admitted(&gateway, &answer).await;
    assert_eq!((publisher.lookups(), publisher.connections(), publisher.requests("/client.json")), (1, 1, 1));

    publisher.move_to(&[IpAddr::from([127, 0, 0, 2])]);
    let other = client(&gateway, &publisher.publish_client("/other.json", "Another", &[REDIRECT_URI]));
    let page = Browser::new().get(&other.authorize_url(&gateway)).await;
    assert_eq!((page.status.as_u16(), page.body.contains("SP-1005")), (400, true));
    assert_eq!((publisher.lookups(), publisher.connections()), (2, 1), "the address is not one to connect to");

    // Twenty a minute are fetched for one address: of 41, two minutes' worth, one at least is not.
    let invented = async |address: [u8; 4], number: usize| {
        let http = reqwest::Client::builder().local_address(IpAddr::from(address)).no_proxy().build().unwrap();
        let id = publisher.url(&format!("/invented-{number}"));
        let url = client(&gateway, &id).authorize_url(&gateway).replace("//localhost:", "//127.0.0.1:");
        let host = format!("localhost:{}", gateway.port);
        http.get(url).header("host", host).send().await.unwrap().text().await.unwrap()
    };
    let mut refused = false;
    for number in 0..41 {
        refused |= invented([127, 0, 0, 1], number).await.contains("SP-1006");
    }
    assert!(refused, "the edge tells where a request came from");
    assert!(invented([127, 0, 0, 3], 41).await.contains("SP-1005"), "another address has its own");
}

#[tokio::test]
async fn a_person_sees_how_to_connect_and_a_program_the_challenge() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let get = |path: &str, accept: &str| http_client().get(gateway.url(path)).header("accept", accept);
    for path in ["/mcp", "/mcp/", "/mcp/sse"] {
        let page = get(path, BROWSER).send().await.unwrap();
        assert_eq!(page.status(), 401, "{path}");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let challenge = page.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer resource_metadata="), "a program in disguise learns it too: {challenge}");
        assert!(page.text().await.unwrap().contains(&gateway.url("/mcp")));
        for accept in ["text/event-stream", "application/json, text/event-stream", "*/*", ""] {
            assert_eq!(get(path, accept).send().await.unwrap().status(), 401, "{path} {accept}");
        }
        let with_token = get(path, BROWSER).bearer_auth("x").send().await.unwrap();
        assert_eq!(with_token.status(), 401, "a token is a program's");
        let post = http_client().post(gateway.url(path)).header("accept", BROWSER).body("{}").send().await.unwrap();
        assert_eq!(post.status(), 401);
    }
    assert_eq!(get("/mcp/message", BROWSER).send().await.unwrap().status(), 401);
    let stranger = get("/mcp", BROWSER).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(stranger.status(), 403);
    assert!(upstream.seen().is_empty());
}
