//! What is not clear does not pass where rules on tools stand, in whatever way it is sent.

use std::time::{Duration, Instant};

use super::*;
use crate::support::wire::Wire;

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let guarded = Guarded::start().await;
    let bodies = [
        "",
        "{",
        "nonsense",
        r#"{"id":1,"method":"ping","method":"tools/call","params":{"name":"debug"}}"#,
        r#"{"id":1,"method":"ping","m\u0065thod":"tools/call","params":{"name":"debug"}}"#,
        r#"{"id":1,"method":"ping","Method":"tools/call","params":{"name":"debug"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"ok","name":"debug"}}"#,
        r#"{"id":1,"method":"tools/call","params":["debug"]}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"debug "}}"#,
        r#"{"id":1,"method":"ping"}{"id":2,"method":"tools/call","params":{"name":"debug"}}"#,
        "[]",
    ];
    for body in bodies {
        let (status, answer) = guarded.answer(guarded.post(body)).await;
        assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!(-32600)), "{body}");
    }
    let with = |name: &'static str, value: &'static str| {
        let request = http_client().post(guarded.gateway.url("/mcp")).bearer_auth(&guarded.token).body(call("ok"));
        let typed = if name == "content-type" { request } else { request.header("content-type", "application/json") };
        typed.header(name, value)
    };
    let odd = [
        ("content-type", "application/json; charset=utf-7"),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
    ];
    for (name, value) in odd {
        assert_eq!(guarded.answer(with(name, value)).await.0, 400, "{name}: {value}");
    }
    assert_eq!(guarded.refused("unclear_body").await as usize, bodies.len() + odd.len());
    assert!(guarded.upstream.seen().is_empty());
}

