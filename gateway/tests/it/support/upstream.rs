//! An MCP server that says what it saw, and does what a test tells it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct Upstream {
    pub url: String,
    state: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    stream: Mutex<Option<mpsc::Sender<Result<Bytes, std::io::Error>>>>,
}

impl Upstream {
    pub async fn start() -> Self {
        let state = Arc::new(Shared::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new().fallback(any(answer)).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url: format!("http://{address}"), state, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Sends bytes on the stream that was opened last, waiting until there is one.
    pub async fn send(&self, bytes: &str) {
        let sender = self.sender().await;
        sender.send(Ok(Bytes::copy_from_slice(bytes.as_bytes()))).await.unwrap();
    }

    /// Waits until the reader of the stream has gone.
    pub async fn reader_gone(&self) {
        let sender = self.sender().await;
        tokio::time::timeout(Duration::from_secs(5), sender.closed()).await.expect("the stream was closed upstream");
    }

    /// Breaks the stream off, without its proper end.
    pub async fn break_stream(&self) {
        let sender = self.sender().await;
        sender.send(Err(std::io::Error::other("broken on purpose"))).await.unwrap();
        self.state.stream.lock().unwrap().take();
    }

    async fn sender(&self) -> mpsc::Sender<Result<Bytes, std::io::Error>> {
        for _ in 0..500 {
            if let Some(sender) = self.state.stream.lock().unwrap().clone() {
                return sender;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no stream was opened");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(state): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 * 1024 * 1024).await.unwrap_or_default();
    state.seen.lock().unwrap().push(Seen {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: parts.headers.clone(),
        body: body.clone(),
    });
    let wants_stream = parts.headers.get("accept").is_some_and(|accept| accept == "text/event-stream");
    match parts.headers.get("x-test").map(|value| value.to_str().unwrap()) {
        Some("hostile") => (
            StatusCode::OK,
            [
                ("set-cookie", "a=b"),
                ("www-authenticate", "Bearer resource_metadata=\"https://evil.example\""),
                ("access-control-allow-origin", "*"),
                ("location", "https://evil.example"),
                ("server", "inner/1.0"),
                ("mcp-session-id", "s1"),
            ],
            "{}",
        )
            .into_response(),
        Some("redirect") => (StatusCode::FOUND, [("location", "https://evil.example")]).into_response(),
        Some("unauthorized") => (
            StatusCode::UNAUTHORIZED,
            [("www-authenticate", "Bearer authorization_uri=\"https://inner\"")],
            "inner words",
        )
            .into_response(),
        Some("era") => {
            (StatusCode::BAD_REQUEST, [("content-type", "application/json")], r#"{"code":-32022}"#).into_response()
        }
        _ if wants_stream => {
            let (sender, receiver) = mpsc::channel(8);
            *state.stream.lock().unwrap() = Some(sender);
            let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
                receiver.recv().await.map(|item| (item, receiver))
            });
            ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
        }
        _ => ([("content-type", "application/json")], body).into_response(),
    }
}
