//! What an MCP path says to whoever comes too often.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use sallyport::edge::LimitSettings;
use sallyport::rate::Rate;
use sallyport::source::TrustedProxies;
use serde_json::Value;

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::upstream::Upstream;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

async fn call(gateway: &Gateway, token: &str) -> reqwest::Response {
    http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await.unwrap()
}

#[tokio::test]
async fn a_session_calls_so_often_and_no_other_session_pays_for_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| {
        settings.edge_limits.requests = Rate::per_minute(number(6)).burst(number(5));
    })
    .await;
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.token(&gateway, ADELE).await, client.token(&gateway, ALEX).await);
    for _ in 0..5 {
        assert_eq!(call(&gateway, &adele).await.status(), 200);
    }
    let refused = call(&gateway, &adele).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!((body["jsonrpc"].as_str(), body["error"]["code"].as_i64()), (Some("2.0"), Some(-32029)));
    assert_eq!(call(&gateway, &alex).await.status(), 200);
    assert_eq!(upstream.seen().len(), 6);
}

/// A slow tool must not let one session take every socket.
#[tokio::test]
async fn a_session_has_so_many_calls_under_way() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| {
        settings.edge_limits.requests = Rate::per_second(number(1_000)).burst(number(1));
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let stream = http_client().get(gateway.url("/mcp")).bearer_auth(&token).header("accept", "text/event-stream");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(call(&gateway, &token).await.status(), 429);
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(5);
    while call(&gateway, &token).await.status() != 200 {
        assert!(Instant::now() < deadline, "its place does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn guesses_end_in_429_and_good_tokens_do_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| {
        settings.edge_limits = LimitSettings { refusals: Rate::per_minute(number(4)), ..LimitSettings::UNBOUNDED };
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    for _ in 0..4 {
        assert_eq!(call(&gateway, "sp1_at_guess").await.status(), 401);
    }
    for _ in 0..3 {
        let refused = call(&gateway, "sp1_at_guess").await;
        assert_eq!(refused.status(), 429);
        assert!(!refused.headers().contains_key("www-authenticate"));
        assert_eq!(call(&gateway, &token).await.status(), 200);
    }
}

/// Each exchange has a file of its own, whoever's it is.
#[tokio::test]
async fn so_much_is_under_way_in_all() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| settings.edge_limits.exchanges = 1).await;
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.token(&gateway, ADELE).await, client.token(&gateway, ALEX).await);
    let stream = http_client().get(gateway.url("/mcp")).bearer_auth(&adele).header("accept", "text/event-stream");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let refused = call(&gateway, &alex).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(gateway.metric("sallyport_limited_total{limit=\"exchanges\"}").await, 1.0);
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(5);
    while call(&gateway, &alex).await.status() != 200 {
        assert!(Instant::now() < deadline, "its place does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// CVE-2023-44487: what is begun and taken back at once costs its sender nothing.
#[tokio::test]
async fn a_connection_of_http_2_takes_so_many_requests_back() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let edge_limits = LimitSettings { resets: 20, ..LimitSettings::UNBOUNDED };
    let mut options = Options { tls: true, edge_limits, ..Options::simple(&upstream.url) };
    options.upstreams.push(("/other", other.url.clone()));
    let gateway = Gateway::start_with(options).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let elsewhere = Client { id: client.id, resource: gateway.url("/other") }.token(&gateway, ADELE).await;
    let root = reqwest::Certificate::from_pem(&std::fs::read(gateway.certificate_file()).unwrap()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(Duration::from_secs(10));
    let http = http.build().unwrap();
    let open =
        |path, token: &str| http.get(gateway.url(path)).bearer_auth(token).header("accept", "text/event-stream").send();
    let stream = || open("/mcp", &token);
    let limited = "sallyport_limited_total{limit=\"resets\"}";
    let mut kept = open("/other", &elsewhere).await.unwrap();
    assert_eq!(kept.version(), reqwest::Version::HTTP_2);
    other.send("data: 1\n\n").await;
    assert!(kept.chunk().await.unwrap().is_some());
    for _ in 0..15 {
        drop(stream().await.unwrap());
        upstream.reader_gone().await;
    }
    assert_eq!(gateway.metric(limited).await, 0.0);
    let deadline = Instant::now() + Duration::from_secs(9);
    while gateway.metric(limited).await == 0.0 {
        assert!(Instant::now() < deadline, "there is no end of it");
        // The connection may end meanwhile, and then this is on another.
        drop(stream().await);
    }
    assert!(kept.chunk().await.is_err(), "the whole connection is closed");
    assert_eq!(stream().await.unwrap().status(), 200, "on a new one");
}

/// On a trusted proxy's connection come many clients, and one that takes its requests back must not end it for the others.
#[tokio::test]
async fn a_client_that_takes_requests_back_does_not_end_a_proxys_connection() {
    let (upstream, other) = (Upstream::start().await, Upstream::start().await);
    let edge_limits = LimitSettings { resets: 5, ..LimitSettings::UNBOUNDED };
    let trusted_proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    let mut options = Options { tls: true, edge_limits, trusted_proxies, ..Options::simple(&upstream.url) };
    options.upstreams.push(("/other", other.url.clone()));
    let gateway = Gateway::start_with(options).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let elsewhere = Client { id: client.id, resource: gateway.url("/other") }.token(&gateway, ALEX).await;
    let root = reqwest::Certificate::from_pem(&std::fs::read(gateway.certificate_file()).unwrap()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(Duration::from_secs(10));
    let http = http.build().unwrap();
    let open =
        |path, token: &str| http.get(gateway.url(path)).bearer_auth(token).header("accept", "text/event-stream").send();
    let mut kept = open("/other", &elsewhere).await.unwrap();
    assert_eq!(kept.version(), reqwest::Version::HTTP_2);
    for _ in 0..20 {
        drop(open("/mcp", &token).await.unwrap());
        upstream.reader_gone().await;
    }
    other.send("data: 1\n\n").await;
    assert!(kept.chunk().await.unwrap().is_some(), "the other client's stream goes on");
    assert_eq!(gateway.metric("sallyport_limited_total{limit=\"resets\"}").await, 0.0);
}
