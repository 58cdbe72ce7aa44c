//! One request on one connection, to the byte: a client that mends what it sends could not attack.
//!
//! It speaks to the target's origin and to those that were allowed (for a target on this machine: to this machine), whatever an answer says: the target is hostile until shown
//! otherwise, and must not lead us elsewhere.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use url::{Origin, Url};

use crate::attack::is_loopback;
use crate::wire::message::{Head, answer_head};

pub struct Client {
    allowed: Vec<Origin>,
    /// The target is on this machine: so may be all that belongs to it.
    local: bool,
    patience: Duration,
    tls: TlsConnector,
    sent: AtomicU64,
    server_errors: AtomicU64,
}

/// Why there is no answer.
#[derive(Clone, Debug, Error)]
pub enum Trouble {
    #[error("no connection to the target")]
    NoConnection,
    #[error("the connection ended without an answer")]
    NoAnswer,
    #[error("no answer in time")]
    TimedOut,
    #[error("it leads to {0}, which was not allowed (--also)")]
    NotAllowed(String),
    #[error("the target limits how much may be asked (429)")]
    Limited,
    #[error("{0}")]
    Unable(String),
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub url: Url,
    /// The request target, if not that of the URL.
    pub path: Option<String>,
    /// `Host` here takes the place of the URL's.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Client {
    /// # Errors
    /// When the system has no roots of trust.
    pub fn new(target: &Url, also: &[Url], patience: Duration) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()
            .context("the system's roots of trust")?
            .with_no_client_auth();
        let allowed = also.iter().chain([target]).map(Url::origin).collect();
        Ok(Self {
            allowed,
            local: is_loopback(target),
            patience,
            tls: TlsConnector::from(Arc::new(config)),
            sent: AtomicU64::default(),
            server_errors: AtomicU64::default(),
        })
    }

    pub fn allows(&self, url: &Url) -> bool {
        self.allowed.contains(&url.origin()) || self.local && is_loopback(url)
    }

    /// How many requests there were.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many answers were 500 and more.
    pub fn server_errors(&self) -> u64 {
        self.server_errors.load(Ordering::Relaxed)
    }

    /// Sends the request and reads the answer. What is limited is tried once more a little later.
    ///
    /// # Errors
    /// When there is no answer. A status is none.
    pub async fn send(&self, request: &Request) -> Result<Answer, Trouble> {
        let answer = self.exchange(request).await?;
        if answer.status != 429 {
            return Ok(answer);
        }
        sleep(PAUSE).await;
        let answer = self.exchange(request).await?;
        if answer.status == 429 { Err(Trouble::Limited) } else { Ok(answer) }
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Trouble> {
        let stream = self.open(&request.url).await?;
        let answer = timeout(self.patience, exchange(stream, &request.bytes())).await;
        let answer = answer.map_err(|_| Trouble::TimedOut)??;
        if answer.status >= 500 {
            self.server_errors.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// Sends bytes as they are and gives whatever comes, until the target closes or says nothing for a while.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn raw(&self, to: &Url, bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
        let mut stream = self.open(to).await?;
        let mut read = Vec::new();
        // A target may close while we write: what it said before counts.
        if timeout(self.patience, stream.write_all(bytes)).await.is_err() {
            return Err(Trouble::TimedOut);
        }
        while read.len() < MOST {
            match timeout(QUIET, stream.read_buf(&mut read)).await {
                Ok(Ok(1..)) => {}
                _ => break,
            }
        }
        Ok(read)
    }

    async fn open(&self, url: &Url) -> Result<Box<dyn Stream>, Trouble> {
        if !self.allows(url) {
            return Err(Trouble::NotAllowed(url.origin().ascii_serialization()));
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let opening = async {
            let stream = TcpStream::connect((bare.as_str(), port)).await.map_err(|_| Trouble::NoConnection)?;
            // Small writes are sent as they come.
            stream.set_nodelay(true).map_err(|_| Trouble::NoConnection)?;
            if url.scheme() != "https" {
                return Ok(Box::new(stream) as Box<dyn Stream>);
            }
            let name = ServerName::try_from(bare.clone()).map_err(|_| Trouble::NoConnection)?;
            let stream = self.tls.connect(name, stream).await;
            let stream = stream.map_err(|error| Trouble::Unable(format!("TLS: {error}")))?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        };
        timeout(self.patience, opening).await.unwrap_or(Err(Trouble::TimedOut))
    }
}

/// Writing and reading at once: who refuses a long body answers before it is sent.
async fn exchange(stream: Box<dyn Stream>, request: &[u8]) -> Result<Answer, Trouble> {
    let (mut from, mut to) = tokio::io::split(stream);
    let writing = async {
        // Whether it arrived the answer tells.
        if to.write_all(request).await.is_ok() {
            let _ = to.flush().await;
        }
        pending::<()>().await;
    };
    select! {
        () = writing => Err(Trouble::NoAnswer),
        answer = read(&mut from) => answer,
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Answer, Trouble> {
    let mut read = Vec::new();
    let mut at = 0;
    let mut head = None;
    loop {
        let ended = !matches!(from.read_buf(&mut read).await, Ok(1..));
        while head.is_none() {
            head = answer_head(&read[at..]).map_err(|_| Trouble::NoAnswer)?;
            match head {
                // An interim answer, before the real one.
                Some(Head { status: 100..200, length, .. }) => {
                    at += length;
                    head = None;
                }
                _ => break,
            }
        }
        if let Some(head) = head {
            let (headers, rest) = (headers(&read[at..]), &read[at + head.length..]);
            let streams = headers.iter().any(|(name, value)| name == "content-type" && value.starts_with(EVENTS));
            // One event is what was asked for; the stream may stay open.
            if ended
                || read.len() > MOST
                || streams && rest.windows(4).any(|four| four == b"\r\n\r\n" || four.ends_with(b"\n\n"))
            {
                return Ok(Answer { status: head.status, headers, body: rest.to_vec() });
            }
            if let Some(body) = head.framing.body(rest, false).map_err(|_| Trouble::NoAnswer)? {
                return Ok(Answer { status: head.status, headers, body: body.content(rest).into_owned() });
            }
        }
        if ended {
            return Err(Trouble::NoAnswer);
        }
    }
}

fn headers(raw: &[u8]) -> Vec<(String, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut answer = httparse::Response::new(&mut headers);
    // It was parsed before.
    let _ = answer.parse(raw);
    let text = |header: &httparse::Header<'_>| {
        (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned())
    };
    answer.headers.iter().map(text).collect()
}

impl Request {
    pub fn get(url: &Url) -> Self {
        Self { method: "GET".to_owned(), url: url.clone(), path: None, headers: Vec::new(), body: Vec::new() }
    }

    pub fn json(url: &Url, body: impl Into<Vec<u8>>) -> Self {
        let post = Self { method: "POST".to_owned(), body: body.into(), ..Self::get(url) };
        post.with("Content-Type", "application/json")
    }

    pub fn form<N: AsRef<str>, V: AsRef<str>>(url: &Url, fields: impl IntoIterator<Item = (N, V)>) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let post = Self { method: "POST".to_owned(), body: body.into_bytes(), ..Self::get(url) };
        post.with("Content-Type", "application/x-www-form-urlencoded")
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let path = self.path.as_deref().unwrap_or(&self.url[url::Position::BeforePath..url::Position::AfterQuery]);
        let mut text = format!("{} {path} HTTP/1.1\r\n", self.method);
        let mut header = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            header("Host", host(&self.url));
        }
        header("Connection", "close");
        for (name, value) in &self.headers {
            header(name, value);
        }
        if !self.body.is_empty() || self.method == "POST" {
            header("Content-Length", &self.body.len().to_string());
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// What the `Host` header says.
pub fn host(url: &Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}

impl Answer {
    /// The first header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn is_html(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
    }

    pub fn refused(&self) -> bool {
        (400..500).contains(&self.status)
    }

    /// Whether a cache may keep it for others.
    pub fn may_be_kept(&self) -> bool {
        let policy = self.header("cache-control").unwrap_or_default().to_ascii_lowercase();
        !policy.contains("no-store")
    }
}

const EVENTS: &str = "text/event-stream";
const MOST: usize = 1024 * 1024;
const PAUSE: Duration = Duration::from_secs(3);
/// A target that says nothing for so long has said all.
const QUIET: Duration = Duration::from_millis(700);
