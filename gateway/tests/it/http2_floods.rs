//! HTTP/2 as no library sends it: more streams than allowed, headers without an end, headers that are small only on the wire (T33).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};

// RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;
const LARGEST: usize = 16_384;

/// A request in HPACK (RFC 7541 appendix A has the indices), without the dynamic table.
const GET_METADATA: &[u8] = b"\x82\x87\x04\x27/.well-known/oauth-authorization-server\x01\x09localhost";
/// Whose body is waited for.
const POST_TOKEN: &[u8] = b"\x83\x87\x04\x06/token\x01\x09localhost\x0f\x10\x21application/x-www-form-urlencoded";

struct Raw(StreamOwned<ClientConnection, TcpStream>);

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    fn connect(gateway: &Gateway) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(gateway.certificate_file()).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&socket, Some(Duration::from_secs(20))).unwrap();
        }
        let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut raw = Self(StreamOwned::new(session, socket));
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.send(SETTINGS, 0, 0, &[]).unwrap();
        raw
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = [&length[1..], &[kind, flags]].concat();
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame)
    }

    /// The next one that is not about the connection; nothing when it has ended.
    fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).ok()?;
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            self.0.read_exact(&mut payload).ok()?;
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            if stream != 0 || head[3] == GOAWAY {
                return Some(Frame { kind: head[3], flags: head[4], stream, payload });
            }
        }
    }
}

async fn gateway() -> Gateway {
    Gateway::start_with(Options { tls: true, ..Options::simple("http://127.0.0.1:9") }).await
}

/// On a thread of its own: what is written here waits for nobody.
async fn with_raw<T: Send + 'static>(gateway: &Gateway, what: impl FnOnce(Raw) -> T + Send + 'static) -> T {
    let raw = Raw::connect(gateway);
    tokio::task::spawn_blocking(move || what(raw)).await.unwrap()
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_though_the_client_does_not_wait() {
    let gateway = gateway().await;
    let refused = with_raw(&gateway, |mut raw| {
        for number in 0..120 {
            raw.send(HEADERS, END_HEADERS, 2 * number + 1, POST_TOKEN).unwrap();
        }
        let mut refused = Vec::new();
        while refused.len() < 20 {
            let frame = raw.next().expect("the connection goes on");
            assert_eq!(frame.kind, RST_STREAM, "nobody is answered without a body");
            assert_eq!(u32::from_be_bytes(frame.payload.try_into().unwrap()), REFUSED_STREAM);
            refused.push(frame.stream);
        }
        refused
    })
    .await;
    assert_eq!(refused, (100..120).map(|number| 2 * number + 1).collect::<Vec<u32>>());
}

#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    let gateway = gateway().await;
    let sent = with_raw(&gateway, |mut raw| {
        raw.send(HEADERS, 0, 1, GET_METADATA).unwrap();
        // A header that each frame has anew: "a: xx…".
        let value = LARGEST - 8;
        let mut piece = vec![0x00, 0x01, b'a', 0x7f];
        let (mut rest, start) = (value - 127, piece.len());
        while rest >= 128 {
            piece.push(u8::try_from(rest % 128).unwrap() | 0x80);
            rest /= 128;
        }
        piece.push(u8::try_from(rest).unwrap());
        assert_eq!(piece.len() - start, 2);
        piece.resize(piece.len() + value, b'x');
        (0..4_000).take_while(|_| raw.send(CONTINUATION, 0, 1, &piece).is_ok()).count()
    })
    .await;
    // What is in buffers of the kernel when it ends is no more than some megabytes.
    assert!(sent < 1_000, "{sent} frames of 16 KiB were taken");
    assert_eq!(http_client().get(gateway.admin_url("/healthz")).send().await.unwrap().status(), 200);
}

/// RFC 7541 section 7.3: a kilobyte that unpacks to megabytes.
#[tokio::test]
async fn headers_that_unpack_to_megabytes_are_not_unpacked() {
    let gateway = gateway().await;
    let first = |references: usize| {
        move |mut raw: Raw| {
            let mut block = GET_METADATA.to_vec();
            // Into the dynamic table, whose newest entry has the index 62.
            block.extend(b"\x40\x01a\x7f\x81\x1e");
            block.extend([b'x'; 127 + 1 + 30 * 128]);
            block.extend(vec![0x80 | 62; references]);
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block).unwrap();
            let ends =
                |frame: &Frame| [DATA, RST_STREAM, GOAWAY].contains(&frame.kind) || frame.flags & END_STREAM != 0;
            std::iter::from_fn(|| raw.next()).find(ends).map(|frame| frame.kind)
        }
    };
    assert_eq!(with_raw(&gateway, first(1)).await, Some(DATA), "a large header is answered");
    assert_eq!(with_raw(&gateway, first(8_000)).await, Some(GOAWAY), "32 MB of them end the connection");
}
