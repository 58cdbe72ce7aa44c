//! Requests that should not get through, and upstreams that should not be believed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn without_a_token_every_method_gets_the_challenge_and_nothing_goes_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    for path in ["/mcp", "/mcp/", "/mcp/sse", "/mcp/message"] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::HEAD, Method::PUT, Method::PATCH] {
            let answer = http_client().request(method.clone(), gateway.url(path)).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{method} {path}");
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer resource_metadata=\""), "{challenge}");
            assert!(!challenge.contains("error="), "{challenge}");
        }
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn the_challenge_leads_to_metadata_about_this_very_resource() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    for path in ["/mcp", "/mcp/sse"] {
        let answer = http_client().get(gateway.url(path)).send().await.unwrap();
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        let url = challenge.split('"').nth(1).unwrap().to_owned();
        let document: Value = http_client().get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(document["resource"], gateway.url(path));
        assert_eq!(document["authorization_servers"][0], gateway.public_url());
    }
}

/// T16, T17: one answer for everything that is not a token of ours.
#[tokio::test]
async fn forged_truncated_and_foreign_tokens_get_one_answer() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let altered = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { 'B' } else { 'A' });
    let elsewhere = Client::register(&gateway).await.id;
    let entra_token = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2ln";
    let tokens = [&altered, &token[..token.len() / 2], "sp1_at_", "x", &elsewhere, entra_token, "sp1_at_AAAA"];
    let mut answers = Vec::new();
    for token in tokens {
        let answer = http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await.unwrap();
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        answers.push((answer.status(), challenge, answer.text().await.unwrap()));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers[0].1.ends_with(r#"error="invalid_token""#));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert!(upstream.seen().is_empty());
}

/// T14
#[tokio::test]
async fn a_token_of_one_resource_is_nothing_at_another() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(Options {
        upstreams: vec![("/mcp", upstream.url.clone()), ("/other", upstream.url.clone())],
        ..Options::simple(&upstream.url)
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let status = |path: &str| http_client().post(gateway.url(path)).bearer_auth(&token).body("{}").send();
    assert_eq!(status("/mcp").await.unwrap().status(), 200);
    assert_eq!(status("/other").await.unwrap().status(), 401);
}

/// T26, P11
#[tokio::test]
async fn an_upstream_sees_no_credential_and_no_identity_but_ours() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let answer = http_client()
        .post(gateway.url("/mcp?x=1"))
        .bearer_auth(&token)
        .header("cookie", "__Host-MCP_APPROVED_CLIENTS=x")
        .header("origin", gateway.public_url())
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-user", "root")
        .header("x_forwarded_user", "root")
        .header("x-ms-client-principal", "root")
        .header("forwarded", "for=6.6.6.6")
        .header("mcp-param-city", "Oslo")
        .header("last-event-id", "7")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let seen = upstream.seen().pop().unwrap();
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/mcp?x=1"));
    for refused in ["cookie", "origin", "x-forwarded-user", "x_forwarded_user", "x-ms-client-principal", "forwarded"] {
        assert!(!seen.headers.contains_key(refused), "{refused}");
    }
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers["host"], upstream.url.strip_prefix("http://").unwrap());
    for (passed, value) in [("mcp-param-city", "Oslo"), ("last-event-id", "7")] {
        assert_eq!(seen.headers[passed], value);
    }
    assert!(!format!("{:?}", seen.headers).contains("sp1_at_"));
}

/// C11: a session belongs to who opened it.
#[tokio::test]
async fn an_upstreams_session_is_sealed_to_its_user() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.token(&gateway, ADELE).await, client.token(&gateway, ALEX).await);
    let opened =
        http_client().post(gateway.url("/mcp")).bearer_auth(&adele).header("x-test", "hostile").send().await.unwrap();
    let sealed = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let call = |token: &str, id: &str| {
        http_client().post(gateway.url("/mcp")).bearer_auth(token).header("mcp-session-id", id).body("{}").send()
    };
    assert_eq!(call(&adele, &sealed).await.unwrap().status(), 200);
    assert_eq!(upstream.seen().pop().unwrap().headers["mcp-session-id"], "s1");
    let before = upstream.seen().len();
    assert_eq!(call(&alex, &sealed).await.unwrap().status(), 404, "another user's");
    assert_eq!(call(&adele, "s1").await.unwrap().status(), 404, "the upstream's own name is none of ours");
    assert_eq!(call(&adele, "").await.unwrap().status(), 404);
    assert_eq!(upstream.seen().len(), before);
}

