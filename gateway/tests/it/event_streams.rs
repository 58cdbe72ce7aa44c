//! Event streams as they live and end: each event as it comes, alive in silence, never longer than their session.

use std::time::{Duration, Instant};

use sallyport::clock::Clock;
use sallyport::server::StreamSettings;

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::redis_server::RedisServer;
use crate::support::wire::{Wire, WireServer};

const SECOND: Duration = Duration::from_secs(1);
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

struct Open {
    server: WireServer,
    gateway: Gateway,
    client: Client,
    token: String,
}

impl Open {
    async fn with(streams: StreamSettings) -> Self {
        let server = WireServer::start().await;
        let gateway = Gateway::start_with(Options { streams, ..Options::simple(&server.url) }).await;
        let client = Client::register(&gateway).await;
        let token = client.token(&gateway, ADELE).await;
        Self { server, gateway, client, token }
    }

    /// A stream whose header has come: the client's end and the server's.
    async fn stream(&self, method: &str) -> (Wire, Wire) {
        stream(&self.server, &self.gateway, &self.token, method).await
    }
}

async fn stream(server: &WireServer, gateway: &Gateway, token: &str, method: &str) -> (Wire, Wire) {
    let mut client = Wire::to(gateway).await;
    client.call(gateway, token, method, "", "").await;
    let (mut upstream, _) = server.request().await;
    upstream.send(STREAM).await;
    let header = client.header().await;
    assert!(header.starts_with("http/1.1 200") && header.contains("x-accel-buffering: no"), "{header}");
    (client, upstream)
}

