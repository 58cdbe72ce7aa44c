//! Groups of servers: TLS of their own, names that move, servers that fail, servers that are drained.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sallyport::pool::{HealthSettings, Resolver, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::tls_server::{Authority, TlsServer};
use crate::support::upstream::Upstream;

async fn call(gateway: &Gateway, token: &str) -> reqwest::Response {
    http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await.unwrap()
}

async fn behind(server: &TlsServer, tls: Tls, health: bool) -> (Gateway, String) {
    let gateway = Gateway::start_changed("http://127.0.0.1:9", |settings, _| {
        let pool = &mut settings.upstreams[0].pool;
        pool.servers = vec![Url::parse(&format!("https://localhost:{}", server.port)).unwrap()];
        pool.tls = tls;
        let interval = Duration::from_millis(100);
        pool.health = health.then(|| HealthSettings { path: "/healthz".to_owned(), interval });
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    (gateway, token)
}

#[tokio::test]
async fn a_server_of_a_private_authority_that_demands_a_certificate_is_reached_with_both() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = TlsServer::start(&servers, &clients);
    let trusting = || Tls::default().with_roots(servers.pem().as_bytes()).unwrap();
    let certified = |tls: Tls, by: &Authority| {
        let (certificate, key) = by.certify();
        tls.with_certificate(certificate.as_bytes(), key.as_bytes()).unwrap()
    };

    let (gateway, token) = behind(&server, certified(trusting(), &clients), true).await;
    for expected in 1..=2 {
        let answer = call(&gateway, &token).await;
        assert_eq!((answer.status().as_u16(), server.calls()), (200, expected));
    }
    // The checks come with the certificate too, or the server would not be well for long.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(call(&gateway, &token).await.status(), 200);
    drop(gateway);

    let seen = server.calls();
    for (tls, without) in [
        (Tls::default(), "anything"),
        (trusting(), "a certificate"),
        (certified(Tls::default(), &clients), "the root of the server"),
        (certified(trusting(), &Authority::new()), "a certificate of the right authority"),
    ] {
        let (gateway, token) = behind(&server, tls, false).await;
        let answer = call(&gateway, &token).await;
        assert_eq!(answer.status(), 502, "without {without}");
        assert!(answer.headers().contains_key("retry-after"), "without {without}");
        assert_eq!(server.calls(), seen, "without {without} no call is seen");
    }
}

#[tokio::test]
async fn checks_without_the_certificate_find_no_server_well() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority, &authority);
    let tls = Tls::default().with_roots(authority.pem().as_bytes()).unwrap();
    let (gateway, token) = behind(&server, tls, true).await;
    eventually(async || call(&gateway, &token).await.status() == 503).await;
}

#[tokio::test]
async fn a_name_that_moves_takes_its_requests_along() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let address = |upstream: &Upstream| -> SocketAddr { upstream.url.trim_start_matches("http://").parse().unwrap() };
    let zone = Arc::new(Mutex::new(Ok(vec![address(&one)])));
    let asked = zone.clone();
    let gateway = Gateway::start_changed("http://mcp.test", |settings, _| {
        let pool = &mut settings.upstreams[0].pool;
        pool.resolve_interval = Duration::from_millis(50);
        pool.resolver = Resolver::new(move |host, _| match (host, &*asked.lock().unwrap()) {
            ("mcp.test", Ok(addresses)) => Ok(addresses.clone()),
            (_, _) => Err(std::io::Error::other("no such name")),
        });
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let post = || http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}");
    let begun = post().header("x-test", "hostile").send().await.unwrap();
    let session = begun.headers()["mcp-session-id"].clone();
    assert_eq!(one.seen()[0].headers["host"], "mcp.test");

    *zone.lock().unwrap() = Ok(vec![address(&other)]);
    eventually(async || call(&gateway, &token).await.status() == 200 && !other.seen().is_empty()).await;
    assert_eq!(other.seen()[0].headers["host"], "mcp.test");
    let (of_one, of_other) = (one.seen().len(), other.seen().len());

    *zone.lock().unwrap() = Err(());
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..10 {
        assert_eq!(call(&gateway, &token).await.status(), 200, "the last good address serves on");
    }
    assert_eq!((one.seen().len(), other.seen().len()), (of_one, of_other + 10));
    let gone = post().header("mcp-session-id", session).send().await.unwrap();
    assert_eq!(gone.status(), 404, "the session was at the first one");
}

