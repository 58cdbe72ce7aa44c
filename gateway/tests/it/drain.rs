//! Leaving: first said, then done, and over as soon as nobody is left.

use std::time::{Duration, Instant};

use sallyport::drain::Settings;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;

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

#[tokio::test]
async fn with_nobody_to_wait_for_it_ends_after_the_delay() {
    let upstream = Upstream::start().await;
    let (mut gateway, _) = leaving(&upstream).await;
    gateway.tell_to_stop();
    let took = until("not gone", DELAY * 3, async || gateway.has_stopped()).await;
    assert!(took >= DELAY && took < DELAY + Duration::from_secs(3), "{took:?}");
}
