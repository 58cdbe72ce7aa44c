//! Traces, as a collector gets them: what spans there are and how they hang together, whose trace it is, and that nothing of what
//! must stay here is in them. And that a collector which is not there costs nobody anything.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::RequestBuilder;
use sallyport::clock::Clock;
use sallyport::store;
use sallyport::traces::Settings;
use serde_json::{Value, json};

use crate::entra_life::let_tokens_live;
use crate::program::{Folder, PROGRAM, Running, configuration};
use crate::support::browser::http_client;
use crate::support::collector::{Collector, attribute, hex};
use crate::support::free_port;
use crate::support::gateway::{Gateway, Options, wait_until_open};
use crate::support::journey::{ADELE, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Our neighbours' traces are gone on with.
fn to(endpoint: &str) -> Settings {
    let continue_from = vec!["127.0.0.0/8".parse().unwrap()];
    Settings { endpoint: endpoint.parse().unwrap(), sample_percent: 100, continue_from }
}

async fn start(upstream: &Upstream, settings: Settings) -> (Gateway, String) {
    let gateway = Gateway::start_changed(&upstream.url, |all, _| all.traces = Some(settings)).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    (gateway, token)
}

/// A call with a canary wherever a client can put something.
fn call(gateway: &Gateway, token: &str, flags: &str) -> RequestBuilder {
    http_client()
        .post(gateway.url("/mcp?query=canary-of-a-query"))
        .bearer_auth(token)
        .header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
        .header("tracestate", "vendor=state")
        .header("x-canary", "canary-of-a-header")
        .json(&json!({"params": {"arguments": "canary-of-an-argument"}}))
}

/// What the server was given, as the parts of a `traceparent`.
fn passed_on(upstream: &Upstream) -> Vec<String> {
    let seen = upstream.seen();
    let headers = &seen.last().unwrap().headers;
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    headers["traceparent"].to_str().unwrap().split('-').map(str::to_owned).collect()
}

fn is_call(span: &Span) -> bool {
    span.name == "POST /mcp"
}

fn of(span: &Span, name: &str) -> String {
    attribute(&span.attributes, name).unwrap_or_else(|| panic!("no {name} in {span:#?}"))
}

#[tokio::test]
async fn a_call_goes_on_with_the_trace_of_a_trusted_hop_and_hands_it_to_the_server() {
    let (upstream, collector) = (Upstream::start().await, Collector::start().await);
    let (gateway, token) = start(&upstream, to(&collector.url)).await;
    assert_eq!(call(&gateway, &token, "01").send().await.unwrap().status(), 200);
    let parts = passed_on(&upstream);
    assert_eq!(upstream.seen().last().unwrap().headers["tracestate"], "vendor=state");
    assert_eq!((parts[1].as_str(), parts[3].as_str()), (TRACE, "01"));

    let server = collector.wait_for("of the call", is_call).await;
    assert_eq!((hex(&server.trace_id), hex(&server.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(server.kind(), SpanKind::Server);
    assert!(server.links.is_empty());
    let port = gateway.port.to_string();
    let request_id = upstream.seen().last().unwrap().headers["x-request-id"].to_str().unwrap().to_owned();
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/mcp"),
        ("url.path", "/mcp"),
        ("url.scheme", "http"),
        ("server.address", "localhost"),
        ("server.port", &port),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "200"),
        ("sallyport.upstream", "mcp"),
        ("sallyport.request_id", &request_id),
    ] {
        assert_eq!(of(&server, name), value, "{name}");
    }
    assert_eq!(server.attributes.len(), 10, "{:#?}", server.attributes);
    let opened = collector.below(&server, "open token");
    let found = collector.below(&server, "look up session");
    let connected = collector.below(&server, "connect");
    let exchange = collector.below(&server, "POST");
    let first_byte = collector.below(&exchange, "first byte");
    assert_eq!(of(&found, "sallyport.session.tier"), "store");
    collector.below(&found, "memory get");
    assert_eq!(of(&connected, "sallyport.connection"), "new");
    assert_eq!((hex(&exchange.span_id), exchange.kind()), (parts[2].clone(), SpanKind::Client));
    assert_eq!(of(&exchange, "http.response.status_code"), "200");
    assert_eq!(format!("http://{}:{}", of(&exchange, "server.address"), of(&exchange, "server.port")), upstream.url);
    // One after the other, each within the request.
    let stages = [&opened, &found, &connected, &exchange];
    assert!(stages.windows(2).all(|pair| pair[0].end_time_unix_nano <= pair[1].start_time_unix_nano), "{stages:#?}");
    for span in stages.into_iter().chain([&first_byte]) {
        assert_eq!(span.trace_id, server.trace_id);
        assert!(server.start_time_unix_nano <= span.start_time_unix_nano, "{span:#?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:#?}");
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano, "{span:#?}");
    }
    for (name, value) in [("service.name", "sallyport"), ("service.version", env!("CARGO_PKG_VERSION"))] {
        assert_eq!(collector.look(|seen| attribute(&seen.resource, name)).as_deref(), Some(value));
    }
}

#[tokio::test]
async fn a_strangers_trace_is_linked_to_and_not_gone_on_with() {
    let (upstream, collector) = (Upstream::start().await, Collector::start().await);
    let (gateway, token) = start(&upstream, Settings { continue_from: Vec::new(), ..to(&collector.url) }).await;
    // A stranger does not keep ours out either.
    assert_eq!(call(&gateway, &token, "00").send().await.unwrap().status(), 200);
    let server = collector.wait_for("of the call", is_call).await;
    let parts = passed_on(&upstream);
    assert_eq!((parts[1].clone(), parts[3].as_str()), (hex(&server.trace_id), "01"));
    assert_ne!(parts[1], TRACE);
    assert!(server.parent_span_id.is_empty(), "{server:#?}");
    let [link] = &server.links[..] else { panic!("{server:#?}") };
    assert_eq!((hex(&link.trace_id), hex(&link.span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    // What belongs to the other trace says nothing of this one.
    assert!(!upstream.seen().last().unwrap().headers.contains_key("tracestate"));
}

#[tokio::test]
async fn what_is_not_kept_is_passed_on_as_such_and_sent_nowhere() {
    let (upstream, collector) = (Upstream::start().await, Collector::start().await);
    let (gateway, token) = start(&upstream, Settings { sample_percent: 0, ..to(&collector.url) }).await;
    for (flags, kept) in [("00", "00"), ("01", "01")] {
        assert_eq!(call(&gateway, &token, flags).send().await.unwrap().status(), 200);
        assert_eq!(passed_on(&upstream)[3], kept);
    }
    // Without a parent it begins here, and of those none is kept.
    http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(passed_on(&upstream)[3], "00");
    let server = collector.wait_for("of the call", is_call).await;
    // All that waits is sent at the end.
    tokio::task::spawn_blocking(move || drop(gateway)).await.unwrap();
    let of_others = collector.look(|seen| seen.spans.iter().filter(|span| span.trace_id != server.trace_id).count());
    let calls = collector.look(|seen| seen.spans.iter().filter(|span| is_call(span)).count());
    assert_eq!((of_others, calls), (0, 1));
}

#[tokio::test]
async fn a_sign_in_has_its_calls_to_entra_and_redis_and_none_of_its_secrets() {
    let Some(redis) = RedisServer::start() else { return };
    let (upstream, collector) = (Upstream::start().await, Collector::start().await);
    let options = Options {
        store: store::Settings::Redis(store::RedisSettings::new(redis.url().parse().unwrap())),
        ..Options::simple(&upstream.url)
    };
    let traces = to(&collector.url);
    let gateway = Gateway::start_seeded(options, fake_entra::Seed::default(), |all| all.traces = Some(traces)).await;
    let client = Client::register(&gateway).await;
    let tokens = client.tokens(&gateway, ADELE).await;
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(call(&gateway, token, "01").send().await.unwrap().status(), 200);
    let forged = call(&gateway, "sp1_at_canary-of-a-token", "01").send().await.unwrap();
    assert_eq!(forged.status(), 401);
    http_client().get(gateway.url("/canary-of-a-path")).send().await.unwrap();

    let callback = collector.wait_for("of the callback", |span| span.name == "GET /oauth-callback").await;
    let entra = collector.below(&callback, "entra authorization_code");
    assert_eq!((of(&entra, "sallyport.entra.outcome").as_str(), entra.kind()), ("ok", SpanKind::Client));
    let taken = collector.below(&callback, "redis take");
    assert_eq!((of(&taken, "db.system.name").as_str(), taken.kind()), ("redis", SpanKind::Client));
    let redeemed = collector.wait_for("of the code", |span| span.name == "POST /token").await;
    collector.below(&redeemed, "redis redeem");
    let refused = collector.wait_for("of a forged token", |span| is_call(span) && of_status(span) == "401").await;
    assert_eq!(of(&refused, "sallyport.reason"), "malformed");
    let unknown = collector.wait_for("of an unknown path", |span| span.name == "GET").await;
    assert_eq!(of(&unknown, "sallyport.reason"), "unknown_path");
    // Who answered by what is no error; only a 5xx is.
    assert!([&refused, &unknown].iter().all(|span| span.status.as_ref().is_none_or(|status| status.code == 0)));

    let refresh = tokens["refresh_token"].as_str().unwrap();
    let mut canaries = gateway.entra.canaries();
    assert!(canaries.len() >= 3, "a code, a token and an assertion were planted");
    canaries.extend([token, refresh, &client.id, ADELE, "Test client", "canary-of", "eyJ", "sp1_"].map(str::to_owned));
    drop(gateway);
    let bytes = collector.look(|seen| seen.bytes.clone());
    assert!(bytes.len() > 2000);
    for canary in canaries {
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "a collector is told {}…", &canary[..canary.len().min(12)]);
    }
}

fn of_status(span: &Span) -> String {
    attribute(&span.attributes, "http.response.status_code").unwrap_or_default()
}

/// In the background a renewal outlives its request, and is in its trace all the same; one that a refusal asks for is waited for.
#[tokio::test]
async fn renewals_are_in_the_trace_of_the_call_that_caused_them() {
    let (upstream, collector) = (Upstream::start().await, Collector::start().await);
    let (clock, traces) = (Clock::manual(Clock::system().now()), to(&collector.url));
    let gateway = Gateway::start_at(&upstream.url, &clock, |all, _| all.traces = Some(traces)).await;
    let_tokens_live(&gateway.entra, 3600).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    // By then chance has let every token be due, and none is over.
    clock.advance(Duration::from_secs(3100));
    assert_eq!(call(&gateway, &token, "01").send().await.unwrap().status(), 200);
    let renewed = collector.wait_for("of the renewal", |span| span.name == "renew in background").await;
    let server = collector.wait_for("of the call", is_call).await;
    assert_eq!((&renewed.parent_span_id, &renewed.trace_id), (&server.span_id, &server.trace_id));
    let tokens = collector.below(&renewed, "renew tokens");
    collector.below(&tokens, "entra refresh_token");

    // From a minute on a token may be renewed because it is refused.
    clock.advance(Duration::from_secs(90));
    let refused = call(&gateway, &token, "01").header("x-test", "unauthorized").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let server = collector.wait_for("of the refused call", |span| is_call(span) && of_status(span) == "401").await;
    let tokens = collector.below(&server, "renew tokens");
    collector.below(&tokens, "entra refresh_token");
    let exchanges: Vec<_> = collector.look(|seen| {
        let is_it = |span: &&Span| span.parent_span_id == server.span_id && span.name == "POST";
        seen.spans.iter().filter(is_it).cloned().collect()
    });
    assert_eq!(exchanges.iter().map(of_status).collect::<Vec<_>>(), ["401", "401"]);
    assert!(exchanges[0].end_time_unix_nano <= tokens.start_time_unix_nano, "{exchanges:#?}");
    assert_eq!(hex(&exchanges[1].span_id), passed_on(&upstream)[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_costs_traces_and_nothing_else() {
    let upstream = Upstream::start().await;
    let (mut gateway, token) = start(&upstream, to(&format!("http://127.0.0.1:{}", free_port()))).await;
    let deadline = Instant::now() + Duration::from_secs(15);
    while gateway.metric("sallyport_traces_total{result=\"failed\"}").await == 0.0 {
        assert_eq!(call(&gateway, &token, "01").send().await.unwrap().status(), 200);
        assert!(Instant::now() < deadline, "nothing is counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(gateway.metric("sallyport_traces_total{result=\"exported\"}").await, 0.0);
    let begun = Instant::now();
    gateway.tell_to_stop();
    while !gateway.has_stopped() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn lines_name_the_trace_and_what_waits_is_sent_before_the_end() {
    let collector = Collector::start().await;
    let (folder, port, admin_port) = (Folder::new("traces"), free_port(), free_port());
    let text = fs::read_to_string(configuration(&folder, port, admin_port)).unwrap();
    let text = format!("{text}\n[telemetry]\notlp_endpoint = \"{}/\"\n[drain]\ndelay = \"0s\"\n", collector.url);
    let file = folder.file("sallyport.toml", &text);
    let running = Running::of(Command::new(PROGRAM).args(["serve", "--config", &file]));
    wait_until_open(port).await;
    http_client().get(format!("http://localhost:{port}/nowhere")).send().await.unwrap();
    let (code, lines) = tokio::task::spawn_blocking(|| running.terminate()).await.unwrap();
    assert_eq!(code, Some(0), "{lines:#?}");
    let span = collector.look(|seen| seen.spans.iter().find(|span| span.name == "GET").cloned());
    let span = span.unwrap_or_else(|| panic!("it was not sent: {lines:#?}"));
    let line = lines.iter().find(|line| line.contains("unknown_path")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["trace_id"], hex(&span.trace_id));
    assert_eq!(line["request_id"], of(&span, "sallyport.request_id"));
}

#[tokio::test]
async fn a_collector_that_takes_nothing_is_one_line_with_the_cause() {
    let (folder, port, admin_port) = (Folder::new("no-collector"), free_port(), free_port());
    let text = fs::read_to_string(configuration(&folder, port, admin_port)).unwrap();
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let text = format!("{text}\n[telemetry]\notlp_endpoint = \"{endpoint}\"\n[drain]\ndelay = \"0s\"\n");
    let file = folder.file("sallyport.toml", &text);
    let running = Running::of(Command::new(PROGRAM).args(["serve", "--config", &file]));
    wait_until_open(port).await;
    let ask = async || http_client().get(format!("http://localhost:{port}/nowhere")).send().await.unwrap();
    ask().await;
    let (running, lines) = tokio::task::spawn_blocking(|| {
        let lines = running.read_until("the collector takes no traces");
        (running, lines)
    })
    .await
    .unwrap();
    assert!(lines.last().unwrap().contains("Connection refused"), "{lines:#?}");
    ask().await;
    let (code, lines) = tokio::task::spawn_blocking(|| running.terminate()).await.unwrap();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("takes no traces")), "{lines:#?}");
}

/// What a server does wrong, and one that is not there.
#[tokio::test]
async fn what_fails_is_an_error_with_its_reason() {
    let (upstream, collector) = (Upstream::start().await, Collector::start().await);
    let (gateway, token) = start(&upstream, to(&collector.url)).await;
    let is_error = |span: &Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    let redirected = call(&gateway, &token, "01").header("x-test", "redirect").send().await.unwrap();
    assert_eq!(redirected.status(), 502);
    let server = collector.wait_for("of the redirect", |span| of_status(span) == "502").await;
    assert!(is_error(&server));
    assert_eq!(of(&server, "error.type"), "upstream_failed");
    let exchange = collector.below(&server, "POST");
    assert_eq!((of_status(&exchange).as_str(), is_error(&exchange)), ("302", false));

    drop(upstream);
    // Its connections may live a moment longer.
    let gone = async || call(&gateway, &token, "01").send().await.unwrap().status().is_server_error();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone().await {
        assert!(Instant::now() < deadline, "the server is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let is_it = |span: &Span| span.name == "connect" && is_error(span);
    let refused = collector.wait_for("of a connection that failed", is_it).await;
    assert_eq!(of(&refused, "error.type"), "no_connection");
}

#[test]
fn mistakes_are_78_with_key_and_line() {
    let folder = Folder::new("traces-mistakes");
    let text = fs::read_to_string(configuration(&folder, 9, 10)).unwrap();
    let line = text.lines().count() + 2;
    for (mistake, key) in [
        ("otlp_endpoint = \"collector:4317\"", "telemetry.otlp_endpoint"),
        ("otlp_endpoint = \"http://me:word@127.0.0.1:4318\"", "telemetry.otlp_endpoint"),
        ("sample_percent = 101", "telemetry.sample_percent"),
        ("continue_from = [\"10.0.0.1/8\"]", "telemetry.continue_from[0]"),
        ("otlp_endpont = \"http://127.0.0.1:4318\"", "telemetry.otlp_endpont"),
    ] {
        let file = folder.file("sallyport.toml", &format!("{}\n[telemetry]\n{mistake}\n", text.trim_end_matches('\n')));
        for command in ["check", "serve"] {
            let output = Command::new(PROGRAM).args([command, "--config", &file]).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(78), "{mistake}: {said}");
            assert!(said.contains(&format!("sallyport.toml:{line}: {key}: ")), "{mistake}: {said}");
            assert!(!said.contains("word"), "{said}");
        }
    }
}
