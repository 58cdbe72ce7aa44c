//! Legacy HTTP+SSE (MCP 2024-11-05): a stream that first says where to post, then carries the answers. rmcp has no server
//! for it any more, so this feeds an rmcp service through channels.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use http::{StatusCode, header};
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions, ServerJsonRpcMessage};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde::Deserialize;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::json_error;
use crate::auth::{Caller, Identity};
use crate::tools::Tools;

/// The open streams of this process.
#[derive(Clone)]
pub(super) struct Streams(Arc<Shared>);

struct Shared {
    tools: Tools,
    stopping: CancellationToken,
    open: Mutex<HashMap<Uuid, OpenStream>>,
}

struct OpenStream {
    owner: Identity,
    inbound: mpsc::Sender<ClientJsonRpcMessage>,
}

/// Where a message belongs. The id is a capability of its owner only.
#[derive(Deserialize)]
pub(super) struct Address {
    #[serde(rename = "sessionId", default)]
    session_id: String,
}

impl Streams {
    pub fn new(tools: Tools, stopping: CancellationToken) -> Self {
        Self(Arc::new(Shared { tools, stopping, open: Mutex::default() }))
    }

    /// Registers a stream, unless there are too many.
    fn begin(&self, owner: Identity) -> Option<(Uuid, mpsc::Receiver<ClientJsonRpcMessage>)> {
        let mut open = self.0.open.lock().expect("no holder of this lock can panic");
        let own = open.values().filter(|stream| stream.owner == owner).count();
        if open.len() >= STREAMS || own >= STREAMS_PER_USER {
            return None;
        }
        let (inbound, receiver) = mpsc::channel(QUEUE);
        let id = Uuid::new_v4();
        open.insert(id, OpenStream { owner, inbound });
        Some((id, receiver))
    }

    /// Only the owner finds a stream.
    fn inbound(&self, id: &str, caller: &Identity) -> Option<mpsc::Sender<ClientJsonRpcMessage>> {
        let id = Uuid::try_parse(id).ok()?;
        let open = self.0.open.lock().expect("no holder of this lock can panic");
        open.get(&id).filter(|stream| stream.owner == *caller).map(|stream| stream.inbound.clone())
    }
}

/// `GET /sse`
pub(super) async fn open(State(streams): State<Streams>, request: Request) -> Response {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return json_error(StatusCode::UNAUTHORIZED, "invalid_token");
    };
    let Some((id, inbound)) = streams.begin(caller.identity()) else {
        let busy = json_error(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams");
        return ([(header::RETRY_AFTER, "5")], busy).into_response();
    };
    let (outbound, answers) = mpsc::channel(QUEUE);
    let ended = streams.0.stopping.child_token();
    tokio::spawn(serve(streams.0.tools.clone(), Channels { inbound, outbound }, ended.clone()));
    let end = EndOfStream { streams, id, ended };
    let events = Sse::new(events(end, answers)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([(header::CACHE_CONTROL, "no-store"), (header::HeaderName::from_static("x-accel-buffering"), "no")], events)
        .into_response()
}

/// `POST /message?sessionId=…`
pub(super) async fn message(
    State(streams): State<Streams>,
    Query(Address { session_id }): Query<Address>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let inbound = parts.extensions.get::<Caller>().and_then(|caller| streams.inbound(&session_id, &caller.identity()));
    let Some(inbound) = inbound else { return json_error(StatusCode::NOT_FOUND, "unknown_session") };
    let body = match Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await {
        Ok(body) => body,
        Err(rejection) => return json_error(rejection.status(), "unreadable_body"),
    };
    let Ok(mut message) = serde_json::from_slice::<ClientJsonRpcMessage>(&body) else {
        return json_error(StatusCode::BAD_REQUEST, "invalid_message");
    };
    // The call runs for the user of this request, not for whoever opened the stream.
    match &mut message {
        ClientJsonRpcMessage::Request(request) => {
            request.request.extensions_mut().insert(parts);
        }
        ClientJsonRpcMessage::Notification(notification) => {
            notification.notification.extensions_mut().insert(parts);
        }
        ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {}
    }
    match inbound.try_send(message) {
        Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
        Err(TrySendError::Closed(_)) => json_error(StatusCode::NOT_FOUND, "unknown_session"),
        Err(TrySendError::Full(_)) => {
            let busy = json_error(StatusCode::SERVICE_UNAVAILABLE, "too_many_messages");
            ([(header::RETRY_AFTER, "1")], busy).into_response()
        }
    }
}

/// One rmcp service for one stream. When it ends, so do the answers and with them the stream.
async fn serve(tools: Tools, channels: Channels, ended: CancellationToken) {
    let beginning = rmcp::service::serve_server_with_ct(tools, channels, ended.clone());
    match tokio::time::timeout(INITIALIZE_WITHIN, beginning).await {
        Ok(Ok(running)) => match running.waiting().await {
            Ok(reason) => tracing::debug!(?reason, "stream ended"),
            Err(error) => tracing::warn!(%error, "stream ended"),
        },
        Ok(Err(error)) => tracing::debug!(%error, "stream ended before it was initialized"),
        Err(_) => tracing::debug!("stream not initialized in time"),
    }
}

fn events(
    end: EndOfStream,
    answers: mpsc::Receiver<ServerJsonRpcMessage>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let endpoint = Event::default().event("endpoint").data(format!("/message?sessionId={}", end.id));
    let first = stream::iter([Ok(endpoint)]);
    // `end` lives in the stream: when the client goes away the stream is dropped, and the session with it.
    let rest = stream::unfold((end, answers), async |(end, mut answers)| {
        let message = tokio::select! {
            message = answers.recv() => message?,
            () = end.ended.cancelled() => return None,
        };
        let text = serde_json::to_string(&message).expect("a message from rmcp is JSON");
        Some((Ok(Event::default().event("message").data(text)), (end, answers)))
    });
    stream::StreamExt::chain(first, rest)
}

/// Forgets the session when the stream is dropped.
struct EndOfStream {
    streams: Streams,
    id: Uuid,
    ended: CancellationToken,
}

impl Drop for EndOfStream {
    fn drop(&mut self) {
        self.streams.0.open.lock().expect("no holder of this lock can panic").remove(&self.id);
        self.ended.cancel();
    }
}

/// The service's end of the two channels.
struct Channels {
    inbound: mpsc::Receiver<ClientJsonRpcMessage>,
    outbound: mpsc::Sender<ServerJsonRpcMessage>,
}

impl Transport<RoleServer> for Channels {
    type Error = mpsc::error::SendError<ServerJsonRpcMessage>;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let outbound = self.outbound.clone();
        async move { outbound.send(message).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.inbound.recv().await
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inbound.close();
        Ok(())
    }
}

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const INITIALIZE_WITHIN: Duration = Duration::from_secs(60);
/// Messages waiting each way.
const QUEUE: usize = 32;
const STREAMS: usize = 4096;
const STREAMS_PER_USER: usize = 32;