/// T29, C15: nothing is decided by them, and a server may still.
#[tokio::test]
async fn headers_that_say_otherwise_than_the_body_are_refused() {
    let guarded = Guarded::start().await;
    let with = |version: &str, method: &str, name: &str| {
        let mut request = guarded.post(call("get_user"));
        for (header, value) in [("mcp-protocol-version", version), ("mcp-method", method), ("mcp-name", name)] {
            if !value.is_empty() {
                request = request.header(header, value);
            }
        }
        request
    };
    for (version, method, name) in [
        ("2026-07-28", "tools/call", "get_user"),
        ("2026-07-28", "tools/call", "=?base64?Z2V0X3VzZXI=?="),
        ("2025-11-25", "", ""),
        ("2025-06-18", "tools/call", ""),
    ] {
        let (status, answer) = guarded.answer(with(version, method, name)).await;
        assert_eq!((status.as_u16(), &answer["method"]), (200, &json!("tools/call")), "{version} {method} {name}");
    }
    assert_eq!(guarded.upstream.seen()[1].headers["mcp-name"], "=?base64?Z2V0X3VzZXI=?=", "and go on as they are");
    let before = guarded.upstream.seen().len();
    for (version, method, name) in [
        ("2026-07-28", "tools/list", "get_user"),
        ("2026-07-28", "tools/call", "other"),
        ("2026-07-28", "tools/call", ""),
        ("2026-07-28", "", ""),
        ("2025-06-18", "tools/list", ""),
        ("", "", "other"),
    ] {
        let (status, answer) = guarded.answer(with(version, method, name)).await;
        let said = (status.as_u16(), &answer["id"], &answer["error"]["code"]);
        assert_eq!(said, (400, &json!(7), &json!(-32020)), "{version} {method} {name}");
    }
    assert_eq!((guarded.upstream.seen().len(), guarded.refused("unclear_headers").await), (before, 6.0));
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_read_whole() {
    let guarded = Guarded::start().await;
    let json = "content-type: application/json\r\n";
    for (tool, status, forwarded) in [("get_user", "http/1.1 200", true), ("debug", "http/1.1 200", false)] {
        let body = call(tool);
        // Cut at every place, in chunks; and once byte by byte, with a length.
        for at in (1..body.len()).step_by(7) {
            let (one, other) = body.split_at(at);
            let chunked = format!("{:x}\r\n{one}\r\n{:x}\r\n", one.len(), other.len());
            let mut wire = Wire::to(&guarded.gateway).await;
            let lines = format!("{json}transfer-encoding: chunked\r\n");
            wire.call(&guarded.gateway, &guarded.token, "POST", &lines, &chunked).await;
            wire.send(&format!("{other}\r\n0\r\n\r\n")).await;
            assert!(wire.header().await.starts_with(status), "{tool} {at}");
            if forwarded {
                assert_eq!(guarded.upstream.seen().pop().unwrap().body, body);
            }
        }
        let mut wire = Wire::to(&guarded.gateway).await;
        let lines = format!("{json}content-length: {}\r\n", body.len());
        wire.call(&guarded.gateway, &guarded.token, "POST", &lines, "").await;
        for byte in body.split("") {
            wire.send(byte).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(wire.header().await.starts_with(status), "{tool}");
    }
    assert!(guarded.upstream.seen().iter().all(|seen| !seen.body.windows(5).any(|window| window == b"debug")));
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked() {
    let guarded = Guarded::start().await;
    let body = call("get_user");
    let mut wire = Wire::to(&guarded.gateway).await;
    let lines = format!("content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n", body.len());
    wire.call(&guarded.gateway, &guarded.token, "POST", &lines, "").await;
    assert!(wire.header().await.starts_with("http/1.1 100"));
    wire.send(&body).await;
    assert!(wire.header().await.starts_with("http/1.1 200"));
    assert_eq!(guarded.upstream.seen()[0].body, body);
}

#[tokio::test]
async fn the_longest_body_passes_and_a_longer_one_does_not() {
    let guarded = Guarded::start().await;
    let long = |tool: &str, length: usize| {
        let empty = call(tool).replace("\"arg\"", "\"\"");
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(length - empty.len())))
    };
    let body = long("get_user", 4 * 1024 * 1024);
    let answer = guarded.post(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(guarded.upstream.seen()[0].body == body, "every byte");
    assert_eq!(guarded.answer(guarded.post(long("debug", 4 * 1024 * 1024))).await.1["error"]["code"], -32003);
    let answer = guarded.post(long("get_user", 4 * 1024 * 1024 + 1)).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    // Without a length, nobody knows before it has come.
    let mut wire = Wire::to(&guarded.gateway).await;
    let lines = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    wire.call(&guarded.gateway, &guarded.token, "POST", lines, "500000\r\n").await;
    wire.fill(5 * 1024 * 1024).await;
    assert!(wire.header().await.starts_with("http/1.1 413"));
    assert_eq!(guarded.upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_body_where_mcp_has_none_is_refused() {
    let guarded = Guarded::start().await;
    for method in ["GET", "DELETE"] {
        let mut wire = Wire::to(&guarded.gateway).await;
        let body = call("debug");
        let lines = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        wire.call(&guarded.gateway, &guarded.token, method, &lines, &body).await;
        assert!(wire.header().await.starts_with("http/1.1 400"), "{method}");
    }
    assert!(guarded.upstream.seen().is_empty());
    let delete = http_client().delete(guarded.gateway.url("/mcp")).bearer_auth(&guarded.token);
    assert_eq!(delete.send().await.unwrap().status(), 200);
}

/// Without a length, in pieces of all sizes, the empty one too.
#[tokio::test]
async fn over_http_2_it_is_the_same() {
    let guarded = Guarded::with(&[], true).await;
    let pieces = |body: &str, size: usize| {
        let text = body.as_bytes().chunks(size).map(<[u8]>::to_vec);
        let all: Vec<_> = [vec![]].into_iter().chain(text).chain([vec![]]).map(Ok::<_, std::io::Error>).collect();
        reqwest::Body::wrap_stream(futures_util::stream::iter(all))
    };
    for size in [1, 10, 1000] {
        let body = call("get_user");
        let answer = guarded.post("").body(pieces(&body, size)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
        let seen = guarded.upstream.seen().pop().unwrap();
        assert_eq!(seen.body, body);
        assert_eq!(seen.headers["content-length"], body.len().to_string());
        let refused = guarded.answer(guarded.post("").body(pieces(&call("debug"), size))).await;
        assert_eq!((refused.0.as_u16(), &refused.1["error"]["code"]), (200, &json!(-32003)));
    }
    let get = http_client().get(guarded.gateway.url("/mcp")).bearer_auth(&guarded.token);
    assert_eq!(get.send().await.unwrap().status(), 200, "no body is none");
    let with_body = http_client().get(guarded.gateway.url("/mcp")).bearer_auth(&guarded.token).body(call("debug"));
    assert_eq!(with_body.send().await.unwrap().status(), 400);
    assert_eq!(guarded.upstream.seen().len(), 4);
}

#[tokio::test]
async fn only_so_many_long_bodies_are_held_at_once() {
    let guarded = Guarded::start().await;
    let lines = "content-type: application/json\r\ncontent-length: 100000\r\n";
    let mut held = Vec::new();
    for _ in 0..65 {
        let mut wire = Wire::to(&guarded.gateway).await;
        wire.call(&guarded.gateway, &guarded.token, "POST", lines, &" ".repeat(70_000)).await;
        held.push(wire);
    }
    // Whichever is the last to be read is one too many.
    let begun = Instant::now();
    while guarded.gateway.metric(r#"sallyport_limited_total{limit="long_bodies"}"#).await < 1.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "all are held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut wire = Wire::to(&guarded.gateway).await;
    wire.call(&guarded.gateway, &guarded.token, "POST", lines, &" ".repeat(70_000)).await;
    let header = wire.header().await;
    assert!(header.starts_with("http/1.1 429") && header.contains("retry-after: "), "{header}");
    assert_eq!(guarded.answer(guarded.post(call("get_user"))).await.0, 200, "a short one is not in their way");
    drop(held);
    let long = call("get_user") + &" ".repeat(100_000);
    for attempt in 0.. {
        let answer = guarded.post(long.clone()).send().await.unwrap();
        if answer.status() == 200 {
            break;
        }
        assert_eq!((answer.status().as_u16(), attempt < 100), (429, true));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
