//! An MCP server that speaks HTTP/2 and nothing else: it says what it saw, answers as the header `x-test` wants, and dies when
//! told.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::install_crypto_provider;
use super::tls_server::Authority;

const PATIENCE: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(1);
/// What "download" gives.
pub const DOWNLOAD: usize = 16 * 1024 * 1024;

/// One request, as far as it was read.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With scheme and authority.
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The header was the end of it.
    pub is_header_only: bool,
}

pub struct Http2Server {
    pub url: String,
    shared: Arc<Shared>,
    streams: tokio::sync::Mutex<mpsc::UnboundedReceiver<OpenStream>>,
    task: JoinHandle<()>,
}

/// An answer that goes on for as long as the test likes.
pub struct OpenStream {
    sender: SendStream<Bytes>,
}

pub struct Options {
    pub certified_by: Option<Authority>,
    pub streams: u32,
    pub window: u32,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    refused: Mutex<HashSet<Bytes>>,
    gone: Mutex<Vec<Reason>>,
    connections: AtomicUsize,
    serving: Mutex<Vec<AbortHandle>>,
    leave: watch::Sender<()>,
    streams: mpsc::UnboundedSender<OpenStream>,
}

impl Default for Options {
    fn default() -> Self {
        Self { certified_by: None, streams: 200, window: 65_535 }
    }
}

impl Http2Server {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        install_crypto_provider();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = options.certified_by.map(|authority| acceptor(&authority));
        let url = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            refused: Mutex::default(),
            gone: Mutex::default(),
            connections: AtomicUsize::new(0),
            serving: Mutex::default(),
            leave: watch::Sender::default(),
            streams: sender,
        });
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(options.streams).initial_window_size(options.window);
        let all = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let stream = stream.into_std().unwrap();
                let lingering = stream.try_clone().unwrap();
                let stream = TcpStream::from_std(stream).unwrap();
                let (shared, builder, tls) = (all.clone(), builder.clone(), tls.clone());
                let serving = tokio::spawn(async move {
                    match tls {
                        None => serve(stream, builder, shared).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, builder, shared).await;
                            }
                        }
                    }
                    // To close with something unread would reset the connection, and its GOAWAY might not be read either.
                    sleep(LINGER).await;
                    drop(lingering);
                });
                all.serving.lock().unwrap().push(serving.abort_handle());
            }
        });
        Self { url, shared, streams: tokio::sync::Mutex::new(receiver), task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// So many were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The next answer that stays open.
    pub async fn stream(&self) -> OpenStream {
        timeout(PATIENCE, self.streams.lock().await.recv()).await.expect("a stream is opened").unwrap()
    }

    /// Why those left that were told nothing.
    pub fn gone(&self) -> Vec<Reason> {
        self.shared.gone.lock().unwrap().clone()
    }

    /// GOAWAY on every connection: what is under way goes on, nothing new is taken.
    pub fn leave(&self) {
        self.shared.leave.send_replace(());
    }

    /// Every connection is closed without a word.
    pub fn die(&self) {
        for serving in self.shared.serving.lock().unwrap().drain(..) {
            serving.abort();
        }
    }
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        self.task.abort();
        self.die();
    }
}

impl OpenStream {
    pub fn send(&mut self, text: &str) {
        self.sender.send_data(Bytes::copy_from_slice(text.as_bytes()), false).unwrap();
    }

    pub fn end(mut self) {
        self.sender.send_data(Bytes::new(), true).unwrap();
    }

    pub fn reset(mut self, reason: Reason) {
        self.sender.send_reset(reason);
    }

    /// Why the other side has reset it, which happens within so long.
    pub async fn until_reset(mut self, time: Duration) -> Reason {
        timeout(time, poll_fn(|context| self.sender.poll_reset(context))).await.expect("it is reset").unwrap()
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let (certificate, key) = authority.certify();
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, builder: Builder, shared: Arc<Shared>) {
    // Who does not speak HTTP/2 leaves.
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else { return };
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let mut leave = shared.leave.subscribe();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => drop(tokio::spawn(answer(request, respond, shared.clone()))),
                Some(Err(_)) | None => return,
            },
            changed = leave.changed() => match changed {
                Ok(()) => connection.graceful_shutdown(),
                Err(_) => return,
            },
        }
    }
}

/// Whoever is gone is told no more: errors end the answer.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let (parts, mut receiver) = request.into_parts();
    let wanted = parts.headers.get("x-test").map_or("", |value| value.to_str().unwrap()).to_owned();
    let is_header_only = receiver.is_end_stream();
    let mut body = Vec::new();
    while let Some(piece) = receiver.data().await {
        let Ok(piece) = piece else { return };
        body.extend_from_slice(&piece);
        receiver.flow_control().release_capacity(piece.len()).unwrap();
    }
    let body = Bytes::from(body);
    if wanted == "refused" || wanted == "refused once" && shared.refused.lock().unwrap().insert(body.clone()) {
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    let (method, uri, headers) = (parts.method.to_string(), parts.uri.to_string(), parts.headers.clone());
    shared.seen.lock().unwrap().push(Seen { method, uri, headers, body: body.clone(), is_header_only });
    let head = |length: Option<usize>| {
        let mut head = Response::builder().header("content-type", "application/json");
        if let Some(length) = length {
            head = head.header("content-length", length);
        }
        head.body(()).unwrap()
    };
    let (head, data) = match wanted.as_str() {
        "failed" => return respond.send_reset(Reason::INTERNAL_ERROR),
        "too short" => (head(Some(9)), Bytes::from_static(b"12345")),
        "too long" => (head(Some(2)), Bytes::from_static(b"12345")),
        "nothing" => (head(Some(5)), Bytes::new()),
        "download" => (head(Some(DOWNLOAD)), Bytes::from(vec![b'x'; DOWNLOAD])),
        "interim" => {
            for status in [StatusCode::PROCESSING, StatusCode::EARLY_HINTS] {
                respond.send_informational(Response::builder().status(status).body(()).unwrap()).unwrap();
            }
            (head(None), body)
        }
        "empty" => {
            let head = Response::builder().status(StatusCode::NO_CONTENT).body(()).unwrap();
            return drop(respond.send_response(head, true));
        }
        "slow" => {
            sleep(Duration::from_millis(300)).await;
            (head(Some(body.len())), body)
        }
        "silent" => {
            let reset = poll_fn(|context| respond.poll_reset(context)).await;
            return shared.gone.lock().unwrap().push(reset.unwrap());
        }
        "stream" => {
            let head = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
            let Ok(sender) = respond.send_response(head, false) else { return };
            return drop(shared.streams.send(OpenStream { sender }));
        }
        _ => (head(Some(body.len())), body),
    };
    let Ok(mut sender) = respond.send_response(head, data.is_empty()) else { return };
    let has_trailers = wanted == "trailers";
    if !data.is_empty() && write(&mut sender, data, !has_trailers).await.is_some() && has_trailers {
        sender.send_trailers(HeaderMap::from_iter([("x-late".parse().unwrap(), "1".parse().unwrap())])).unwrap();
    }
}

/// Within the window that the other side gives.
async fn write(sender: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> Option<()> {
    while !data.is_empty() {
        sender.reserve_capacity(data.len());
        let capacity = poll_fn(|context| sender.poll_capacity(context)).await?.ok()?;
        let piece = data.split_to(capacity.min(data.len()));
        sender.send_data(piece, is_last && data.is_empty()).ok()?;
    }
    Some(())
}
