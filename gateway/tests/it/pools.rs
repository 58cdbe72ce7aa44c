//! Groups of servers: TLS of their own.

use std::time::{Duration, Instant};

use sallyport::pool::{HealthSettings, Tls};
use url::Url;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::tls_server::{Authority, TlsServer};

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
    let deadline = Instant::now() + Duration::from_secs(10);
    while call(&gateway, &token).await.status() != 503 {
        assert!(Instant::now() < deadline, "the server counts as well");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
