//! HTTP/2 frame by frame, over TLS: a client that sends what no library would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::gateway::Gateway;

// RFC 9113 section 6.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GO_AWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACKNOWLEDGED: u8 = 1;

/// Whoever waits longer for one read or write waits in vain.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of one gateway with TLS.
pub struct Http2Client {
    port: u16,
    tls: Arc<ClientConfig>,
}

pub struct Http2Connection(StreamOwned<ClientConnection, TcpStream>);

pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Http2Client {
    pub fn new(gateway: &Gateway) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(gateway.certificate_file()).unwrap()).unwrap();
        let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { port: gateway.port, tls: Arc::new(tls) }
    }

    /// With the preface to be sent, and settings that leave everything as it is.
    pub fn connect(&self) -> (Http2Connection, Vec<u8>) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let session = ClientConnection::new(self.tls.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut preface, SETTINGS, 0, 0, &[]);
        (Http2Connection(StreamOwned::new(session, stream)), preface)
    }
}

impl Http2Connection {
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    /// What comes next but settings, which are acknowledged; `None` when the connection has ended.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).ok()?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags, stream) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).ok()?;
            if kind != SETTINGS {
                return Some(Frame { kind, flags, stream, payload });
            }
            if flags & ACKNOWLEDGED == 0 {
                let mut acknowledgement = Vec::new();
                frame(&mut acknowledgement, SETTINGS, ACKNOWLEDGED, 0, &[]);
                self.write(&acknowledgement).ok()?;
            }
        }
    }
}

pub fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// A field of a header, with name and value as they are, and nowhere kept: RFC 7541 section 6.2.2.
pub fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    text(out, name);
    text(out, value);
}

/// Likewise, but kept in the dynamic table: section 6.2.1.
pub fn kept_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0x40);
    text(out, name);
    text(out, value);
}

fn text(out: &mut Vec<u8>, text: &str) {
    length(out, text.len());
    out.extend(text.as_bytes());
}

/// Section 5.1, after a prefix of seven bits.
fn length(out: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return out.push(length as u8) };
    out.push(127);
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}
