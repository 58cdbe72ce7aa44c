//! Trouble of ours is "try again", never "who are you"; stopping loses nobody who can be served.

use std::time::{Duration, Instant};

use sallyport::store;

use crate::support::browser::{Browser, http_client};
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client, query};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

async fn with_redis(upstream: &Upstream, redis: &RedisServer) -> Gateway {
    let settings = store::RedisSettings::new(redis.url().parse().unwrap());
    Gateway::start_with(Options { store: store::Settings::Redis(settings), ..Options::simple(&upstream.url) }).await
}

#[tokio::test]
async fn without_redis_who_is_not_known_gets_503_and_afterwards_all_is_well() {
    let Some(mut redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let gateway = with_redis(&upstream, &redis).await;
    let client = Client::register(&gateway).await;
    let (known, unknown) = (client.token(&gateway, ADELE).await, client.token(&gateway, ADELE).await);
    let call_with = |token| http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send();
    let call = || call_with(&unknown);
    // The first call begins to listen to revocations, and what was found before that is looked up once more.
    assert_eq!(call_with(&known).await.unwrap().status(), 200);
    eventually(async || redis.tell("CLIENT LIST TYPE pubsub").contains(" sub=1 ")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(call_with(&known).await.unwrap().status(), 200);

    redis.freeze();
    assert_eq!(call_with(&known).await.unwrap().status(), 200, "this replica has just seen it");
    let answer = call().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(!answer.headers().contains_key("www-authenticate"));
    redis.thaw();
    eventually(async || call().await.unwrap().status() == 200).await;

    let unknown = client.token(&gateway, ADELE).await;
    redis.stop();
    assert_eq!(call_with(&unknown).await.unwrap().status(), 503);
    assert_eq!(call_with(&known).await.unwrap().status(), 200);
    let page = client.consent(&gateway, &Browser::new(), "allow").await;
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.headers.contains_key("retry-after"));
    // Even then: what needs no store is answered, and a forged token is refused as always.
    let forged = http_client().post(gateway.url("/mcp")).bearer_auth("sp1_at_x").body("{}").send().await.unwrap();
    assert_eq!(forged.status(), 401);
    let metadata = http_client().get(gateway.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
    assert_eq!(metadata.status(), 200);

    redis.start_again();
    // The records are gone with the process: a clean 401, not an error.
    for token in [&known, &unknown] {
        eventually(async || call_with(token).await.unwrap().status() == 401).await;
    }
    assert!(client.token(&gateway, ADELE).await.starts_with("sp1_at_"), "the registration survived the loss");
}

#[tokio::test]
async fn a_code_of_one_replica_is_redeemed_while_redis_was_away() {
    let Some(redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let gateway = with_redis(&upstream, &redis).await;
    let client = Client::register(&gateway).await;
    let back = client.authorize(&gateway, &Browser::new(), ADELE).await;
    let code = query(&back, "code").unwrap();
    redis.freeze();
    let (status, answer) = client.redeem(&gateway, &code).await;
    assert_eq!((status, answer["error"].as_str()), (503, Some("temporarily_unavailable")));
    redis.thaw();
}

#[tokio::test]
async fn trouble_at_entra_is_told_to_the_client_as_such() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    let callback = client.callback(&gateway, &browser, ADELE).await;
    gateway.entra.fault(fake_entra::Fault { status: Some(503), ..fake_entra::Fault::on("/v2.0/token") });
    let back = url::Url::parse(&browser.get(&callback).await.next()).unwrap();
    assert_eq!(query(&back, "error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(query(&back, "state").as_deref(), Some("the state"));
}

#[tokio::test]
async fn a_dead_upstream_is_502_or_503_and_its_sessions_are_404() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let opened =
        http_client().post(gateway.url("/mcp")).bearer_auth(&token).header("x-test", "hostile").send().await.unwrap();
    let session = opened.headers()["mcp-session-id"].clone();
    drop(upstream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = http_client()
        .post(gateway.url("/mcp"))
        .bearer_auth(&token)
        .header("mcp-session-id", session)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404, "the session is lost, and its client must begin a new one");
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert!(matches!(answer.status().as_u16(), 502 | 503), "{}", answer.status());
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn stopping_waits_for_a_stream_and_then_ends_at_once() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let request = http_client().get(gateway.url("/mcp")).bearer_auth(&token).header("accept", "text/event-stream");
    let mut answer = request.send().await.unwrap();
    upstream.send("data: 1\n\n").await;
    answer.chunk().await.unwrap();

    gateway.tell_to_stop();
    eventually(async || {
        http_client().get(gateway.admin_url("/readyz")).send().await.is_ok_and(|answer| answer.status() == 503)
    })
    .await;
    upstream.send("data: 2\n\n").await;
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: 2\n\n", "the stream lives on while draining");
    drop(answer);
    let left = Instant::now();
    eventually(async || gateway.has_stopped()).await;
    assert!(left.elapsed() < Duration::from_secs(4), "nobody is left, so nothing is waited for");
}

/// Bounded: 10 seconds.
async fn eventually(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not happen within 10 seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