async fn revoke(gateway: &Gateway, client: &Client, token: &str) {
    let form = [("token", token), ("client_id", client.id.as_str())];
    assert_eq!(gateway.post("/revoke").form(&form).send().await.unwrap().status(), 200);
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// 200 events; `SALLYPORT_EVENTS` asks for more.
#[tokio::test]
async fn every_event_comes_by_itself_and_at_once() {
    let count = std::env::var("SALLYPORT_EVENTS").map_or(200, |count| count.parse().unwrap());
    let open = Open::with(StreamSettings::default()).await;
    let (mut client, mut upstream) = open.stream("GET").await;
    let mut times = Vec::new();
    for number in 0..count {
        let event = format!("id: {number}\ndata: {{\"n\":{number}}}\n\n");
        let sent = Instant::now();
        upstream.send(&chunk(&event)).await;
        assert_eq!(client.chunk().await, event);
        times.push(sent.elapsed());
    }
    let median = median(times);
    assert!(median <= Duration::from_millis(5), "{median:?}");
}

/// Events that come faster than they are read are not lost, changed or reordered.
#[tokio::test]
async fn events_in_a_burst_come_whole_and_in_order() {
    let open = Open::with(StreamSettings::default()).await;
    let (mut client, upstream) = open.stream("POST").await;
    let mut upstream = Some(upstream);
    let events: Vec<_> = (0..500).map(|number| format!("data: {number}\n\n")).collect();
    upstream.as_mut().unwrap().send(&(events.iter().map(|event| chunk(event)).collect::<String>() + "0\r\n\r\n")).await;
    let mut received = String::new();
    loop {
        let chunk = client.chunk().await;
        if chunk.is_empty() {
            break;
        }
        received += &chunk;
    }
    assert_eq!(received, events.concat());
    assert_eq!(open.gateway.metric(r#"sallyport_streams_ended_total{cause="upstream"}"#).await, 1.0);
    // The client's connection serves on.
    client.call(&open.gateway, &open.token, "GET", "", "").await;
    open.server.next(&mut upstream).await;
    upstream.as_mut().unwrap().send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(client.header().await.starts_with("http/1.1 204"));
}

#[tokio::test]
async fn silence_is_broken_by_comments_and_never_inside_an_event() {
    let open = Open::with(StreamSettings { keep_alive: SECOND, ..StreamSettings::default() }).await;
    for method in ["GET", "POST"] {
        let (mut client, mut upstream) = open.stream(method).await;
        let started = Instant::now();
        assert_eq!(client.chunk().await, ": keep-alive\n\n");
        assert!(started.elapsed() >= SECOND * 9 / 10, "not before it is due");
        upstream.send(&chunk("data: half")).await;
        assert_eq!(client.chunk().await, "data: half");
        client.is_silent(SECOND * 3 / 2).await;
        upstream.send(&chunk(" an event\n\n")).await;
        assert_eq!(client.chunk().await, " an event\n\n");
        assert_eq!(client.chunk().await, ": keep-alive\n\n");
    }
    // The legacy transport, whose first event may be slow to come.
    let mut client = Wire::to(&open.gateway).await;
    let (host, token) = (open.gateway.port, &open.token);
    let request = format!("GET /mcp/sse HTTP/1.1\r\nhost: localhost:{host}\r\nauthorization: Bearer {token}\r\n\r\n");
    client.send(&request).await;
    let (mut upstream, _) = open.server.request().await;
    upstream.send(STREAM).await;
    client.header().await;
    assert_eq!(client.chunk().await, ": keep-alive\n\n");
    upstream.send(&chunk("event: endpoint\ndata: /message?sessionId=x\n\n")).await;
    assert!(client.chunk().await.starts_with("event: endpoint\ndata: /mcp/message?sessionId=sp1_ms_"));
    assert_eq!(client.chunk().await, ": keep-alive\n\n");
}

#[tokio::test]
async fn streams_end_with_their_session_and_no_others_do() {
    let open = Open::with(StreamSettings::default()).await;
    let other = open.client.token(&open.gateway, ALEX).await;
    let (mut listening, mut upstream) = open.stream("GET").await;
    let (mut answering, mut same) = open.stream("POST").await;
    let (mut others, mut others_upstream) = stream(&open.server, &open.gateway, &other, "GET").await;
    let mut waiting = Wire::to(&open.gateway).await;
    waiting.call(&open.gateway, &open.token, "GET", "", "").await;
    let (mut unanswered, _) = open.server.request().await;
    assert_eq!(open.gateway.metric("sallyport_streams_open").await, 3.0);

    let started = Instant::now();
    revoke(&open.gateway, &open.client, &open.token).await;
    assert_eq!(listening.chunk().await, "", "the end is clean: the client sees that there is no more");
    assert_eq!(answering.chunk().await, "");
    let refused = waiting.header().await;
    assert!(refused.starts_with("http/1.1 401") && refused.contains("www-authenticate"), "{refused}");
    for upstream in [&mut upstream, &mut same, &mut unanswered] {
        assert_eq!(upstream.rest(SECOND).await, "");
    }
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    assert_eq!(open.gateway.metric(r#"sallyport_streams_ended_total{cause="session"}"#).await, 2.0);
    assert_eq!(open.gateway.metric("sallyport_streams_open").await, 1.0);

    others_upstream.send(&chunk("data: 1\n\n")).await;
    assert_eq!(others.chunk().await, "data: 1\n\n");
    // The connection serves on, and its next request is told to sign in.
    listening.call(&open.gateway, &open.token, "GET", "", "").await;
    assert!(listening.header().await.starts_with("http/1.1 401"));
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_keep_its_stream_beyond_its_session() {
    let open = Open::with(StreamSettings::default()).await;
    let (_client, mut upstream) = open.stream("GET").await;
    upstream.send("ffffff\r\n").await;
    upstream.fill(12 * 1024 * 1024).await;
    revoke(&open.gateway, &open.client, &open.token).await;
    upstream.rest(SECOND).await;
    assert_eq!(open.gateway.metric("sallyport_streams_open").await, 0.0);
}

/// What calls itself no stream may be one. Its client reads so slowly that there is always more to pass on.
#[tokio::test]
async fn an_answer_that_always_goes_on_ends_with_its_session() {
    let open = Open::with(StreamSettings::default()).await;
    let mut client = Wire::to(&open.gateway).await;
    client.call(&open.gateway, &open.token, "GET", "", "").await;
    let (mut upstream, _) = open.server.request().await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1000000000000\r\n\r\n").await;
    let flooding = tokio::spawn(async move { upstream.flood().await });
    assert!(client.header().await.starts_with("http/1.1 200"));
    let sipping = tokio::spawn(async move { client.sip().await });
    tokio::time::sleep(SECOND / 2).await;
    assert!(!flooding.is_finished());
    revoke(&open.gateway, &open.client, &open.token).await;
    tokio::time::timeout(2 * SECOND, flooding).await.expect("the server is told").unwrap();
    sipping.abort();
}

#[tokio::test]
async fn what_one_replica_ends_is_cut_at_another_within_a_second() {
    let Some(redis) = RedisServer::start() else { return };
    let server = WireServer::start().await;
    let [here, there] = Gateway::replicas(&server.url, &redis.url(), &Clock::system()).await;
    let client = Client::register(&here).await;
    let token = client.token(&here, ADELE).await;
    let mut wire = Wire::to(&there).await;
    let host = here.public_url();
    let host = host.strip_prefix("http://").unwrap();
    wire.send(&format!("GET /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n")).await;
    let (mut upstream, _) = server.request().await;
    upstream.send(STREAM).await;
    assert!(wire.header().await.starts_with("http/1.1 200"));
    // The first request began to listen.
    let deadline = Instant::now() + 5 * SECOND;
    while !redis.tell("CLIENT LIST TYPE pubsub").contains(" sub=1 ") {
        assert!(Instant::now() < deadline, "nobody listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let started = Instant::now();
    revoke(&here, &client, &token).await;
    assert_eq!(wire.chunk().await, "");
    assert_eq!(upstream.rest(SECOND).await, "");
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_stream_ends_when_its_session_runs_out_and_not_when_that_is_refreshed() {
    let server = WireServer::start().await;
    let gateway = Gateway::start_changed(&server.url, |settings, _| {
        settings.sessions.access_lifetime = 2 * SECOND;
        settings.sessions.session_idle = 4 * SECOND;
    });
    let gateway = gateway.await;
    let client = Client::register(&gateway).await;
    let tokens = client.tokens(&gateway, ADELE).await;
    let (mut wire, mut upstream) = stream(&server, &gateway, tokens["access_token"].as_str().unwrap(), "GET").await;
    wire.is_silent(5 * SECOND / 2).await;
    upstream.send(&chunk("data: 1\n\n")).await;
    assert_eq!(wire.chunk().await, "data: 1\n\n", "it outlives the token that opened it");
    let end = tokio::time::timeout(4 * SECOND, wire.chunk()).await.expect("it ends with its session");
    assert_eq!(end, "");
    assert_eq!(upstream.rest(SECOND).await, "");
}

#[tokio::test]
async fn idle_and_total_limits_end_a_stream_between_events() {
    for (streams, cause) in [
        (StreamSettings { idle_timeout: SECOND, ..StreamSettings::default() }, "idle"),
        (StreamSettings { max_lifetime: SECOND, ..StreamSettings::default() }, "lifetime"),
    ] {
        let open = Open::with(streams).await;
        let (mut client, mut upstream) = open.stream("GET").await;
        upstream.send(&chunk("data: 1\n")).await;
        assert_eq!(client.chunk().await, "data: 1\n");
        client.is_silent(SECOND * 3 / 2).await;
        upstream.send(&chunk("\n")).await;
        assert_eq!(client.chunk().await, "\n");
        if cause == "lifetime" {
            let hint = client.chunk().await;
            let wait: u32 = hint.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
            assert!((1000..=5000).contains(&wait) && hint.ends_with("\n\n"), "{hint:?}");
        } else {
            assert!(client.chunk().await.starts_with("retry: "));
        }
        assert_eq!(client.chunk().await, "");
        assert_eq!(upstream.rest(SECOND).await, "");
        let ended = format!(r#"sallyport_streams_ended_total{{cause="{cause}"}}"#);
        assert_eq!(open.gateway.metric(&ended).await, 1.0);
    }
    let open = Open::with(StreamSettings { idle_timeout: SECOND, ..StreamSettings::default() }).await;
    let mut client = Wire::to(&open.gateway).await;
    client.call(&open.gateway, &open.token, "POST", "content-length: 2\r\n", "{}").await;
    let (mut upstream, _) = open.server.request().await;
    assert!(client.header().await.starts_with("http/1.1 504"), "a call that is never answered");
    assert_eq!(upstream.rest(SECOND).await, "{}");
}

#[tokio::test]
async fn a_session_has_so_many_streams_and_no_more() {
    let open = Open::with(StreamSettings { per_session: 2, ..StreamSettings::default() }).await;
    let (client, mut upstream) = open.stream("GET").await;
    let _second = open.stream("POST").await;
    for method in ["GET", "POST"] {
        let mut beyond = Wire::to(&open.gateway).await;
        beyond.call(&open.gateway, &open.token, method, "", "").await;
        let header = beyond.header().await;
        assert!(header.starts_with("http/1.1 429") && header.contains("retry-after"), "{header}");
        assert!(header.contains("content-type: application/json"), "{header}");
    }
    open.server.is_left_alone().await;
    let other = open.client.token(&open.gateway, ALEX).await;
    let _others = stream(&open.server, &open.gateway, &other, "GET").await;
    drop(client);
    assert_eq!(upstream.rest(SECOND).await, "");
    let _again = open.stream("GET").await;
}

#[tokio::test]
async fn a_drain_ends_streams_one_after_the_other_with_a_hint_and_then_the_gateway() {
    let mut open = Open::with(StreamSettings::default()).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(open.stream("GET").await);
    }
    let (mut answering, mut upstream) = open.stream("POST").await;
    open.gateway.tell_to_stop();
    let started = Instant::now();
    // A call that is being worked on comes to its own end.
    upstream.send(&chunk("data: 1\n\n")).await;
    assert_eq!(answering.chunk().await, "data: 1\n\n");
    upstream.send("0\r\n\r\n").await;
    assert_eq!(answering.chunk().await, "");
    let mut ends = Vec::new();
    for (mut client, upstream) in streams {
        ends.push(tokio::spawn(async move {
            let _upstream = upstream;
            let hint = client.rest(12 * SECOND).await;
            assert!(hint.contains("retry: ") && hint.ends_with("\r\n0\r\n\r\n"), "{hint:?}");
            started.elapsed()
        }));
    }
    let mut times = Vec::new();
    for end in ends {
        times.push(end.await.unwrap());
    }
    times.sort_unstable();
    assert!(times[7] < 10 * SECOND, "{times:?}");
    assert!(times[7] - times[0] > SECOND / 2, "they left all at once: {times:?}");
    let deadline = Instant::now() + 3 * SECOND;
    while !open.gateway.has_stopped() {
        assert!(Instant::now() < deadline, "nobody is left, and it stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn over_http_2_a_stream_is_the_same() {
    let server = WireServer::start().await;
    let streams = StreamSettings { keep_alive: SECOND, ..StreamSettings::default() };
    let gateway = Gateway::start_with(Options { tls: true, streams, ..Options::simple(&server.url) }).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let http = http_client();
    let call = http.get(gateway.url("/mcp")).bearer_auth(&token).send();
    let serving = async {
        let (mut upstream, _) = server.request().await;
        upstream.send(STREAM).await;
        upstream
    };
    let (answer, mut upstream) = tokio::join!(call, serving);
    let mut answer = answer.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        upstream.send(&chunk(&event)).await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), event);
    }
    assert_eq!(answer.chunk().await.unwrap().unwrap(), ": keep-alive\n\n");
    let form = [("token", token.as_str()), ("client_id", client.id.as_str())];
    assert_eq!(http.post(gateway.url("/revoke")).form(&form).send().await.unwrap().status(), 200);
    assert_eq!(tokio::time::timeout(SECOND, answer.bytes()).await.unwrap().unwrap(), "", "a clean end");
    assert_eq!(upstream.rest(SECOND).await, "");
}
