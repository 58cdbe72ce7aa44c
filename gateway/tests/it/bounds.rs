//! What clients may take their time for, and how much they may send: each bound is configured, and counted when it is met.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sallyport::edge::Bounds;

use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;
use crate::support::wire::Wire;

const NOBODY: &str = "http://127.0.0.1:9";
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// T32: what Pingora itself would wait for for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_has_ten_seconds_in_all() {
    let gateway = Gateway::start_with(Options { tls: true, ..Options::simple(NOBODY) }).await;
    let config = config(&gateway);
    let mut hello = Vec::new();
    let mut session = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    session.write_tls(&mut hello).unwrap();
    let port = gateway.port;
    let half = hello.len() / 2;
    let starts = [(vec![], vec![]), (hello[..half].to_vec(), hello[half..].to_vec()), (hello[..1].to_vec(), vec![])];
    let slow = starts.map(|(first, then)| tokio::task::spawn_blocking(move || lasted(port, &first, &then)));
    let begun = Instant::now();
    let mut good = 0;
    while slow.iter().any(|client| !client.is_finished()) {
        let status = tokio::task::spawn_blocking({
            let config = config.clone();
            move || status(port, config)
        });
        assert_eq!(status.await.unwrap(), "200");
        good += 1;
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for client in slow {
        let took = client.await.unwrap();
        assert!((9_900..12_500).contains(&took.as_millis()), "{took:?}");
    }
    assert!(good > 10, "{good}");
    assert_eq!(gateway.metric("sallyport_limited_total{limit=\"handshake_deadline\"}").await, 3.0);
    let deadline = Instant::now() + Duration::from_secs(5);
    while gateway.metric("sallyport_connections").await > 0.0 {
        assert!(Instant::now() < deadline, "their places do not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_bound_is_what_it_is_configured_to_be() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| {
        settings.bounds = Bounds {
            header_time: Duration::from_secs(1),
            header_size: 6 * 1024,
            header_fields: 20,
            field_size: 3 * 1024,
            body_time: Duration::from_secs(1),
            form_size: 4 * 1024,
            message_size: 64 * 1024,
            ..Bounds::default()
        };
        settings.connections.requests = 2;
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let limited = async |limit: &str| gateway.metric(&format!("sallyport_limited_total{{limit=\"{limit}\"}}")).await;
    let answered = async |method: &str, lines: &str, body: &str| {
        let mut wire = Wire::to(&gateway).await;
        wire.call(&gateway, &token, method, lines, body).await;
        wire.header().await.split(' ').nth(1).unwrap().to_owned()
    };
    let of = |length: usize| "x".repeat(length);
    for (lines, status) in [
        (format!("x-a: {}\r\n", of(2 * 1024)), "200"),
        (format!("x-a: {}\r\n", of(3 * 1024 + 1)), "431"),
        (format!("cookie: a={}\r\n", of(4 * 1024)), "200"),
        (format!("cookie: a={}\r\n", of(6 * 1024)), "431"),
        ("x-a: b\r\n".repeat(25), "431"),
    ] {
        assert_eq!(answered("POST", &format!("{lines}content-length: 2\r\n"), "{}").await, status, "{}", lines.len());
    }
    assert_eq!(limited("header_size").await, 3.0);

    let message = async |length: usize| answered("POST", "transfer-encoding: chunked\r\n", &chunks(length)).await;
    assert_eq!(message(64 * 1024).await, "200");
    assert_eq!(message(64 * 1024 + 1).await, "413");
    assert_eq!(answered("POST", "content-length: 65537\r\n", "").await, "413");
    assert_eq!(limited("body_size").await, 2.0);
    let form = async |length: usize| {
        let form = gateway.post("/token").header("content-type", "application/x-www-form-urlencoded");
        form.body("x".repeat(length)).send().await.unwrap().status().as_u16()
    };
    assert_eq!((form(4 * 1024).await, form(4 * 1024 + 1).await), (400, 413));
    assert_eq!(limited("body_size").await, 3.0);

    let begun = Instant::now();
    assert_eq!(answered("POST", "content-length: 9\r\n", "a").await, "408");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(limited("body_deadline").await, 1.0);

    let mut wire = Wire::to(&gateway).await;
    wire.send("GET /mcp HTTP/1.1\r\n").await;
    assert_eq!(wire.rest(Duration::from_secs(4)).await, "");
    assert_eq!(limited("header_deadline").await, 1.0);

    // What signed in has met it too.
    let before = limited("requests_per_connection").await;
    let mut wire = Wire::to(&gateway).await;
    let request = format!("GET {METADATA} HTTP/1.1\r\nhost: localhost:{}\r\n\r\n", gateway.port);
    for _ in 0..3 {
        wire.send(&request).await;
        let header = wire.header().await;
        let length = header.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        wire.bytes(length.parse().unwrap()).await;
    }
    assert_eq!(wire.rest(Duration::from_secs(4)).await, "", "it has served what it may, twice more than once");
    assert_eq!(limited("requests_per_connection").await, before + 1.0);
}

/// Longer than what the kernel holds for somebody who does not read.
const LONG: usize = 32 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_cut_after_the_time_for_a_write() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| {
        settings.bounds.write_time = Duration::from_secs(1);
        settings.bounds.message_size = 2 * LONG as u64;
    })
    .await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let mut wire = Wire::to(&gateway).await;
    wire.call(&gateway, &token, "POST", &format!("content-length: {LONG}\r\n"), "").await;
    // Not a byte more: what follows a body before its answer ends the connection too.
    let sent = wire.fill(LONG - 128 * 1024).await;
    assert!(sent > LONG / 2, "{sent}");
    wire.send(&"x".repeat(LONG - sent)).await;
    let begun = Instant::now();
    while gateway.metric("sallyport_limited_total{limit=\"write_timeout\"}").await < 1.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never cut");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = wire.rest(Duration::from_secs(5)).await.len();
    assert!(read < LONG, "{read}");
}

/// A body of so many bytes.
fn chunks(length: usize) -> String {
    format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length))
}

fn config(gateway: &Gateway) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(gateway.certificate_file()).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// How long a client had that sends `first` at once, then a byte a second.
fn lasted(port: u16, first: &[u8], then: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let begun = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(first).unwrap();
    for byte in then.iter().map(Some).chain(std::iter::repeat(None)) {
        match stream.read(&mut [0; 64]) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {}
            // Closed, or reset, for something of it was never read.
            Ok(0) | Err(_) => break,
            Ok(_) => panic!("an answer to half a hello"),
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never closed");
        if let Some(byte) = byte
            && stream.write_all(&[*byte]).is_err()
        {
            break;
        }
    }
    begun.elapsed()
}

fn status(port: u16, config: Arc<ClientConfig>) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    let request = format!("GET {METADATA} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status[9..]).into_owned()
}
