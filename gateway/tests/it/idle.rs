//! Connections that are kept and not used make room for new ones, the longest idle first; nothing that is under way does.

use std::time::Duration;

use sallyport::server::ConnectionLimits;

use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;
use crate::support::wire::Wire;

const SHED: &str = "sallyport_limited_total{limit=\"idle\"}";
const SOON: Duration = Duration::from_secs(5);

fn limits(settings: &mut sallyport::server::Settings) {
    settings.connections = ConnectionLimits { in_all: 10, ..settings.connections };
}

/// Asks for what needs no token, and reads the answer whole.
async fn asks(wire: &mut Wire, gateway: &Gateway) {
    let path = "/.well-known/oauth-authorization-server";
    wire.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost:{}\r\n\r\n", gateway.port)).await;
    let header = wire.header().await;
    assert!(header.starts_with("http/1.1 200"), "{header}");
    let length = header.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    wire.bytes(length.parse().unwrap()).await;
}

async fn until_open(gateway: &Gateway, connections: f64) {
    let deadline = std::time::Instant::now() + SOON;
    while gateway.metric("sallyport_connections").await != connections {
        assert!(std::time::Instant::now() < deadline, "there are never {connections} connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_longest_idle_make_room_and_nothing_that_is_under_way() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| limits(settings)).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let (mut wires, mut stream) = (Vec::new(), Wire::to(&gateway).await);
    let head = format!("GET /mcp HTTP/1.1\r\nhost: localhost:{}\r\nauthorization: Bearer {token}\r\n", gateway.port);
    stream.send(&format!("{head}accept: text/event-stream\r\n\r\n")).await;
    assert!(stream.header().await.starts_with("http/1.1 200"));
    let base = gateway.metric("sallyport_connections").await as usize;
    let shed = gateway.metric(SHED).await;
    // Up to eight connections there is room; each one that asks is idle afterwards.
    for _ in base..8 {
        let mut wire = Wire::to(&gateway).await;
        asks(&mut wire, &gateway).await;
        wires.push(wire);
    }
    assert_eq!(gateway.metric(SHED).await, shed);
    // The first of them was used last.
    asks(&mut wires[0], &gateway).await;
    let mut late = Wire::to(&gateway).await;
    asks(&mut late, &gateway).await;
    // Two made room: of the connections that were there before, or of these, but never the one that was just used.
    until_open(&gateway, 7.0).await;
    assert_eq!(gateway.metric(SHED).await, shed + 2.0);
    asks(&mut wires[0], &gateway).await;
    asks(&mut late, &gateway).await;
    // Many more get in than there are places.
    for _ in 0..30 {
        let mut wire = Wire::to(&gateway).await;
        asks(&mut wire, &gateway).await;
        wires.push(wire);
    }
    upstream.send("data: 1\n\n").await;
    assert!(stream.until("data: 1\n\n").await.ends_with("data: 1\n\n"), "the stream, the oldest of all, goes on");
    assert!(gateway.metric(SHED).await > shed + 20.0);
}

#[tokio::test]
async fn over_http_2_too() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_seeded(
        Options { tls: true, ..Options::simple(&upstream.url) },
        fake_entra::Seed::default(),
        limits,
    )
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let client = || {
        let root = reqwest::Certificate::from_pem(&std::fs::read(gateway.certificate_file()).unwrap()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(Duration::from_secs(10)).build().unwrap()
    };
    let asks = async |client: &reqwest::Client| {
        let answer = client.get(gateway.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
        answer.bytes().await.unwrap();
    };
    let busy = client();
    let open = busy.get(gateway.url("/mcp")).bearer_auth(&token).header("accept", "text/event-stream");
    let mut stream = open.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    // And an idle moment of a connection that has a stream open is none.
    asks(&busy).await;
    let mut kept = Vec::new();
    for _ in 0..30 {
        let client = client();
        asks(&client).await;
        kept.push(client);
    }
    assert!(gateway.metric(SHED).await > 20.0);
    assert!(gateway.metric("sallyport_connections").await < 10.0);
    upstream.send("data: 1\n\n").await;
    assert!(stream.chunk().await.unwrap().is_some(), "the stream goes on");
    asks(&busy).await;
}
