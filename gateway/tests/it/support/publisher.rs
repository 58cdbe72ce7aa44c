//! A publisher of client metadata documents: a TLS server on loopback in the Internet's place.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The one name in its certificate.
pub const HOST: &str = "client.test";

/// Stopped when dropped.
pub struct Publisher {
    pub port: u16,
    /// DER.
    pub root: Vec<u8>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    connections: AtomicUsize,
    requests: Mutex<HashMap<String, usize>>,
    lookups: AtomicUsize,
    addresses: Mutex<Vec<IpAddr>>,
    stop: AtomicBool,
}

/// The bytes of an HTTP answer.
#[derive(Clone)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
    /// Waited for before every ten bytes of the body.
    pub drip: Duration,
    /// Waited for before the head.
    pub delay: Duration,
}

impl Answer {
    pub fn json(body: &serde_json::Value) -> Self {
        Self::new("200 OK", "content-type: application/json\r\n", body.to_string())
    }

    /// `headers` end in a line break each.
    pub fn new(status: &str, headers: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
        Self { head, body, drip: Duration::ZERO, delay: Duration::ZERO }
    }
}

impl Publisher {
    pub fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
        let root = made.cert.der().to_vec();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        // Of its own, whether or not somebody has chosen one for the process.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        *shared.addresses.lock().unwrap() = vec![Ipv4Addr::LOCALHOST.into()];
        let served = shared.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stop.load(Ordering::SeqCst) {
                    return;
                }
                served.connections.fetch_add(1, Ordering::SeqCst);
                let (served, config) = (served.clone(), config.clone());
                // Ends with the connection, which has deadlines. A client that goes away is what some tests want.
                std::thread::spawn(move || serve(stream.unwrap(), config, &served));
            }
        });
        Self { port, root, shared, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.port)
    }

    pub fn publish(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// A good document at `path`; gives its URL.
    pub fn publish_client(&self, path: &str, name: &str, redirect_uris: &[&str]) -> String {
        let url = self.url(path);
        let document = serde_json::json!({ "client_id": url, "client_name": name, "redirect_uris": redirect_uris });
        self.publish(path, Answer::json(&document));
        url
    }

    /// What [`Publisher::look_up`] answers from now on.
    pub fn move_to(&self, addresses: &[IpAddr]) {
        *self.shared.addresses.lock().unwrap() = addresses.to_vec();
    }

    /// DNS.
    pub fn look_up(&self) -> impl Fn() -> Vec<IpAddr> + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || {
            shared.lookups.fetch_add(1, Ordering::SeqCst);
            shared.addresses.lock().unwrap().clone()
        }
    }

    pub fn lookups(&self) -> usize {
        self.shared.lookups.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self, path: &str) -> usize {
        self.shared.requests.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the listener up; when it has ended already there is nobody to wake.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the publisher panicked");
        }
    }
}

/// `None`: the connection broke, for which a client may have its reasons.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    // Whether a connection is used again is for the client to say.
    loop {
        answer(&mut stream, shared)?;
    }
}

fn answer(stream: &mut StreamOwned<ServerConnection, TcpStream>, shared: &Shared) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let path = String::from_utf8(request).ok()?.split(' ').nth(1)?.to_owned();
    *shared.requests.lock().unwrap().entry(path.clone()).or_default() += 1;
    let answer = shared.answers.lock().unwrap().get(&path).cloned();
    let answer = answer.unwrap_or_else(|| Answer::new("404 Not Found", "", ""));
    std::thread::sleep(answer.delay);
    stream.write_all(answer.head.as_bytes()).ok()?;
    for part in answer.body.chunks(if answer.drip.is_zero() { usize::MAX } else { 10 }) {
        std::thread::sleep(answer.drip);
        stream.write_all(part).ok()?;
        stream.flush().ok()?;
    }
    stream.flush().ok()
}
