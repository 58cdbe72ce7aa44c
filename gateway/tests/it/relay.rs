//! The relay between client and server, byte by byte: framing of its own on each hop, nothing sent twice, and whoever breaks
//! off is seen to have broken off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use sallyport::edge::Upstreams;
use sallyport::server::ConnectionLimits;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::wire::{Wire, WireServer};

const SOON: Duration = Duration::from_secs(2);

async fn start() -> (WireServer, Gateway, String) {
    let server = WireServer::start().await;
    let gateway = Gateway::start(&server.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    (server, gateway, token)
}

/// The answer to a call, as the client sees its header, when the server says `answer`. Nothing is left half done.
async fn answered(
    gateway: &Gateway,
    server: &WireServer,
    token: &str,
    method: &str,
    answer: &str,
) -> (String, Wire, Wire) {
    let mut client = Wire::to(gateway).await;
    client.call(gateway, token, method, "", "").await;
    let (mut upstream, _) = server.request().await;
    upstream.send(answer).await;
    (client.header().await, client, upstream)
}

#[tokio::test]
async fn each_hop_has_a_framing_of_its_own() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    let mut upstream = None;
    for (method, lines, body, framing, received) in [
        ("GET", "", "", "", ""),
        ("DELETE", "", "", "", ""),
        ("POST", "content-length: 2\r\n", "{}", "content-length: 2", "{}"),
        ("POST", "content-length: 0\r\n", "", "content-length: 0", ""),
        ("POST", "", "", "content-length: 0", ""),
        (
            "POST",
            "transfer-encoding: chunked\r\ntrailer: x-late\r\n",
            "1;a=b\r\n{\r\n1\r\n}\r\n0\r\nx-late: 1\r\n\r\n",
            "transfer-encoding: chunked",
            "{}",
        ),
    ] {
        client.call(&gateway, &token, method, lines, body).await;
        let (header, _) = server.next(&mut upstream).await;
        let upstream = upstream.as_mut().unwrap();
        let framings: Vec<_> =
            header.lines().filter(|line| line.starts_with("content-l") || line.starts_with("transfer-")).collect();
        assert_eq!(framings.join("|"), framing, "{method} {lines:?}");
        assert!(!header.contains("trailer"), "{header}");
        if framing.starts_with("transfer") {
            assert_eq!(upstream.chunk().await + &upstream.chunk().await, received);
            assert_eq!(upstream.until("0\r\n\r\n").await, "0\r\n\r\n", "trailers are dropped");
        } else {
            assert_eq!(upstream.bytes(received.len()).await, received);
        }
        upstream.send("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
        let answer = client.header().await;
        assert!(answer.starts_with("http/1.1 202") && answer.contains("connection: keep-alive"), "{answer}");
    }
    server.is_left_alone().await;
}

#[tokio::test]
async fn what_is_between_two_ends_of_a_connection_stays_there() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    let lines = "connection: keep-alive, x-hop, Upgrade\r\nx-hop: 1\r\nupgrade: websocket\r\nkeep-alive: timeout=9\r\n\
                 te: trailers\r\nproxy-authorization: Basic eA==\r\nproxy-connection: close\r\nhttp2-settings: AAA\r\n\
                 expect: 100-continue\r\nx-end: 1\r\ncontent-length: 2\r\n";
    client.call(&gateway, &token, "POST", lines, "").await;
    let (mut upstream, header) = server.request().await;
    for name in ["x-hop", "upgrade", "keep-alive", "te:", "proxy-", "http2-settings", "expect", "connection:", "basic"]
    {
        assert!(!header.contains(name), "{name} in {header}");
    }
    assert!(header.contains("x-end: 1"));
    assert!(client.header().await.starts_with("http/1.1 100 "), "now that there is a server to take the body");
    client.send("{}").await;
    assert_eq!(upstream.bytes(2).await, "{}");
    let lines = "connection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\ntrailer: x\r\nupgrade: h2c\r\nx-end: 1\r\n";
    upstream.send(&format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\n[]")).await;
    let header = client.header().await;
    for name in ["x-hop", "keep-alive: ", "trailer", "upgrade"] {
        assert!(!header.contains(name), "{name} in {header}");
    }
    assert!(header.contains("x-end: 1") && header.contains("content-length: 2"), "{header}");
    assert_eq!(client.bytes(2).await, "[]");
}

#[tokio::test]
async fn a_connection_header_may_not_take_the_edges_words_away() {
    let (server, gateway, token) = start().await;
    for nominated in ["x-forwarded-for", "host", "a b", "\"x\""] {
        let mut client = Wire::to(&gateway).await;
        client.call(&gateway, &token, "GET", &format!("connection: {nominated}\r\n"), "").await;
        let answer = client.header().await;
        assert!(answer.starts_with("http/1.1 400"), "{nominated}: {answer}");
    }
    // Connected is what comes first; nothing was sent.
    let mut upstream = server.accept().await;
    assert_eq!(upstream.rest(SOON).await, "");
}

#[tokio::test]
async fn answers_without_a_body_leave_both_connections_of_use() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    let mut upstream = None;
    for (method, answer, line) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "content-length: 9"),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "http/1.1 200"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "http/1.1 204"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", "http/1.1 304"),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nx: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            "http/1.1 204",
        ),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "transfer-encoding: chunked"),
    ] {
        client.call(&gateway, &token, method, "", "").await;
        server.next(&mut upstream).await;
        upstream.as_mut().unwrap().send(answer).await;
        let header = client.header().await;
        assert!(header.contains(line) && !header.contains("x: 1"), "{method} {answer:?}: {header}");
        if method == "GET" && header.contains("chunked") {
            assert_eq!(client.chunk().await, "");
        }
    }
    // What comes next is the next answer and nothing that was left over.
    client.call(&gateway, &token, "GET", "", "").await;
    server.next(&mut upstream).await;
    upstream.as_mut().unwrap().send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast").await;
    client.header().await;
    assert_eq!(client.bytes(4).await, "last");
    server.is_left_alone().await;
}