/// T28, B11, C4
#[tokio::test]
async fn a_hostile_upstream_is_not_believed() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let call = |what: &'static str| {
        http_client().post(gateway.url("/mcp")).bearer_auth(&token).header("x-test", what).body("{}").send()
    };
    let answer = call("hostile").await.unwrap();
    for refused in ["set-cookie", "www-authenticate", "access-control-allow-origin", "location", "server"] {
        assert!(!answer.headers().contains_key(refused), "{refused}");
    }
    assert!(answer.headers()["mcp-session-id"].to_str().unwrap().starts_with("sp1_ms_"));

    assert_eq!(call("redirect").await.unwrap().status(), 502);

    let answer = call("unauthorized").await.unwrap();
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains(&gateway.public_url()) && challenge.ends_with(r#"error="invalid_token""#),
        "{challenge}"
    );
    assert_eq!(answer.headers().get("transfer-encoding"), None, "an answer is framed one way only");
    assert!(!answer.text().await.unwrap().contains("inner"), "the upstream's own words stay inside");

    let answer = call("era").await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.text().await.unwrap(), r#"{"code":-32022}"#, "clients tell the era from exactly these bytes");
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_right_status() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let http = http_client();

    let unknown = http.get(gateway.url("/admin")).send().await.unwrap();
    assert_eq!(
        (unknown.status().as_u16(), &unknown.headers()["content-type"]),
        (404, &"application/json".parse().unwrap())
    );
    let host = http.get(gateway.url("/mcp")).header("host", "evil.example").send().await.unwrap();
    assert_eq!(host.status(), 421);
    let origin = http
        .post(gateway.url("/mcp"))
        .bearer_auth(&token)
        .header("origin", "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(origin.status(), 403);
    let query = http.post(gateway.url("/mcp?access_token=x")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(query.status(), 400);
    let method = http.put(gateway.url("/mcp")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(method.status(), 405);
    for (name, length, status) in [("x-big", 8 * 1024, 401), ("x-big", 8 * 1024 + 1, 431), ("cookie", 20 * 1024, 401)] {
        let answer = http.get(gateway.url("/mcp")).header(name, "x".repeat(length)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{name} of {length} bytes");
    }
    let mut many = http.get(gateway.url("/mcp")).header("cookie", "x".repeat(33 * 1024));
    assert_eq!(many.try_clone().unwrap().send().await.unwrap().status(), 431, "the whole block");
    many = http.get(gateway.url("/mcp"));
    for number in 0..100 {
        many = many.header("x-one-more", number);
    }
    assert_eq!(many.send().await.unwrap().status(), 431, "and so many fields");
    let form = http.post(gateway.url("/token")).body("x".repeat(17 * 1024)).send().await.unwrap();
    assert_eq!(form.status(), 413);
    let own = http.delete(gateway.url("/token")).send().await.unwrap();
    assert_eq!((own.status().as_u16(), own.headers().contains_key("allow")), (405, true));
    let message =
        http.post(gateway.url("/mcp/message?sessionId=sp1_ms_x")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(message.status(), 404);
    assert!(upstream.seen().is_empty());
}

/// T34: 16 KiB are read of a body of our own endpoints, announced or not, and what it says is judged only then.
#[tokio::test]
async fn a_body_longer_than_a_form_or_registration_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    for (path, media_type, small) in [
        ("/register", "application/json", 400),
        ("/token", "application/x-www-form-urlencoded", 400),
        ("/revoke", "application/x-www-form-urlencoded", 400),
        ("/consent", "application/x-www-form-urlencoded", 403),
        ("/connections", "application/x-www-form-urlencoded", 403),
    ] {
        for (length, status) in [(16 * 1024, small), (16 * 1024 + 1, 413)] {
            let post = || http_client().post(gateway.url(path)).header("content-type", media_type);
            let announced = post().body("x".repeat(length)).send().await.unwrap();
            assert_eq!(announced.status(), status, "{path} {length}");
            let chunks = ["x".repeat(1024), "x".repeat(length - 1024)].map(Ok::<_, std::io::Error>);
            let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
            assert_eq!(post().body(body).send().await.unwrap().status(), status, "{path} {length} in chunks");
        }
    }
}

#[tokio::test]
async fn a_body_longer_than_a_message_is_refused_announced_or_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let big = vec![b'x'; 4 * 1024 * 1024 + 1];
    let announced = http_client().post(gateway.url("/mcp")).bearer_auth(&token).body(big.clone()).send().await.unwrap();
    assert_eq!(announced.status(), 413);
    let chunks = futures_util::stream::iter(
        big.chunks(65536).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    );
    let body = reqwest::Body::wrap_stream(chunks);
    let streamed = http_client().post(gateway.url("/mcp")).bearer_auth(&token).body(body).send().await.unwrap();
    assert_eq!(streamed.status(), 413);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_read() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let preflight = http_client()
        .request(Method::OPTIONS, gateway.url("/mcp"))
        .header("origin", "http://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, mcp-param-city")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "http://page.example");
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("mcp-param-city"));
    let refused = http_client().post(gateway.url("/mcp")).header("origin", "http://page.example").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "http://page.example");
    assert!(refused.headers()["access-control-expose-headers"].to_str().unwrap().contains("WWW-Authenticate"));
}

/// T25, T27: raw bytes that a library would not send. Nothing of this reaches an upstream.
#[tokio::test]
async fn crafted_requests_do_not_get_through() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let host = format!("localhost:{}", gateway.port);
    let crafted = [
        format!("GET /mcp/..%2fmcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!("GET //mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!(
            "GET /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer x\r\nAuthorization: Bearer {token}\r\n\r\n"
        ),
        format!("GET /mcp HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!("GET http://evil.example/mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        format!("POST /token HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"),
    ];
    for request in crafted {
        let status = raw(gateway.port, &request);
        assert!(matches!(status, 400 | 401 | 404 | 405 | 421), "{status} for {request}");
    }
    assert!(upstream.seen().is_empty());
}

fn raw(port: u16, request: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap()
}

/// T35: what one user is answered is never kept for another, whatever the upstream says.
#[tokio::test]
async fn an_answer_that_may_be_kept_is_asked_for_again() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::atomic::AtomicU32::new(0);
    let answer = async move || {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        ([("cache-control", "public, max-age=600"), ("etag", "\"1\"")], number.to_string())
    };
    let answer = std::sync::Arc::new(answer);
    let router = axum::Router::new().fallback(axum::routing::any(async move || answer().await));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let gateway = Gateway::start(&url).await;
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.token(&gateway, ADELE).await, client.token(&gateway, ALEX).await);
    let mut answers = Vec::new();
    for method in [Method::GET, Method::POST] {
        for token in [&adele, &alex, &adele] {
            let request = http_client().request(method.clone(), gateway.url("/mcp")).bearer_auth(token).body("{}");
            answers.push(request.send().await.unwrap().text().await.unwrap());
        }
    }
    assert_eq!(answers, ["1", "2", "3", "4", "5", "6"]);
    server.abort();
}
