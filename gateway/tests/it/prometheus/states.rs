//! What is so, rather than happens: shown as it is at the moment of the scrape.

use std::time::{Duration, Instant};

use fake_entra::{Fault, Match};
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;
use sallyport::store::{RedisSettings, RedisUrl, Settings};
use serde_json::json;

use super::call;
use crate::support::browser::http_client;
use crate::support::free_port;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_replica_that_entra_does_not_believe_is_not_ready() {
    let matching = Match { grant: Some("client_credentials".into()), ..Match::default() };
    let fault = Fault { matching, aadsts: Some(700_213), times: 10_000, ..Fault::default() };
    let gateway = Gateway::start_at_entra("http://127.0.0.1:9", |entra, _| entra.fault(fault)).await;
    assert_eq!(gateway.metric("sallyport_ready").await, 0.0);
    assert_eq!(gateway.metric("sallyport_draining").await, 0.0);
}

#[tokio::test]
async fn the_servers_of_an_upstream_are_counted_by_what_they_are() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let servers = async |state: &str| {
        gateway.metric(&format!(r#"sallyport_upstream_servers{{state="{state}",upstream="mcp"}}"#)).await
    };
    assert_eq!((servers("ready").await, servers("draining").await), (1.0, 0.0));
    let body = json!({ "upstream": "mcp", "server": upstream.url });
    let drained = http_client().post(gateway.admin_url("/servers/drain")).json(&body).send().await.unwrap();
    assert_eq!(drained.status(), 200);
    assert_eq!((servers("ready").await, servers("draining").await), (0.0, 1.0));
}

#[tokio::test]
async fn the_key_that_seals_shows_its_age_and_the_process_itself() {
    let ring = std::env::temp_dir().join(format!("sallyport-metrics-{}-{}.json", std::process::id(), free_port()));
    let now = Clock::system().now();
    KeyRing::create(&ring, now).unwrap();
    let gateway = Gateway::start_with_ring("http://127.0.0.1:9", &ring).await;
    std::fs::remove_file(&ring).unwrap();
    let created = gateway.metric("sallyport_keyring_active_key_created_timestamp_seconds").await;
    assert_eq!(created, now.unix() as f64);
    assert!(gateway.metric("process_max_fds").await >= gateway.metric("process_open_fds").await);
    assert!(gateway.metric("process_open_fds").await > 3.0);
    assert!(gateway.metric("process_resident_memory_bytes").await > 1e6);
    assert!(gateway.metric("process_start_time_seconds").await > 1e9);
}

#[tokio::test]
async fn a_store_that_is_gone_shows() {
    let Some(mut redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let url: RedisUrl = redis.url().parse().unwrap();
    let options = Options { store: Settings::Redis(RedisSettings::new(url)), ..Options::simple(&upstream.url) };
    let gateway = Gateway::start_with(options).await;
    let client = Client::register(&gateway).await;
    let (token, other) = (client.token(&gateway, ADELE).await, client.token(&gateway, ADELE).await);
    assert_eq!(call(&gateway, &token).await, 200);
    let gets = async |result: &str| {
        gateway.metric(&format!(r#"sallyport_store_requests_total{{op="get",result="{result}"}}"#)).await
    };
    assert!(gets("ok").await >= 1.0);
    assert_eq!(gets("failed").await, 0.0);
    assert_eq!(gateway.metric("sallyport_redis_breakers_open").await, 0.0);
    // What was kept before the replica heard of ends is forgotten when it does.
    let deadline = Instant::now() + Duration::from_secs(10);
    while gateway.metric("sallyport_sessions_at_hand").await < 1.0 {
        assert!(Instant::now() < deadline, "no session is kept");
        assert_eq!(call(&gateway, &token).await, 200);
    }
    redis.stop();
    assert_eq!(call(&gateway, &other).await, 503);
    assert!(gets("failed").await >= 1.0);
    assert_eq!(gateway.metric(r#"sallyport_token_rejected_total{reason="store_unavailable"}"#).await, 1.0);
    let (status, _) = client.redeem(&gateway, "nobody's").await;
    assert_eq!(status, 400, "what needs no store goes on");
}
