//! What to do when a tool finds that the caller's token does not do: the HTTP answer becomes a 401 that says what is missing,
//! which the gateway answers at Entra or hands to the user (MO-6, entra.md section 8).
//!
//! MCP has no word for it, and an answer that has begun cannot become a 401 any more. So the answer to a call of such a tool
//! is held back until its tool has Graph's, or failed: [`watch`] waits, the tool tells by an [`Objection`]. Where there is
//! nothing to hold back (the legacy transport's streams), the tool's result is an error, and the next request with the same
//! token gets the 401.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use entra::ClaimsRequest;
use http::{Method, StatusCode, header};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::auth::Caller;
use crate::tools::Tools;

/// Why the caller must come with another token.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It must say more than this one does.
    Claims(ClaimsRequest),
    /// Entra does not take it as an assertion (any more).
    Token,
}

/// A tool's way to the HTTP answer of its call, as long as that has not begun.
#[derive(Clone)]
pub(crate) struct Objection(Arc<Mutex<Option<oneshot::Sender<Unfit>>>>);

impl Objection {
    fn new() -> (Self, oneshot::Receiver<Unfit>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    pub fn raise(&self, unfit: Unfit) {
        if let Some(sender) = self.take() {
            // Nobody waits any more: the answer has begun, and the tool's own words must do.
            sender.send(unfit).ok();
        }
    }

    /// There is none: the answer may go out.
    pub fn waive(&self) {
        self.take();
    }

    fn take(&self) -> Option<oneshot::Sender<Unfit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Every message passes here; all but calls of tools that ask Graph at once.
pub(crate) async fn watch(State(tools): State<Tools>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, super::transport::LARGEST_BODY).await else {
        return (
            StatusCode::PAYLOAD_TOO_LARGE,
            [(header::CONTENT_TYPE, "application/json")],
            r#"{"error":"too_large"}"#,
        )
            .into_response();
    };
    let asks_graph = name_of_tool(&body).is_some_and(|name| tools.ask_graph(&name));
    let mut request = Request::from_parts(parts, Body::from(body));
    if !asks_graph {
        return next.run(request).await;
    }
    if let Some(caller) = request.extensions().get::<Caller>()
        && let Some(unfit) = tools.known_unfit(caller).await
    {
        return unfit.into_response();
    }
    let (objection, raised) = Objection::new();
    request.extensions_mut().insert(objection);
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    match tokio::time::timeout(HELD_BACK, raised).await {
        Ok(Ok(unfit)) => unfit.into_response(),
        Ok(Err(_)) | Err(_) => response,
    }
}

/// Of a `tools/call`. Batches, which one revision had, are left to their tools.
fn name_of_tool(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
        params: Parameters,
    }
    #[derive(Deserialize)]
    struct Parameters {
        name: String,
    }
    let message: Message<'_> = serde_json::from_slice(body).ok()?;
    (message.method == "tools/call").then_some(message.params.name)
}

impl IntoResponse for Unfit {
    fn into_response(self) -> Response {
        let challenge = match &self {
            Self::Claims(claims) => claims.to_challenge(),
            Self::Token => r#"Bearer error="invalid_token""#.to_owned(),
        };
        let error = match self {
            Self::Claims(_) => r#"{"error":"insufficient_claims"}"#,
            Self::Token => r#"{"error":"invalid_token"}"#,
        };
        let headers = [(header::WWW_AUTHENTICATE, challenge), (header::CONTENT_TYPE, "application/json".to_owned())];
        (StatusCode::UNAUTHORIZED, headers, error).into_response()
    }
}

/// Longer than Entra and Graph may take together, each with its retry.
const HELD_BACK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_recognised_and_nothing_else() {
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"name":"b"}}}"#;
        assert_eq!(name_of_tool(call).as_deref(), Some("a"));
        assert_eq!(name_of_tool(br#"{"method":"tools\/call","params":{"name":"\u0061"}}"#).as_deref(), Some("a"));
        for other in ["", "{", "[]", r#"{"method":"tools/list"}"#, r#"{"method":"prompts/get","params":{"name":"a"}}"#]
        {
            assert_eq!(name_of_tool(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn the_answer_waits_for_the_last_word() {
        let (objection, raised) = Objection::new();
        objection.clone().raise(Unfit::Token);
        assert!(matches!(raised.await, Ok(Unfit::Token)));
        let (objection, raised) = Objection::new();
        objection.waive();
        objection.raise(Unfit::Token);
        assert!(raised.await.is_err());
        let (objection, raised) = Objection::new();
        drop(objection);
        assert!(raised.await.is_err(), "a call that no tool took");
    }
}
