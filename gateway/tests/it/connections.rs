//! What happens to connections before a request is read from them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sallyport::server::ConnectionLimits;
use sallyport::source::TrustedProxies;

use crate::support::browser::http_client;
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;

const NOBODY: &str = "http://127.0.0.1:9";

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn request(gateway: &Gateway) -> String {
    format!("GET /mcp HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", gateway.port)
}

/// The status of the next answer; `None` when the connection is closed instead.
fn status(stream: &mut TcpStream) -> Option<String> {
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok().map(|()| String::from_utf8_lossy(&answer[9..]).into_owned())
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = http_client().get(gateway.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_the_next_when_one_has_gone() {
    let gateway = Gateway::start_changed(NOBODY, |settings, _| {
        settings.connections = ConnectionLimits { in_all: 100, per_address: 3, ..ConnectionLimits::default() };
    })
    .await;
    let mut open: Vec<_> = (0..3).map(|_| connect(&gateway)).collect();
    for stream in &mut open {
        stream.write_all(request(&gateway).as_bytes()).unwrap();
        assert_eq!(status(stream).as_deref(), Some("401"));
    }
    let mut refused = connect(&gateway);
    // It may be closed before this is written.
    let _ = refused.write_all(request(&gateway).as_bytes());
    assert_eq!(status(&mut refused), None);
    // What looked whether the gateway was there may have come late, and be counted too.
    assert!(metric(&gateway, "sallyport_limited_total{limit=\"connections_per_address\"}").await >= 1);
    assert_eq!(metric(&gateway, "sallyport_connections").await, 3);

    open.pop();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut next = connect(&gateway);
        let _ = next.write_all(request(&gateway).as_bytes());
        if status(&mut next).as_deref() == Some("401") {
            break;
        }
        assert!(Instant::now() < deadline, "the place does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// R15: plain HTTP that only leads to HTTPS opens files of the same process, and may not use them up.
#[tokio::test]
async fn connections_for_a_redirect_are_counted_with_all_others() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let gateway = Gateway::start_changed(NOBODY, |settings, _| {
        settings.redirect = Some(address);
        settings.connections = ConnectionLimits { in_all: 100, per_address: 3, ..ConnectionLimits::default() };
    })
    .await;
    let open = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(request.as_bytes());
        stream
    };
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let begun = Instant::now();
    let (mut kept, mut slow, mut edge) = (open(REQUEST), open("GET / HTTP/1.1\r\n"), connect(&gateway));
    assert_eq!(status(&mut kept).as_deref(), Some("308"));
    edge.write_all(request(&gateway).as_bytes()).unwrap();
    assert_eq!(status(&mut edge).as_deref(), Some("401"));
    assert_eq!(status(&mut open(REQUEST)), None, "one more");
    // And a header has ten seconds here too.
    assert_eq!(status(&mut slow), None);
    assert!((9..=13).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// R15: one byte now and then, so that no single read ever takes long.
#[tokio::test]
async fn a_header_has_ten_seconds_in_all() {
    let gateway = Gateway::start(NOBODY).await;
    let begun = Instant::now();
    let dripping = tokio::task::spawn_blocking({
        let mut stream = connect(&gateway);
        let mut quick = connect(&gateway);
        let request = request(&gateway);
        move || {
            stream.write_all(request.trim_end().as_bytes()).unwrap();
            // A connection that is kept may wait for longer than that.
            quick.write_all(request.as_bytes()).unwrap();
            assert_eq!(status(&mut quick).as_deref(), Some("401"));
            while begun.elapsed() < Duration::from_secs(20) && stream.write_all(b"\r\nx: y").is_ok() {
                std::thread::sleep(Duration::from_millis(250));
            }
            let took = begun.elapsed();
            quick.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut rest = [0; 4096];
            while quick.read(&mut rest).is_ok_and(|read| read > 0) {}
            quick.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            quick.write_all(request.as_bytes()).unwrap();
            assert_eq!(status(&mut quick).as_deref(), Some("401"));
            took
        }
    });
    let took = dripping.await.unwrap();
    assert!((9..=13).contains(&took.as_secs()), "{took:?}");
    assert_eq!(metric(&gateway, "sallyport_limited_total{limit=\"header_deadline\"}").await, 1);
}

#[tokio::test]
async fn a_balancer_says_who_the_client_is_and_nobody_else_does() {
    let upstream = Upstream::start().await;
    let loopback = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let behind = Gateway::start_changed(&upstream.url, |settings, _| settings.trusted_proxies = loopback).await;
    let alone = Gateway::start(&upstream.url).await;
    for (gateway, told) in [(&behind, "198.51.100.7"), (&alone, "127.0.0.1")] {
        let token = Client::register(gateway).await.token(gateway, ADELE).await;
        let call = http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}");
        let answer = call.header("x-forwarded-for", "203.0.113.9, 198.51.100.7").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(seen.headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), [told]);
    }
}

#[tokio::test]
async fn with_the_proxy_protocol_every_connection_begins_with_its_header() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_changed(&upstream.url, |settings, _| {
        let proxies = ["127.0.0.1/32", "10.0.0.0/8"].map(|network| network.parse().unwrap());
        settings.trusted_proxies = TrustedProxies::new(proxies.to_vec());
        settings.proxy_protocol = true;
        settings.connections = ConnectionLimits { in_all: 100, per_address: 1, ..ConnectionLimits::default() };
    })
    .await;
    let ask = |header: &str| {
        let mut stream = connect(&gateway);
        let _ = stream.write_all(format!("{header}{}", request(&gateway)).as_bytes());
        let status = status(&mut stream);
        (stream, status)
    };
    let (first, status) = ask("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n");
    assert_eq!(status.as_deref(), Some("401"));
    assert_eq!(ask("").1, None);
    assert_eq!(ask("PROXY TCP4 192.0.2.7 10.0.0.1 4712 443\r\n").1, None, "the client is counted, not the balancer");
    assert_eq!(ask("PROXY TCP4 192.0.2.8 10.0.0.1 4712 443\r\n").1.as_deref(), Some("401"));
    // Many clients come through a proxy that the balancer names.
    let proxies: Vec<_> = (0..3).map(|_| ask("PROXY TCP4 10.0.0.9 10.0.0.1 4713 443\r\n")).collect();
    assert!(proxies.iter().all(|(_, status)| status.as_deref() == Some("401")));
    drop((first, proxies));
}