#[tokio::test]
async fn a_server_that_gives_no_answers_is_passed_over_and_one_that_says_500_is_not() {
    let well = Upstream::start().await;
    let failing = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let failing_url = Url::parse(&format!("http://{}", failing.local_addr().unwrap())).unwrap();
    let breaks = Arc::new(AtomicBool::new(false));
    let breaking = breaks.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = failing.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0, "a request comes");
            // Taken and dropped: nothing that could be tried again at another server.
            if !breaking.load(Ordering::Relaxed) {
                let answer = "HTTP/1.1 500 Oh\r\nmcp-session-id: s1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let gateway = Gateway::start_changed(&well.url, |settings, _| {
        settings.upstreams[0].pool.servers.push(failing_url);
    })
    .await;
    let client = Client::register(&gateway).await;
    // Sign-ins until one belongs to that server: each has a chance of one half.
    let mut token = client.token(&gateway, ADELE).await;
    for _ in 0..30 {
        if call(&gateway, &token).await.status() == 500 {
            break;
        }
        token = client.token(&gateway, ADELE).await;
    }
    let mut session = None;
    for _ in 0..4 {
        let answer = call(&gateway, &token).await;
        assert_eq!(answer.status(), 500, "an answer is an answer");
        session = answer.headers().get("mcp-session-id").cloned();
    }

    breaks.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let answer = call(&gateway, &token).await;
        assert!(answer.status() == 502 && answer.headers().contains_key("retry-after"), "{answer:?}");
    }
    assert_eq!(gateway.metric("sallyport_upstream_ejections_total{upstream=\"mcp\"}").await, 1.0);
    let seen = well.seen().len();
    for _ in 0..5 {
        assert_eq!(call(&gateway, &token).await.status(), 200, "another one answers");
    }
    assert_eq!(well.seen().len(), seen + 5);
    let servers: serde_json::Value =
        http_client().get(gateway.admin_url("/servers")).send().await.unwrap().json().await.unwrap();
    let ejected: Vec<_> = servers["servers"].as_array().unwrap().iter().map(|server| &server["ejected"]).collect();
    assert_eq!(ejected, [false, true]);

    // A session of its own is still tried there, and its answer ends the ejection.
    let of_session = || {
        let request = http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}");
        request.header("mcp-session-id", session.as_ref().expect("the server named one")).send()
    };
    assert_eq!(of_session().await.unwrap().status(), 502);
    breaks.store(false, Ordering::Relaxed);
    assert_eq!(of_session().await.unwrap().status(), 500);
    assert_eq!(call(&gateway, &token).await.status(), 500, "it is asked again");
    serving.abort();
}

#[tokio::test]
async fn a_drained_server_gets_no_new_sessions_and_keeps_its_own() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let second = Url::parse(&other.url).unwrap();
    let gateway = Gateway::start_changed(&one.url, |settings, _| settings.upstreams[0].pool.servers.push(second)).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let post = || http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}");
    let begun = post().header("x-test", "hostile").send().await.unwrap();
    let session = begun.headers()["mcp-session-id"].clone();
    let (home, away) = if one.seen().is_empty() { (&other, &one) } else { (&one, &other) };

    let tell = async |path: &str, server: &str| {
        let wanted = serde_json::json!({ "upstream": "mcp", "server": server });
        let answer = http_client().post(gateway.admin_url(path)).json(&wanted).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    let (status, list) = tell("/servers/drain", &home.url).await;
    assert_eq!(status, 200, "{list}");
    for (server, draining) in [(home, true), (away, false)] {
        let address = server.url.trim_start_matches("http://");
        let row = list["servers"].as_array().unwrap().iter().find(|row| row["address"] == address).unwrap();
        let expected = serde_json::json!({
            "upstream": "mcp", "server": server.url, "address": address,
            "well": true, "ejected": false, "draining": draining,
        });
        assert_eq!(*row, expected);
    }
    let listed = http_client().get(gateway.admin_url("/servers")).send().await.unwrap();
    assert_eq!(listed.json::<serde_json::Value>().await.unwrap(), list);

    for calls in 1..=3 {
        assert_eq!(call(&gateway, &token).await.status(), 200);
        assert_eq!((home.seen().len(), away.seen().len()), (calls, calls), "what is new goes elsewhere");
        assert_eq!(post().header("mcp-session-id", &session).send().await.unwrap().status(), 200);
    }
    assert_eq!((home.seen().len(), away.seen().len()), (4, 3));
    assert_eq!(tell("/servers/drain", &away.url).await.0, 200);
    let nobody = call(&gateway, &token).await;
    assert!(nobody.status() == 503 && nobody.headers().contains_key("retry-after"));
    assert_eq!(tell("/servers/undrain", &home.url).await.0, 200);
    assert_eq!(call(&gateway, &token).await.status(), 200);
    assert_eq!(home.seen().len(), 5);
    assert_eq!(tell("/servers/drain", "http://127.0.0.1:9").await.0, 404);
}

/// As for `/sessions`: no page, no name that was pointed here, no form.
#[tokio::test]
async fn only_whom_the_listener_is_for_lists_or_drains_servers() {
    let gateway = Gateway::start("http://127.0.0.1:9").await;
    let list = || http_client().get(gateway.admin_url("/servers"));
    let drain = || http_client().post(gateway.admin_url("/servers/drain"));
    let wanted = r#"{"upstream":"mcp","server":"http://127.0.0.1:9"}"#;
    let json = ("content-type", "application/json");
    for (request, expected) in [
        (list(), 200),
        (list().header("host", "evil.example"), 421),
        (list().header("origin", "https://evil.example"), 403),
        (list().header("sec-fetch-site", "cross-site"), 403),
        (http_client().post(gateway.admin_url("/servers")), 405),
        (http_client().get(gateway.admin_url("/servers/drain")), 405),
        (drain().body(wanted), 415),
        (drain().header("content-type", "text/plain").body(wanted), 415),
        (drain().header(json.0, json.1).body(wanted).header("origin", "null"), 403),
        (drain().header(json.0, json.1).body(wanted).header("host", "evil.example"), 421),
        (drain().header(json.0, json.1).body("{}"), 400),
        (drain().header(json.0, json.1).body(r#"{"upstream":"mcp","server":"x"}"#), 400),
        (drain().header(json.0, json.1).body("x".repeat(20_000)), 400),
        (drain().header(json.0, json.1).body(wanted.replace("mcp", "other")), 404),
    ] {
        let request = request.build().unwrap();
        let shown = format!("{} {} {:?}", request.method(), request.url(), request.headers());
        assert_eq!(http_client().execute(request).await.unwrap().status(), expected, "{shown}");
    }
    let servers = list().send().await.unwrap().text().await.unwrap();
    assert!(servers.contains("\"draining\":false") && !servers.contains("\"draining\":true"), "{servers}");
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
