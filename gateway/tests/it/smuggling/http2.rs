//! HTTP/2 frame by frame: a client that sends what no library would. One request for each connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::gateway::Gateway;

type Fields = Vec<(String, String)>;

/// How the one stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer, and with this status if it is one of the few that have a number of their own in HPACK.
    Answered(u16),
    Reset,
    /// The whole connection.
    Closed,
}

/// A request: its header, its pieces of data, its trailers.
#[derive(Clone, Debug)]
pub struct Message {
    pub fields: Fields,
    pub data: Vec<&'static str>,
    pub trailers: Option<Fields>,
}

pub struct Http2 {
    port: u16,
    tls: Arc<ClientConfig>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACKNOWLEDGED: u8 = 1;

impl Http2 {
    pub fn new(gateway: &Gateway) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(gateway.certificate_file()).unwrap()).unwrap();
        let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { port: gateway.port, tls: Arc::new(tls) }
    }

    pub fn send(&self, message: &Message) -> End {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        let session = ClientConnection::new(self.tls.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut sent, SETTINGS, 0, 0, &[]);
        let last = |is_last: bool| if is_last { END_STREAM } else { 0 };
        let header_ends = message.data.is_empty() && message.trailers.is_none();
        frame(&mut sent, HEADERS, END_HEADERS | last(header_ends), 1, &block(&message.fields));
        for (number, piece) in message.data.iter().enumerate() {
            let ends = number + 1 == message.data.len() && message.trailers.is_none();
            frame(&mut sent, DATA, last(ends), 1, piece.as_bytes());
        }
        if let Some(trailers) = &message.trailers {
            frame(&mut sent, HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers));
        }
        if stream.write_all(&sent).is_err() {
            return End::Closed;
        }
        end(&mut stream).unwrap_or(End::Closed)
    }
}

/// `None` when the connection ends first.
fn end(stream: &mut impl ReadWrite) -> Option<End> {
    let mut answered = None;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).ok()?;
        match kind {
            SETTINGS if flags & ACKNOWLEDGED == 0 => {
                let mut acknowledgement = Vec::new();
                frame(&mut acknowledgement, SETTINGS, ACKNOWLEDGED, 0, &[]);
                stream.write_all(&acknowledgement).ok()?;
            }
            GO_AWAY => return None,
            RESET if id == 1 => return Some(answered.unwrap_or(End::Reset)),
            HEADERS if id == 1 => {
                answered = answered.or_else(|| status(&payload).map(End::Answered));
                if flags & END_STREAM != 0 {
                    return answered;
                }
            }
            DATA if id == 1 && flags & END_STREAM != 0 => return answered,
            _ => {}
        }
    }
}

/// `None` for an interim answer; 1 where a status has no number of its own.
fn status(block: &[u8]) -> Option<u16> {
    let known = [200, 204, 206, 304, 400, 404, 500];
    match block.iter().find(|byte| **byte & 0xe0 != 0x20)? {
        indexed @ 0x88..=0x8e => Some(known[usize::from(indexed - 0x88)]),
        _ if block.windows(3).any(|part| part == b"100") => None,
        _ => Some(1),
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// RFC 7541 section 6.2.2, with names and values as they are.
fn block(fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            length(&mut out, text.len());
            out.extend(text.as_bytes());
        }
    }
    out
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
