//! Servers over HTTP/2: many calls on one connection, and what becomes of one of them is nothing to the others.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use h2::Reason;
use sallyport::pool::{HealthSettings, HttpVersion, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::http2_server::{DOWNLOAD, Http2Server, Options};
use crate::support::journey::{ADELE, Client};
use crate::support::tls_server::{Authority, TlsServer};
use crate::support::wire::Wire;

const SOON: Duration = Duration::from_secs(2);

async fn before(url: &str, http: HttpVersion, tls: Tls) -> (Gateway, String) {
    let gateway = Gateway::start_changed(url, |settings, _| {
        let pool = &mut settings.upstreams[0].pool;
        (pool.http, pool.tls) = (http, tls);
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    (gateway, token)
}

async fn start_with(options: Options) -> (Http2Server, Gateway, String) {
    let server = Http2Server::start_with(options).await;
    let (gateway, token) = before(&server.url, HttpVersion::Http2, Tls::default()).await;
    (server, gateway, token)
}

async fn start() -> (Http2Server, Gateway, String) {
    start_with(Options::default()).await
}

struct Caller<'a> {
    http: reqwest::Client,
    gateway: &'a Gateway,
    token: &'a str,
}

impl<'a> Caller<'a> {
    fn new(gateway: &'a Gateway, token: &'a str) -> Self {
        Self { http: http_client(), gateway, token }
    }

    fn post(&self, wanted: &str) -> reqwest::RequestBuilder {
        self.http.post(self.gateway.url("/mcp")).bearer_auth(self.token).header("x-test", wanted)
    }

    /// What is answered to a call: its status and body.
    async fn call(&self, wanted: &str, body: &str) -> (u16, String) {
        let answer = self.post(wanted).body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn is_served(&self) {
        assert_eq!(self.call("", "after").await, (200, "after".to_owned()));
    }

    async fn stream(&self) -> reqwest::Response {
        let answer = self.http.get(self.gateway.url("/mcp")).bearer_auth(self.token);
        let answer = answer.header("accept", "text/event-stream").header("x-test", "stream").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer
    }
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn calls_are_carried_with_and_without_tls() {
    for (with_tls, http) in [(false, HttpVersion::Http2), (true, HttpVersion::Http2), (true, HttpVersion::Negotiated)] {
        let authority = Authority::new();
        let roots = Tls::default().with_roots(authority.pem().as_bytes()).unwrap();
        let certified_by = with_tls.then_some(authority);
        let server = Http2Server::start_with(Options { certified_by, ..Options::default() }).await;
        let (gateway, token) = before(&server.url, http, roots).await;
        let caller = Caller::new(&gateway, &token);
        let call = caller.post("").header("connection", "x-hop").header("x-hop", "1").header("te", "trailers");
        assert_eq!(call.body("{}").send().await.unwrap().text().await.unwrap(), "{}");
        for (method, wanted, status) in
            [("DELETE", "empty", 204), ("GET", "", 200), ("HEAD", "", 200), ("POST", "interim", 200)]
        {
            let call = caller.http.request(method.parse().unwrap(), gateway.url("/mcp?a=b")).bearer_auth(&token);
            assert_eq!(call.header("x-test", wanted).send().await.unwrap().status(), status, "{method}");
        }
        let seen = server.seen();
        assert_eq!((seen.len(), server.connections()), (5, 1), "one connection for all");
        assert_eq!((seen[0].uri.clone(), &seen[0].body[..]), (format!("{}/mcp", server.url), &b"{}"[..]));
        assert_eq!(seen[1].uri, format!("{}/mcp?a=b", server.url));
        assert_eq!(seen[0].headers["content-length"], "2");
        let authorization = seen[0].headers["authorization"].to_str().unwrap();
        assert!(authorization.starts_with("Bearer ") && !authorization.contains(&token), "Entra's");
        for name in ["host", "connection", "transfer-encoding", "te", "x-hop", "keep-alive"] {
            assert!(seen.iter().all(|seen| !seen.headers.contains_key(name)), "{name}");
        }
        let methods: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.is_header_only)).collect();
        assert_eq!(methods, [("POST", false), ("DELETE", true), ("GET", true), ("HEAD", true), ("POST", true)]);
    }
}

#[tokio::test]
async fn bodies_in_chunks_and_with_trailers_are_framed_anew() {
    let (server, gateway, token) = start().await;
    let mut client = Wire::to(&gateway).await;
    for _ in 0..2 {
        let lines = "transfer-encoding: chunked\r\nx-test: trailers\r\n";
        client.call(&gateway, &token, "POST", lines, "1\r\n{\r\n1\r\n}\r\n0\r\nx-late: 1\r\n\r\n").await;
        let header = client.header().await;
        assert!(header.starts_with("http/1.1 200") && header.contains("content-length: 2"), "{header}");
        assert_eq!(client.bytes(2).await, "{}", "and no trailers, or the next answer would not be read");
    }
    let seen = server.seen();
    assert!(
        seen.iter().all(|seen| &seen.body[..] == b"{}" && !seen.headers.contains_key("content-length")),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_at_once_share_few_connections() {
    for (streams, connections) in [(200, 4), (20, 20)] {
        let (server, gateway, token) = start_with(Options { streams, ..Options::default() }).await;
        let caller = Caller::new(&gateway, &token);
        let calls = (0..200).map(|number| {
            let caller = &caller;
            async move {
                let body = format!("{number}");
                assert_eq!(caller.call("slow", &body).await, (200, body));
            }
        });
        join_all(calls).await;
        let opened = server.connections();
        assert!(opened <= connections, "{opened} connections for {streams} streams on each");
        let mut bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!((bodies.len(), server.seen().len()), (200, 200), "each was executed once");
        for _ in 0..20 {
            caller.is_served().await;
        }
        assert_eq!(server.connections(), opened, "they are used again");
    }
}

#[tokio::test]
async fn every_event_comes_at_once_beside_other_calls() {
    let (server, gateway, token) = start().await;
    let caller = Caller::new(&gateway, &token);
    let mut client = caller.stream().await;
    let mut stream = server.stream().await;
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        let sent = Instant::now();
        stream.send(&event);
        let chunk = tokio::time::timeout(SOON, client.chunk()).await.expect("it comes").unwrap().unwrap();
        assert_eq!(chunk, event);
        assert!(sent.elapsed() < Duration::from_millis(500));
        caller.is_served().await;
    }
    stream.end();
    assert_eq!(client.chunk().await.unwrap(), None, "a clean end");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_resets_its_own_stream_and_no_other() {
    let (server, gateway, token) = start().await;
    let caller = Caller::new(&gateway, &token);
    let (leaving, mut staying) = (caller.stream().await, caller.stream().await);
    let (left, mut stays) = (server.stream().await, server.stream().await);
    drop(leaving);
    assert_eq!(left.until_reset(Duration::from_secs(1)).await, Reason::CANCEL);
    // One that waits for its answer.
    let waiting = tokio::time::timeout(Duration::from_millis(300), caller.post("silent").body("{}").send()).await;
    assert!(waiting.is_err() && server.gone().len() <= 1);
    let left = Instant::now();
    eventually(async || server.gone() == [Reason::CANCEL]).await;
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
    // One whose message is on its way.
    let mut client = Wire::to(&gateway).await;
    client.call(&gateway, &token, "POST", "content-length: 100\r\n", "half").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(client);
    stays.send("data: 1\n\n");
    assert_eq!(staying.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    caller.is_served().await;
    assert_eq!(server.connections(), 1, "all of it on one connection");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let (server, gateway, token) = start().await;
    let caller = Caller::new(&gateway, &token);
    for reason in [Some(Reason::INTERNAL_ERROR), Some(Reason::CANCEL), Some(Reason::NO_ERROR), None] {
        let mut client = caller.stream().await;
        let mut stream = server.stream().await;
        stream.send("data: 1\n\n");
        assert_eq!(client.chunk().await.unwrap().unwrap(), "data: 1\n\n");
        let broken = Instant::now();
        match reason {
            Some(reason) => stream.reset(reason),
            None => server.die(),
        }
        let end = tokio::time::timeout(SOON, client.chunk()).await.expect("it ends");
        assert!(end.is_err(), "{reason:?}: {end:?} after {:?}", broken.elapsed());
        caller.is_served().await;
    }
    assert_eq!(server.connections(), 2, "a reset costs no connection");
}

#[tokio::test]
async fn an_answer_that_is_not_as_long_as_it_says_is_not_taken_for_whole() {
    let (server, gateway, token) = start().await;
    let caller = Caller::new(&gateway, &token);
    for wanted in ["too short", "too long", "nothing"] {
        let answer = caller.post(wanted).body("{}").send().await;
        let read = match answer {
            Ok(answer) if answer.status() == 200 => answer.text().await.map_err(drop),
            Ok(answer) => {
                assert_eq!(answer.status(), 502, "{wanted}");
                Err(())
            }
            Err(_) => Err(()),
        };
        assert_eq!(read, Err(()), "{wanted}");
        caller.is_served().await;
    }
    assert_eq!(server.connections(), 1, "a connection that is shared is not given up for one answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_leave_under_load_fail_no_call_and_see_none_twice() {
    let (server, gateway, token) = start().await;
    let caller = Caller::new(&gateway, &token);
    let deadline = Instant::now() + Duration::from_secs(3);
    let calls = (0..8).map(|worker| {
        let caller = &caller;
        async move {
            let mut number = 0;
            while Instant::now() < deadline {
                let body = format!("{worker}/{number}");
                assert_eq!(caller.call("", &body).await, (200, body));
                number += 1;
            }
            number
        }
    });
    let leaving = async {
        while Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.leave();
        }
    };
    let (calls, ()) = futures_util::future::join(join_all(calls), leaving).await;
    let mut bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
    let seen = bodies.len();
    bodies.sort();
    bodies.dedup();
    assert_eq!((bodies.len(), seen), (calls.iter().sum(), calls.iter().sum()), "each once");
    assert!(server.connections() > 10, "{} connections", server.connections());
}

#[tokio::test]
async fn a_post_is_sent_again_only_if_the_server_says_that_it_did_nothing() {
    let (server, gateway, token) = start().await;
    let caller = Caller::new(&gateway, &token);
    for body in ["", "{}", &"x".repeat(60_000)] {
        assert_eq!(caller.call("refused once", body).await, (200, body.to_owned()), "{} bytes", body.len());
    }
    let long = "x".repeat(100_000);
    assert_eq!(caller.call("refused once", &long).await.0, 502, "too much to keep");
    assert_eq!(server.seen().len(), 3);
    for (wanted, seen) in [("refused", 3), ("failed", 4)] {
        let answer = caller.post(wanted).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 502, "{wanted}");
        assert!(answer.headers().contains_key("retry-after"));
        assert!(answer.text().await.unwrap().contains("temporarily_unavailable"));
        assert_eq!(server.seen().len(), seen, "{wanted}");
    }
    // Without a word of the server's nobody knows.
    let dying = async {
        eventually(async || server.seen().len() == 5).await;
        server.die();
    };
    let ((status, _), ()) = futures_util::future::join(caller.call("silent", "{}"), dying).await;
    assert_eq!((status, server.seen().len()), (502, 5));
    caller.is_served().await;
}

#[tokio::test]
async fn a_connection_that_died_while_it_waited_is_not_used() {
    let (server, gateway, token) = start().await;
    let caller = Caller::new(&gateway, &token);
    for deaths in 1..=5 {
        caller.is_served().await;
        assert_eq!(server.connections(), deaths);
        server.die();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    caller.is_served().await;
    server.leave();
    tokio::time::sleep(Duration::from_millis(100)).await;
    caller.is_served().await;
    assert_eq!(server.connections(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_go_either_way_within_the_windows() {
    for window in [65_535, 1000] {
        let (server, gateway, token) = start_with(Options { window, ..Options::default() }).await;
        let caller = Caller::new(&gateway, &token);
        let message = "0123456789abcdef".repeat(4 * 1024 * 1024 / 16);
        let (status, echoed) = caller.call("", &message).await;
        assert!(status == 200 && echoed == message, "{status}, {} bytes", echoed.len());
        assert_eq!(caller.call("", &format!("{message}x")).await.0, 413);
        let answers = join_all((0..3).map(|_| caller.call("download", "{}"))).await;
        assert!(answers.iter().all(|(status, body)| *status == 200 && body.len() == DOWNLOAD));
        caller.is_served().await;
        assert_eq!(server.connections(), 1);
    }
}

/// The windows of a connection are shared: nobody may fill them alone.
#[tokio::test]
async fn a_client_that_does_not_read_stops_nobody_else() {
    let (server, gateway, token) = start().await;
    let mut lazy = Vec::new();
    for _ in 0..40 {
        let mut client = Wire::to(&gateway).await;
        client.call(&gateway, &token, "POST", "content-length: 2\r\nx-test: download\r\n", "{}").await;
        lazy.push(client);
    }
    let caller = Caller::new(&gateway, &token);
    eventually(async || server.seen().len() == 40).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    caller.is_served().await;
    assert_eq!(caller.call("download", "{}").await.1.len(), DOWNLOAD);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(server.connections(), 1);
}

/// Servers that speak HTTP/1.1 without TLS: one says what it thinks of the preface, the other closes.
async fn old_servers() -> [(String, AbortOnDrop); 2] {
    let server = async |answer: &'static [u8]| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // Whoever is gone needs no answer.
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        (url, AbortOnDrop(task))
    };
    [server(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await, server(b"").await]
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn a_server_that_speaks_only_http_1_is_a_bad_gateway() {
    let [(answering, _answering), (closing, _closing)] = old_servers().await;
    let (servers, clients) = (Authority::new(), Authority::new());
    let secured = TlsServer::start(&servers, &clients);
    let tls = || {
        let (certificate, key) = clients.certify();
        let tls = Tls::default().with_roots(servers.pem().as_bytes()).unwrap();
        tls.with_certificate(certificate.as_bytes(), key.as_bytes()).unwrap()
    };
    let secured_url = format!("https://localhost:{}", secured.port);
    for url in [&answering, &closing, &secured_url] {
        let (gateway, token) = before(url, HttpVersion::Http2, tls()).await;
        let answer = Caller::new(&gateway, &token).post("").body("{}").send().await.unwrap();
        assert!(answer.status() == 502 && answer.headers().contains_key("retry-after"), "{answer:?}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["error"], "temporarily_unavailable");
    }
    assert_eq!(secured.calls(), 0);
    // It is as good as the other when both are offered.
    let (gateway, token) = before(&secured_url, HttpVersion::Negotiated, tls()).await;
    for calls in 1..=3 {
        assert_eq!(Caller::new(&gateway, &token).call("", "{}").await, (200, "{}".to_owned()));
        assert_eq!(secured.calls(), calls);
    }
}

#[tokio::test]
async fn checks_and_drains_are_for_servers_over_http_2_too() {
    let (one, other) = (Http2Server::start().await, Http2Server::start().await);
    let [(old, _old), _] = old_servers().await;
    let gateway = Gateway::start_changed(&one.url, |settings, _| {
        let pool = &mut settings.upstreams[0].pool;
        pool.http = HttpVersion::Http2;
        pool.servers.extend([&other.url, &old].map(|url| Url::parse(url).unwrap()));
        let interval = Duration::from_millis(100);
        pool.health = Some(HealthSettings { path: "/healthz".to_owned(), interval });
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let caller = Caller::new(&gateway, &token);
    let well = async || {
        let list = caller.http.get(gateway.admin_url("/servers")).send().await.unwrap();
        let list: serde_json::Value = list.json().await.unwrap();
        let all = list["servers"].as_array().unwrap().iter();
        all.map(|server| server["well"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    eventually(async || well().await == [true, true, false]).await;
    assert!(one.connections() > 1, "each check has a connection of its own");
    let checks = one.seen();
    assert!(checks[0].uri == format!("{}/healthz", one.url) && !checks[0].headers.contains_key("host"), "{checks:?}");
    for (drained, serving) in [(&one, &other), (&other, &one)] {
        for (path, server) in [("/servers/drain", drained), ("/servers/undrain", serving)] {
            let wanted = serde_json::json!({ "upstream": "mcp", "server": server.url });
            let told = caller.http.post(gateway.admin_url(path)).json(&wanted).send().await.unwrap();
            assert_eq!(told.status(), 200);
        }
        let calls = |server: &Http2Server| server.seen().iter().filter(|seen| seen.method == "POST").count();
        let (before, after) = (calls(drained), calls(serving) + 3);
        for _ in 0..3 {
            caller.is_served().await;
        }
        assert_eq!((calls(drained), calls(serving)), (before, after));
    }
    one.die();
    other.die();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(well().await, [true, true, false], "they take connections");
}
