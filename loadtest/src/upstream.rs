//! A stand-in for an MCP server that costs next to nothing, so that what is measured is the edge in front of it.
//!
//! `POST /mcp` answers every call with the same result. `GET /mcp` and `GET /sse` are event streams; each event says when it
//! was sent. It checks no token: it serves loopback, and holds nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use httparse::{EMPTY_HEADER, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::wall_microseconds;
use crate::failure::Failure;
use crate::streams::SENT;
use crate::wire::message::{self, Framing};

/// What it answers with.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Bytes of the answer to a call, about.
    pub answer_bytes: usize,
    /// Between two events of a stream; None: silence.
    pub event_interval: Option<Duration>,
}

/// A stand-in that is bound.
pub struct Bound {
    listener: TcpListener,
    answers: Arc<Answers>,
}

/// Whole answers, made once.
struct Answers {
    call: Vec<u8>,
    event_interval: Option<Duration>,
}

/// What a request wants.
enum Wanted {
    Call,
    Events,
    /// With the first event of the legacy transport, which names the address for messages.
    LegacyEvents,
    Health,
    Nothing,
}

impl Upstream {
    /// On loopback; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn bind(self, port: u16) -> anyhow::Result<Bound> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {port}"))?;
        let call = whole_answer("200 OK", "application/json", &call_answer(self.answer_bytes));
        Ok(Bound { listener, answers: Arc::new(Answers { call, event_interval: self.event_interval }) })
    }
}

impl Bound {
    /// # Errors
    /// When the socket has no address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// # Errors
    /// When the listener fails.
    pub async fn serve(self) -> io::Result<()> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // With Nagle's algorithm an event waits for the acknowledgement of the one before. A socket that refuses is gone.
            if stream.set_nodelay(true).is_ok() {
                let answers = self.answers.clone();
                // Whoever broke the connection off knows it.
                tokio::spawn(async move { drop(answers.serve(stream).await) });
            }
        }
    }
}

impl Answers {
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut read = Vec::new();
        loop {
            let (wanted, length) = loop {
                if let Some(request) = request(&read).map_err(|failure| io::Error::other(failure.to_string()))? {
                    break request;
                }
                read.reserve(READ_AT_ONCE);
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            };
            read.drain(..length);
            match wanted {
                Wanted::Call => stream.write_all(&self.call).await?,
                Wanted::Health => stream.write_all(&whole_answer("200 OK", "text/plain", "ok")).await?,
                Wanted::Nothing => stream.write_all(&whole_answer("404 Not Found", "text/plain", "")).await?,
                Wanted::Events => return self.stream_events(stream, "").await,
                Wanted::LegacyEvents => return self.stream_events(stream, LEGACY_ENDPOINT).await,
            }
        }
    }

    /// Until whoever listens has gone.
    async fn stream_events(&self, mut stream: TcpStream, first: &str) -> io::Result<()> {
        let mut head = EVENT_STREAM.to_owned();
        if !first.is_empty() {
            head.push_str(&chunk(first));
        }
        stream.write_all(head.as_bytes()).await?;
        let mut clock = self.event_interval.map(interval);
        if let Some(clock) = &mut clock {
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut one = [0];
        loop {
            let tick = async {
                match &mut clock {
                    Some(clock) => clock.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = tick => {}
                // A request in the middle of a stream is none that could be answered.
                _ = stream.read(&mut one) => return Ok(()),
            }
            stream.write_all(chunk(&event()).as_bytes()).await?;
        }
    }
}

/// The first request in `raw` and its bytes, once it is complete.
fn request(raw: &[u8]) -> Result<Option<(Wanted, usize)>, Failure> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let Status::Complete(head) = request.parse(raw).map_err(|_| Failure::Broken)? else { return Ok(None) };
    let framing = message::framing(request.headers)?.unwrap_or(Framing::Length(0));
    let Some(body) = framing.body(&raw[head..], false)? else { return Ok(None) };
    let wanted = match (request.method, request.path) {
        (Some("POST"), Some("/mcp")) => Wanted::Call,
        (Some("GET"), Some("/mcp")) => Wanted::Events,
        (Some("GET"), Some("/sse")) => Wanted::LegacyEvents,
        (Some("GET"), Some("/healthz")) => Wanted::Health,
        _ => Wanted::Nothing,
    };
    Ok(Some((wanted, head + body.length)))
}

fn event() -> String {
    let now = wall_microseconds();
    format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"level\":\"info\",\"data\":{{{SENT}{now}}}}}}}\n\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn whole_answer(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn call_answer(bytes: usize) -> String {
    let around = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"pad":""}}"#;
    let pad = "x".repeat(bytes.saturating_sub(around.len()));
    around.replace(r#""pad":"""#, &format!(r#""pad":"{pad}""#))
}

const EVENT_STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";
const LEGACY_ENDPOINT: &str = "event: endpoint\ndata: /message?sessionId=loadtest\n\n";
const READ_AT_ONCE: usize = 16 * 1024;
const MOST_HEADERS: usize = 100;
