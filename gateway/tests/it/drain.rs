//! Leaving: first said, then done, and over as soon as nobody is left.

use std::time::{Duration, Instant};

use sallyport::drain::Settings;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;
use crate::support::wire::{Wire, WireServer};

const DELAY: Duration = Duration::from_secs(2);

async fn leaving(upstream: &Upstream) -> (Gateway, String) {
    let settings = Settings { delay: DELAY, window: Duration::from_secs(20) };
    let gateway = Gateway::start_changed(&upstream.url, |changed, _| changed.drain = settings).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    (gateway, token)
}

/// On a connection of its own.
async fn call(gateway: &Gateway, token: &str) -> Result<u16, reqwest::Error> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await?;
    Ok(answer.status().as_u16())
}

async fn ready(gateway: &Gateway) -> u16 {
    http_client().get(gateway.admin_url("/readyz")).send().await.unwrap().status().as_u16()
}

async fn until(what: &str, limit: Duration, mut done: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < limit, "{what} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn nobody_is_refused_before_balancers_have_noticed_and_the_admin_listener_stays() {
    let upstream = Upstream::start().await;
    let (mut gateway, token) = leaving(&upstream).await;
    let stream = http_client().get(gateway.url("/mcp")).bearer_auth(&token).header("accept", "text/event-stream");
    let mut stream = stream.send().await.unwrap();
    upstream.send("data: 1\n\n").await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");

    let told = Instant::now();
    gateway.tell_to_stop();
    until("still ready", Duration::from_secs(1), async || ready(&gateway).await == 503).await;
    while told.elapsed() < DELAY - Duration::from_millis(300) {
        assert_eq!(call(&gateway, &token).await.unwrap(), 200);
    }
    until("still listening", DELAY * 2, async || call(&gateway, &token).await.is_err()).await;
    assert!(told.elapsed() >= DELAY);
    assert_eq!(ready(&gateway).await, 503, "operators can still look");
    upstream.send("data: 2\n\n").await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 2\n\n", "whoever is served goes on");

    drop(stream);
    let took = until("not gone", Duration::from_secs(5), async || gateway.has_stopped()).await;
    assert!(took < Duration::from_secs(3), "gone {took:?} after the last one");
}

/// A request that is in the net when the listeners close is not lost, and its answer says that there is no next one here.
#[tokio::test]
async fn whoever_is_connected_when_the_listeners_close_sends_one_more_request() {
    let upstream = Upstream::start().await;
    let (mut gateway, token) = leaving(&upstream).await;
    let mut kept = Wire::to(&gateway).await;
    kept.call(&gateway, &token, "POST", "content-length: 2\r\n", "{}").await;
    assert!(!kept.header().await.contains("connection: close"));
    assert_eq!(kept.bytes(2).await, "{}");
    gateway.tell_to_stop();
    tokio::time::sleep(DELAY - Duration::from_millis(200)).await;
    let mut fresh = Wire::to(&gateway).await;
    let listening = async || call(&gateway, &token).await.is_ok();
    until("still listening", DELAY * 2, async || !listening().await).await;
    for wire in [&mut kept, &mut fresh] {
        wire.call(&gateway, &token, "POST", "content-length: 2\r\n", "{}").await;
        let header = wire.header().await;
        assert!(header.starts_with("http/1.1 200") && header.contains("connection: close"), "{header}");
        assert_eq!(wire.rest(Duration::from_secs(5)).await, "{}");
    }
}

/// A call may take longer than the time in which all others are told.
#[tokio::test]
async fn an_answer_that_comes_while_draining_announces_the_close_too() {
    let server = WireServer::start().await;
    let settings = Settings { delay: Duration::ZERO, window: Duration::from_secs(20) };
    let mut gateway = Gateway::start_changed(&server.url, |changed, _| changed.drain = settings).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let mut client = Wire::to(&gateway).await;
    client.call(&gateway, &token, "POST", "content-length: 2\r\n", "{}").await;
    let (mut upstream, _) = server.request().await;
    gateway.tell_to_stop();
    until("still ready", Duration::from_secs(1), async || ready(&gateway).await == 503).await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]").await;
    assert!(client.header().await.contains("connection: close"));
    assert_eq!(client.rest(Duration::from_secs(5)).await, "[]");
}

#[tokio::test]
async fn with_nobody_to_wait_for_it_ends_after_the_delay() {
    let upstream = Upstream::start().await;
    let (mut gateway, _) = leaving(&upstream).await;
    gateway.tell_to_stop();
    let took = until("not gone", DELAY * 3, async || gateway.has_stopped()).await;
    assert!(took >= DELAY && took < DELAY + Duration::from_secs(3), "{took:?}");
}
