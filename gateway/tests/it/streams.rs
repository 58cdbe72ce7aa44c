//! Event streams: unbuffered, unaltered, and closed with whoever leaves.

use std::time::{Duration, Instant};

use reqwest::Response;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::upstream::Upstream;

async fn stream(gateway: &Gateway, path: &str, token: &str) -> Response {
    let request = http_client().get(gateway.url(path)).bearer_auth(token).header("accept", "text/event-stream");
    let answer = tokio::time::timeout(Duration::from_secs(10), request.send()).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

async fn next(answer: &mut Response) -> String {
    let chunk = tokio::time::timeout(Duration::from_secs(5), answer.chunk()).await.expect("an event comes at once");
    String::from_utf8(chunk.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn events_come_one_by_one_as_they_are_sent() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let mut answer = stream(&gateway, "/mcp", &token).await;
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    for number in 0..5 {
        let event = format!("id: {number}\ndata: {{\"n\":{number}}}\n\n");
        upstream.send(&event).await;
        assert_eq!(next(&mut answer).await, event);
    }
}

/// C16: in the modern protocol, closing the stream is the cancellation.
#[tokio::test]
async fn a_client_that_leaves_is_gone_upstream_at_once() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let mut answer = stream(&gateway, "/mcp", &token).await;
    upstream.send("data: 1\n\n").await;
    next(&mut answer).await;
    drop(answer);
    let started = Instant::now();
    upstream.reader_gone().await;
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_stream_that_breaks_upstream_is_seen_to_be_broken() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let mut answer = stream(&gateway, "/mcp", &token).await;
    upstream.send("data: 1\n\n").await;
    next(&mut answer).await;
    upstream.break_stream().await;
    let end = tokio::time::timeout(Duration::from_secs(5), answer.chunk()).await.unwrap();
    assert!(end.is_err(), "a clean end would hide the loss: {end:?}");
}

/// C20-C22: the legacy transport through the edge.
#[tokio::test]
async fn the_legacy_endpoint_is_ours_and_only_its_users() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.token(&gateway, ADELE).await, client.token(&gateway, ALEX).await);
    let mut answer = stream(&gateway, "/mcp/sse", &adele).await;
    upstream.send("event: endpoint\r\ndata: /message?sessionId=an-inner-name\r\n\r\n").await;
    let event = next(&mut answer).await;
    let endpoint = event.strip_prefix("event: endpoint\ndata: ").unwrap().trim();
    assert!(endpoint.starts_with("/mcp/message?sessionId=sp1_ms_"), "{endpoint}");
    assert!(!endpoint.contains("inner"));

    let post = |token: &str| http_client().post(gateway.url(endpoint)).bearer_auth(token).body(r#"{"id":1}"#).send();
    assert_eq!(post(&adele).await.unwrap().status(), 200);
    let seen = upstream.seen().pop().unwrap();
    assert_eq!((seen.uri.as_str(), &seen.body[..]), ("/message?sessionId=an-inner-name", &br#"{"id":1}"#[..]));
    let before = upstream.seen().len();
    assert_eq!(post(&alex).await.unwrap().status(), 404);
    assert_eq!(upstream.seen().len(), before, "another user's message goes nowhere");

    upstream.send("event: message\ndata: {}\n\n").await;
    assert_eq!(next(&mut answer).await, "event: message\ndata: {}\n\n");
}

#[tokio::test]
async fn a_legacy_stream_that_points_elsewhere_is_cut() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let mut answer = stream(&gateway, "/mcp/sse", &token).await;
    upstream.send("event: endpoint\ndata: https://evil.example/message\n\n").await;
    let end = tokio::time::timeout(Duration::from_secs(5), answer.chunk()).await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
}
