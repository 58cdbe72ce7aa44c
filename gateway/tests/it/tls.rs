//! HTTPS on the edge itself: protocols, a certificate that is renewed while connections live, clients with certificates.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use reqwest::Version;
use reqwest::tls::Version as Tls;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sallyport::public_url::PublicUrl;
use sallyport::server::{ConnectionLimits, TlsFiles};
use sallyport::source::TrustedProxies;

use super::support::free_port;
use super::support::gateway::Gateway;

const METADATA: &str = "/.well-known/oauth-authorization-server";

/// A root of trust.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The edge's files, in a folder of their own.
struct Files {
    folder: PathBuf,
    tls: TlsFiles,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Certificate and key, in PEM.
    fn certify(&self, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn roots(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }

    fn client(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.issuer.pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(Duration::from_secs(10))
    }
}

impl Files {
    fn new(authority: &Authority) -> Self {
        let folder = std::env::temp_dir().join(format!("sallyport-tls-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&folder).unwrap();
        let tls = TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key"), client_ca: None };
        let files = Self { folder, tls };
        files.write(authority);
        files
    }

    fn write(&self, authority: &Authority) {
        let (certificate, key) = authority.certify(ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(&self.tls.certificate, certificate).unwrap();
        std::fs::write(&self.tls.key, key).unwrap();
    }

    async fn gateway(&self) -> Gateway {
        Gateway::start_changed("http://127.0.0.1:9", |settings, port| {
            settings.public_url = PublicUrl::parse(&format!("https://localhost:{port}")).unwrap();
            settings.tls = Some(self.tls.clone());
        })
        .await
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

async fn status(client: &reqwest::Client, gateway: &Gateway) -> Result<(u16, Version), reqwest::Error> {
    let response = client.get(format!("{}{METADATA}", gateway.public_url())).send().await?;
    Ok((response.status().as_u16(), response.version()))
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_spoken_and_nothing_older() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let gateway = files.gateway().await;
    for tls in [Tls::TLS_1_2, Tls::TLS_1_3] {
        let client = authority.client().tls_version_min(tls).tls_version_max(tls);
        assert_eq!(status(&client.build().unwrap(), &gateway).await.unwrap(), (200, Version::HTTP_2), "{tls:?}");
        let client = authority.client().tls_version_min(tls).tls_version_max(tls).http1_only();
        assert_eq!(status(&client.build().unwrap(), &gateway).await.unwrap(), (200, Version::HTTP_11), "{tls:?}");
    }
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    let plain = plain.get(format!("http://localhost:{}{METADATA}", gateway.port)).send().await;
    assert!(plain.is_err(), "{plain:?}");
}

#[tokio::test]
async fn a_renewed_certificate_counts_for_new_connections_and_cuts_none() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new(&old);
    let gateway = files.gateway().await;
    let lasting = old.client().http1_only().build().unwrap();
    assert_eq!(status(&lasting, &gateway).await.unwrap().0, 200);

    // Half a pair is no pair: the one before stays.
    let (certificate, _) = new.certify(ExtendedKeyUsagePurpose::ServerAuth);
    std::fs::write(&files.tls.certificate, certificate).unwrap();
    until(&gateway, "reloads_total{result=\"failed\"} 1").await;
    assert!(status(&old.client().build().unwrap(), &gateway).await.is_ok());

    files.write(&new);
    until(&gateway, "reloads_total{result=\"ok\"} 1").await;
    assert_eq!(status(&new.client().build().unwrap(), &gateway).await.unwrap().0, 200);
    assert!(status(&old.client().build().unwrap(), &gateway).await.is_err(), "new connections have the new one");
    assert_eq!(status(&lasting, &gateway).await.unwrap().0, 200, "the connection from before goes on");

    std::fs::remove_file(&files.tls.key).unwrap();
    until(&gateway, "reloads_total{result=\"failed\"} 2").await;
    assert!(status(&new.client().build().unwrap(), &gateway).await.is_ok());
}

#[tokio::test]
async fn where_clients_must_have_a_certificate_nobody_else_gets_a_word_in() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let mut files = Files::new(&authority);
    let roots = files.folder.join("clients.pem");
    std::fs::write(&roots, clients.issuer.pem()).unwrap();
    files.tls.client_ca = Some(roots);
    let gateway = files.gateway().await;
    let identity = |authority: &Authority| {
        let (certificate, key) = authority.certify(ExtendedKeyUsagePurpose::ClientAuth);
        reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap()
    };
    let known = authority.client().identity(identity(&clients)).build().unwrap();
    assert_eq!(status(&known, &gateway).await.unwrap().0, 200);
    for stranger in [authority.client(), authority.client().identity(identity(&Authority::new()))] {
        assert!(status(&stranger.build().unwrap(), &gateway).await.is_err());
    }
}

#[tokio::test]
async fn plain_http_is_led_to_https() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let port = free_port();
    let gateway = Gateway::start_changed("http://127.0.0.1:9", |settings, edge| {
        settings.public_url = PublicUrl::parse(&format!("https://localhost:{edge}")).unwrap();
        settings.tls = Some(files.tls.clone());
        settings.redirect = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    })
    .await;
    let client = authority.client().build().unwrap();
    let response = client.get(format!("http://localhost:{port}{METADATA}?x=y")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.url().as_str()),
        (200, &*format!("{}{METADATA}?x=y", gateway.public_url()))
    );
    let response = client.post(format!("http://localhost:{port}/mcp")).bearer_auth("x").send().await.unwrap();
    assert_eq!(response.status(), 403);
}

/// R15: over HTTP/2 as over HTTP/1.1. A connection on which requests come stays.
#[tokio::test]
async fn a_connection_of_http_2_without_a_request_has_ten_seconds() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let gateway = files.gateway().await;
    let used = authority.client().build().unwrap();
    assert_eq!(status(&used, &gateway).await.unwrap(), (200, Version::HTTP_2));
    let connections = gateway.metric("sallyport_connections").await;
    let mut config = Arc::unwrap_or_clone(authority.roots());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let silent = |first: &'static [u8]| {
        let (port, config) = (gateway.port, Arc::new(config.clone()));
        tokio::task::spawn_blocking(move || {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
            let (mut stream, begun) = (StreamOwned::new(session, stream), Instant::now());
            stream.write_all(first).unwrap();
            // It may end without the word that TLS has for it.
            let _ = stream.read_to_end(&mut Vec::new());
            begun.elapsed()
        })
    };
    let (half, whole) = tokio::join!(silent(b"PRI"), silent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"));
    for took in [half.unwrap(), whole.unwrap()] {
        assert!((9..=14).contains(&took.as_secs()), "{took:?}");
    }
    assert_eq!(gateway.metric("sallyport_limited_total{limit=\"header_deadline\"}").await, 2.0);
    assert_eq!(gateway.metric("sallyport_connections").await, connections, "the one in use stays");
    assert_eq!(status(&used, &gateway).await.unwrap(), (200, Version::HTTP_2));
}

/// The place of a connection is taken before the handshake, and the balancer's word stands before it too.
#[tokio::test]
async fn connections_are_counted_before_the_handshake() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let gateway = Gateway::start_changed("http://127.0.0.1:9", |settings, edge| {
        settings.public_url = PublicUrl::parse(&format!("https://localhost:{edge}")).unwrap();
        settings.tls = Some(files.tls.clone());
        settings.trusted_proxies = TrustedProxies::new(vec!["127.0.0.1/32".parse().unwrap()]);
        settings.proxy_protocol = true;
        settings.connections = ConnectionLimits { in_all: 100, per_address: 1, ..ConnectionLimits::default() };
    })
    .await;
    let from = |client: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(format!("PROXY TCP4 {client} 10.0.0.1 4711 443\r\n").as_bytes()).unwrap();
        let session = ClientConnection::new(authority.roots(), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        let request = format!("GET {METADATA} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", gateway.port);
        let mut status = [0; 12];
        let answered = stream.write_all(request.as_bytes()).and_then(|()| stream.read_exact(&mut status));
        answered.map(|()| (stream, String::from_utf8_lossy(&status[9..]).into_owned()))
    };
    let silent = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    (&silent).write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while from("192.0.2.7").is_ok() {
        assert!(Instant::now() < deadline, "a connection without a handshake is not counted");
    }
    assert_eq!(from("192.0.2.8").unwrap().1, "200");
    drop(silent);
    while from("192.0.2.7").is_err() {
        assert!(Instant::now() < deadline, "the place does not come back");
    }
}

/// Waits until the metrics have such a line.
async fn until(gateway: &Gateway, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let metrics = client.get(gateway.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
        if metrics.contains(&format!("sallyport_tls_certificate_{line}")) {
            return;
        }
        assert!(Instant::now() < deadline, "no {line} in\n{metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