#[tokio::test]
async fn answers_that_could_be_read_in_two_ways_are_not_passed_on() {
    let (server, gateway, token) = start().await;
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2x\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 999 x\r\nbad header\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let (header, _client, mut upstream) = answered(&gateway, &server, &token, "GET", answer).await;
        assert!(header.starts_with("http/1.1 502") && header.contains("retry-after"), "{answer:?}: {header}");
        upstream.rest(SOON).await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let (server, gateway, token) = start().await;
    for (answer, rest) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nno size\r\n", "4\r\nhalf\r\n"),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "4\r\nhalf\r\n",
        ),
    ] {
        let (_, mut client, upstream) = answered(&gateway, &server, &token, "POST", answer).await;
        drop(upstream);
        assert_eq!(client.rest(SOON).await, rest, "no proper end");
    }
    assert_eq!(gateway.metric(r#"sallyport_streams_ended_total{cause="broken"}"#).await, 1.0);
    // What has a length is sent on when it is whole, or in large pieces.
    let mut client = Wire::to(&gateway).await;
    client.call(&gateway, &token, "GET", "", "").await;
    let (mut upstream, _) = server.request().await;
    upstream.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n{}", "x".repeat(4000))).await;
    drop(upstream);
    let rest = client.rest(SOON).await;
    assert!(rest.is_empty() || rest.to_ascii_lowercase().contains("content-length: 9000"), "{rest}");
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let (server, gateway, token) = start().await;
    // On a connection that served before, and on a new one.
    let (mut client, upstream) = on_a_waiting_connection(&server, &gateway, &token, "POST").await;
    drop(upstream);
    assert!(client.header().await.starts_with("http/1.1 502"));
    let mut client = Wire::to(&gateway).await;
    client.call(&gateway, &token, "POST", "content-length: 2\r\n", "{}").await;
    drop(server.request().await);
    assert!(client.header().await.starts_with("http/1.1 502"));
    server.is_left_alone().await;
}

/// A call whose header came to the server on a connection that had served another call.
async fn on_a_waiting_connection(server: &WireServer, gateway: &Gateway, token: &str, method: &str) -> (Wire, Wire) {
    let (mut client, mut upstream) = (Wire::to(gateway).await, None);
    for _ in 0..20 {
        client.call(gateway, token, method, "", "").await;
        let (header, waited) = server.next(&mut upstream).await;
        assert!(header.starts_with(&method.to_ascii_lowercase()), "{header}");
        if waited {
            return (client, upstream.unwrap());
        }
        upstream.as_mut().unwrap().send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(client.header().await.starts_with("http/1.1 204"));
    }
    panic!("no connection is used again");
}

#[tokio::test]
async fn what_may_be_sent_twice_is_sent_again_once_where_a_waiting_connection_was_closed() {
    let (server, gateway, token) = start().await;
    for method in ["GET", "DELETE"] {
        let (mut client, waiting) = on_a_waiting_connection(&server, &gateway, &token, method).await;
        drop(waiting);
        let (mut upstream, header) = server.request().await;
        assert!(header.starts_with(&method.to_ascii_lowercase()), "{header}");
        upstream.send("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        assert!(client.header().await.starts_with("http/1.1 204"));
        // On a new connection there is nothing stale, and no second attempt.
        client.call(&gateway, &token, method, "", "").await;
        drop(server.request().await);
        assert!(client.header().await.starts_with("http/1.1 502"), "{method}");
        server.is_left_alone().await;
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let (server, gateway, token) = start().await;
    let (mut client, mut upstream, mut opened) = (Wire::to(&gateway).await, None, 0);
    for _ in 0..30 {
        client.call(&gateway, &token, "POST", "content-length: 2\r\n", "{}").await;
        let (_, waited) = server.next(&mut upstream).await;
        opened += u32::from(!waited);
        let upstream = upstream.as_mut().unwrap();
        assert_eq!(upstream.bytes(2).await, "{}");
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
        client.header().await;
        assert_eq!(client.bytes(2).await, "[]");
    }
    // Not quite one; see `WireServer::next`.
    assert!(opened <= 10, "{opened} connections for 30 calls");
    assert_eq!(gateway.metric("sallyport_upstream_first_byte_seconds_count").await, 30.0);
}

/// Calls that end together leave as many connections, and as many calls after them open none.
#[tokio::test]
async fn a_crowd_finds_the_connections_that_the_one_before_it_left() {
    let server = WireServer::start().await;
    let gateway = Gateway::start_changed(&server.url, |settings, _| settings.connections.per_address = 10_000).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    // A part of what may wait, for other tests have files open too.
    let crowd = (ConnectionLimits::default().waiting(Upstreams::STORES) / 4).min(1_000);
    let all_are_here = Arc::new(Barrier::new(crowd));
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = opened.clone();
    let serving = tokio::spawn(async move {
        let mut served = JoinSet::new();
        loop {
            let (mut wire, all_are_here) = (server.accept().await, all_are_here.clone());
            counted.fetch_add(1, Ordering::Relaxed);
            served.spawn(async move {
                loop {
                    wire.header().await;
                    assert_eq!(wire.bytes(2).await, "{}");
                    all_are_here.wait().await;
                    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
                }
            });
        }
    });
    let mut wires = join_all((0..crowd).map(|_| Wire::to(&gateway))).await;
    for _ in 0..2 {
        for wire in &mut wires {
            wire.call(&gateway, &token, "POST", "content-length: 2\r\n", "{}").await;
        }
        for wire in &mut wires {
            assert!(wire.header().await.starts_with("http/1.1 200"));
            assert_eq!(wire.bytes(2).await, "[]");
        }
    }
    serving.abort();
    let opened = opened.load(Ordering::Relaxed);
    // As above, not quite as many.
    assert!(opened <= crowd + crowd / 10, "{opened} connections for {crowd} calls at once");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_replaced_by_another_once() {
    let server = WireServer::start().await;
    // Nothing listens at the other one; about half of the sign-ins are for it.
    let gone = WireServer::start().await.url;
    let gone = gone.parse().unwrap();
    let gateway =
        Gateway::start_changed(&server.url, |settings, _| settings.upstreams[0].pool.servers.push(gone)).await;
    let client = Client::register(&gateway).await;
    for user in [ADELE, ALEX, ADELE, ALEX] {
        let token = client.token(&gateway, user).await;
        let mut wire = Wire::to(&gateway).await;
        wire.call(&gateway, &token, "POST", "content-length: 2\r\n", "{}").await;
        let (mut upstream, _) = server.request().await;
        upstream.send("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        assert!(wire.header().await.starts_with("http/1.1 202"));
    }
    drop(server);
    let token = client.token(&gateway, ADELE).await;
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.headers().contains_key("retry-after"));
}

/// C16, in each state of a call.
#[tokio::test]
async fn a_client_that_leaves_is_gone_upstream_at_once_whatever_was_going_on() {
    let (server, gateway, token) = start().await;
    let call = async |lines: &str, body: &str| {
        let mut client = Wire::to(&gateway).await;
        client.call(&gateway, &token, "POST", lines, body).await;
        let (upstream, _) = server.request().await;
        (client, upstream)
    };
    let (client, mut upstream) = call("content-length: 2\r\n", "{}").await;
    drop(client);
    assert_eq!(upstream.rest(SOON).await, "{}", "while it waited for an answer");

    let (client, mut upstream) = call("content-length: 9\r\n", "{").await;
    drop(client);
    assert_eq!(upstream.rest(SOON).await, "{", "while its message was on its way");

    for (answer, part) in [
        ("transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", "{\r\n"),
        ("content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n1\r\n:\r\n", ":\r\n"),
    ] {
        let (mut client, mut upstream) = call("content-length: 2\r\n", "{}").await;
        upstream.send(&format!("HTTP/1.1 200 OK\r\n{answer}")).await;
        client.header().await;
        client.until(part).await;
        drop(client);
        assert_eq!(upstream.rest(SOON).await, "{}", "while it was answered: {answer}");
    }
    assert_eq!(gateway.metric(r#"sallyport_streams_ended_total{cause="client"}"#).await, 1.0);
}

/// What one user's call left unfinished is no part of another's (T31): its connection is not used again.
#[tokio::test]
async fn a_connection_is_used_again_only_when_both_sides_came_to_their_end() {
    let server = WireServer::start().await;
    let gateway = Gateway::start(&server.url).await;
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.token(&gateway, ADELE).await, client.token(&gateway, ALEX).await);
    let spoiled = [
        // Bytes that no request asked for.
        ("content-length: 0\r\n", "", "content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsmug!"),
        // An answer before the message was read whole.
        ("content-length: 9\r\n", "{", "content-length: 2\r\n\r\n{}"),
        // Without an end of its own.
        ("content-length: 2\r\n", "{}", "connection: close\r\ncontent-length: 2\r\n\r\n{}"),
    ];
    for (lines, body, answer) in spoiled {
        let mut wire = Wire::to(&gateway).await;
        wire.call(&gateway, &adele, "POST", lines, body).await;
        let (mut upstream, _) = server.request().await;
        upstream.bytes(body.len()).await;
        upstream.send(&format!("HTTP/1.1 200 OK\r\n{answer}")).await;
        let header = wire.header().await;
        assert!(header.starts_with("http/1.1 200"), "{header}");
        assert_eq!(wire.bytes(2).await, "{}");
        drop(wire);
        assert_eq!(upstream.rest(3 * SOON).await, "", "{answer}");
        let mut wire = Wire::to(&gateway).await;
        wire.call(&gateway, &alex, "GET", "", "").await;
        let (mut upstream, _) = server.request().await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhers!").await;
        wire.header().await;
        assert_eq!(wire.bytes(5).await, "hers!");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_end_of_the_message() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    client.call(&gateway, &token, "POST", "content-length: 4\r\n", "{}").await;
    let (mut upstream, _) = server.request().await;
    assert_eq!(upstream.bytes(2).await, "{}");
    upstream.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nbad").await;
    let header = client.header().await;
    assert!(header.starts_with("http/1.1 400") && header.contains("connection: close"), "{header}");
    assert_eq!(client.bytes(3).await, "bad");
    drop(client);
    // What was said and half of it meant for the next: the message's end never comes.
    assert_eq!(upstream.rest(3 * SOON).await, "");
}

/// Where it stops taking the message, its answer is what the client sees.
#[tokio::test]
async fn a_server_that_answers_and_closes_is_heard() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    let length = 3 * 1024 * 1024;
    client.call(&gateway, &token, "POST", &format!("content-length: {length}\r\n"), "").await;
    let (mut upstream, _) = server.request().await;
    upstream.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nbad").await;
    let header = client.header().await;
    assert!(header.starts_with("http/1.1 400"), "{header}");
    assert_eq!(client.bytes(3).await, "bad");
}

#[tokio::test]
async fn a_message_without_an_announced_length_is_bounded_on_its_way() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    client.call(&gateway, &token, "POST", "transfer-encoding: chunked\r\n", "").await;
    let reading = async {
        let (mut upstream, _) = server.request().await;
        upstream.rest(SOON).await
    };
    let writing = async {
        let piece = format!("10000\r\n{}\r\n", "x".repeat(65536));
        for _ in 0..65 {
            client.send(&piece).await;
        }
        client.header().await
    };
    let (received, header) = tokio::join!(reading, writing);
    assert!(header.starts_with("http/1.1 413"), "{header}");
    assert!(!received.ends_with("0\r\n\r\n"), "the server sees that it is not whole");
}

/// T32. Ten seconds of this test are waiting.
#[tokio::test]
async fn a_message_that_stops_coming_is_given_up() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    client.call(&gateway, &token, "POST", "content-length: 9\r\n", "{").await;
    let (mut upstream, _) = server.request().await;
    let answer = client.rest(Duration::from_secs(15)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(upstream.rest(SOON).await, "{", "and the server is left");
}

/// One that does not read stops the server, and fills no memory of ours.
#[tokio::test]
async fn who_does_not_read_is_not_read_for() {
    for content_type in ["application/json", "text/event-stream"] {
        let (server, gateway, token) = start().await;
        let mut client = Wire::to(&gateway).await;
        client.call(&gateway, &token, "GET", "", "").await;
        let (mut upstream, _) = server.request().await;
        upstream.send(&format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n\r\n")).await;
        client.header().await;
        let taken = upstream.fill(64 * 1024 * 1024).await;
        assert!(taken < 32 * 1024 * 1024, "{taken} bytes went nowhere");
        drop(client);
    }
}

/// HTTP/2 to the client, HTTP/1.1 to the server.
#[tokio::test]
async fn over_http_2_bodies_ends_and_breaks_are_what_they_are() {
    let server = WireServer::start().await;
    let gateway = Gateway::start_with(Options { tls: true, ..Options::simple(&server.url) }).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let post = |body: reqwest::Body| http_client().post(gateway.url("/mcp")).bearer_auth(&token).body(body);
    for (body, framing) in [
        (reqwest::Body::from("{}"), "content-length: 2"),
        (
            reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("{}")])),
            "transfer-encoding: chunked",
        ),
        (reqwest::Body::from(""), "content-length: 0"),
    ] {
        let serving = async {
            let (mut upstream, header) = server.request().await;
            assert!(header.contains(framing), "{header}");
            assert_eq!(header.matches("content-length").count() + header.matches("transfer-encoding").count(), 1);
            match framing {
                "content-length: 2" => assert_eq!(upstream.bytes(2).await, "{}"),
                "content-length: 0" => {}
                _ => assert_eq!(upstream.chunk().await + &upstream.chunk().await, "{}"),
            }
            let answer = "connection: close, x-hop\r\nx-hop: 1\r\ntransfer-encoding: chunked";
            upstream.send(&format!("HTTP/1.1 200 OK\r\n{answer}\r\n\r\n2\r\n[]\r\n0\r\nx-late: 1\r\n\r\n")).await;
        };
        let (answer, ()) = tokio::join!(post(body).send(), serving);
        let answer = answer.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
        assert!(["connection", "x-hop", "transfer-encoding"].iter().all(|name| !answer.headers().contains_key(*name)));
        assert_eq!(answer.text().await.unwrap(), "[]");
    }

    let breaking = async {
        let (mut upstream, _) = server.request().await;
        upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    };
    let (answer, ()) = tokio::join!(post("{}".into()).send(), breaking);
    let broken = tokio::time::timeout(SOON, answer.unwrap().text()).await.unwrap();
    assert!(broken.is_err(), "a clean end would hide the loss: {broken:?}");

    // C16: a reset of the one stream, on a connection that lives on.
    let http = http_client();
    let call = http.post(gateway.url("/mcp")).bearer_auth(&token).body("{}").send();
    let (mut upstream, _) = tokio::select! {
        answer = call => panic!("nobody answers: {answer:?}"),
        request = server.request() => request,
    };
    assert_eq!(upstream.rest(SOON).await, "{}");
}
