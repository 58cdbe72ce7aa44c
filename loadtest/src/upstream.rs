//! A stand-in for an MCP server that costs next to nothing, so that what is measured is the edge in front of it.
//!
//! `POST /mcp` answers every call with the same result. `GET /mcp` and `GET /sse` are event streams; each event says when it
//! was sent. It checks no token: it serves loopback, and holds nothing.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::wall_microseconds;
use crate::streams::SENT;

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
    router: Router,
}

#[derive(Clone)]
struct Answers {
    call: Bytes,
    event_interval: Option<Duration>,
}

impl Upstream {
    /// On loopback; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn bind(self, port: u16) -> anyhow::Result<Bound> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {port}"))?;
        let answers = Answers { call: call_answer(self.answer_bytes), event_interval: self.event_interval };
        let router = Router::new()
            .route("/mcp", post(call).get(events))
            .route("/sse", get(legacy_events))
            .route("/healthz", get(async || "ok"))
            .with_state(answers);
        Ok(Bound { listener, router })
    }
}

impl Bound {
    /// # Errors
    /// When the socket has no address.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// # Errors
    /// When the listener fails.
    pub async fn serve(self) -> std::io::Result<()> {
        // With Nagle's algorithm an event waits for the acknowledgement of the one before. A socket that refuses is gone.
        let listener = self.listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, self.router).await
    }
}

async fn call(State(answers): State<Answers>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], answers.call).into_response()
}

async fn events(State(answers): State<Answers>) -> Response {
    event_stream(ticks(answers.event_interval))
}

/// The first event of the legacy transport names the address for messages.
async fn legacy_events(State(answers): State<Answers>) -> Response {
    let first = Bytes::from_static(b"event: endpoint\ndata: /message?sessionId=loadtest\n\n");
    event_stream(stream::iter([first]).chain(ticks(answers.event_interval)))
}

fn ticks(every: Option<Duration>) -> impl Stream<Item = Bytes> + Send + 'static {
    let clock = every.map(|every| {
        let mut clock = interval(every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock
    });
    stream::unfold(clock, |mut clock| async move {
        match &mut clock {
            Some(clock) => clock.tick().await,
            None => std::future::pending().await,
        };
        Some((event(), clock))
    })
}

fn event() -> Bytes {
    let now = wall_microseconds();
    let data = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":{{{SENT}{now}}}}}}}"#
    );
    Bytes::from(format!("data: {data}\n\n"))
}

fn event_stream(parts: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(parts.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn call_answer(bytes: usize) -> Bytes {
    let around = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"pad":""}}"#;
    let pad = "x".repeat(bytes.saturating_sub(around.len()));
    Bytes::from(around.replace(r#""pad":"""#, &format!(r#""pad":"{pad}""#)))
}
