//! Where rules on tools stand (T44): what a POST calls is known before it goes upstream.
//!
//! Only there is a body read here. It is read whole, by its own strict reader (`message`), compared with the headers that mirror
//! it (`mirrored`, T29), and goes on byte for byte. What could be read in two ways is refused: the server would read it its way.
//! Lists of tools are left alone, since they say nothing that a call would not.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod message;
mod mirrored;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Method, Response, StatusCode};
use pingora::prelude::Result;
use pingora_proxy::Session;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use mirrored::said;

use super::Edge;
use super::challenge::{json_answer, too_many};
use super::headers::with_headers;
use super::http_messages::{linger, status_error, write_whole};
use super::journey::Journey;
use super::refusal::Refusal;
use super::relay::{Pace, next_piece};
use super::route::Endpoint;
use crate::audit::{Field, Kind, Outcome};
use message::{Message, Messages};

/// Bodies of more than [`LONG`] bytes that may be held here at once, for all sessions.
pub struct LongBodies(Arc<Semaphore>);

/// A body that was read before its request went upstream.
pub struct ReadBody {
    bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

/// What a request is refused for, before any rule is asked.
#[derive(Clone, Copy, Debug)]
enum Unclear {
    /// Not one message, or one batch, that reads only one way.
    Body,
    /// The headers that mirror the body say otherwise.
    Headers,
}

impl Edge {
    /// Whether there is anything to check.
    pub(super) fn has_tool_rules(&self, journey: &Journey) -> bool {
        journey.target.as_ref().is_none_or(|target| !target.upstream.tools.is_empty())
    }

    /// Answers (`true`) what a rule on tools refuses, or lets the journey go on (`false`).
    pub(super) async fn check_tools(&self, session: &mut Session, journey: &mut Journey) -> Result<bool> {
        let target = &journey.destination()?.target;
        let endpoint = target.endpoint;
        let upstream = target.upstream.clone();
        if session.req_header().method != Method::POST {
            // MCP has no bodies there. A server that reads one all the same would read what nobody has looked at.
            return match session.is_body_done() {
                true => Ok(false),
                false => self.refuse(session, journey, Refusal::BadRequest).await,
            };
        }
        let Some(body) = self.read_body(session).await? else {
            self.metrics.limited("long_bodies");
            session.set_keepalive(None);
            write_whole(session, with_headers(too_many(LONG_BODY_WAIT), journey.caller.cors())).await?;
            linger(session).await;
            return Ok(true);
        };
        let headers = &session.req_header().headers;
        let read = if is_plain_json(headers) { Messages::parse(&body.bytes) } else { None };
        let answer = match read {
            None => self.unclear(session, journey, Unclear::Body, &Value::Null),
            Some(messages) if !mirrored::agree(headers, &messages) => {
                let id = messages.only().and_then(|message| message.id.clone()).unwrap_or_default();
                self.unclear(session, journey, Unclear::Headers, &id)
            }
            Some(messages) => {
                let membership = journey.destination()?.admitted.membership();
                let refused =
                    |message: &&Message| message.tool().is_some_and(|tool| !upstream.tools.allow(membership, tool));
                let Some(first) = messages.iter().find(refused) else {
                    let calls = messages.iter().filter_map(|message| message.tool().map(Into::into)).collect();
                    journey.calls = Some(calls);
                    journey.body = Some(body);
                    return Ok(false);
                };
                let answer = refusal(&messages, |message| refused(&message), endpoint);
                self.note_refusal(session, journey, first.tool().unwrap_or_default());
                answer
            }
        };
        write_whole(session, with_headers(answer, journey.caller.cors())).await?;
        Ok(true)
    }

    /// `None`: too many are held already.
    async fn read_body(&self, session: &mut Session) -> Result<Option<ReadBody>> {
        if session.req_header().headers.contains_key(EXPECT) && !session.is_body_done() {
            session.write_continue_response().await.map_err(|error| error.into_down())?;
        }
        let mut pace = Pace::new(&self.bounds);
        let (mut bytes, mut place) = (BytesMut::new(), None);
        while !session.is_body_done() {
            let Some(piece) = next_piece(session, &mut pace, bytes.len() as u64).await? else { break };
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > self.bounds.message_size {
                return Err(status_error(413, "the body is longer than an MCP message may be"));
            }
            if bytes.len() > LONG && place.is_none() {
                let Ok(permit) = self.long_bodies.0.clone().try_acquire_owned() else { return Ok(None) };
                place = Some(permit);
            }
        }
        Ok(Some(ReadBody { bytes: bytes.freeze(), _place: place }))
    }

    fn unclear(&self, session: &Session, journey: &mut Journey, unclear: Unclear, id: &Value) -> Response<Bytes> {
        self.metrics.access_refused(unclear.kind());
        journey.reason = Some(unclear.kind());
        let event = self.event_of(session, journey, Kind::AccessRefused, Outcome::Refused);
        self.audit.record(event.text(Field::Reason, unclear.kind()));
        let (code, message) = unclear.words();
        json_answer(StatusCode::BAD_REQUEST, &error(id, code, message))
    }

    /// Never the arguments: they are the user's.
    fn note_refusal(&self, session: &Session, journey: &mut Journey, tool: &str) {
        self.metrics.access_refused("tool");
        journey.reason = Some("tool");
        let event = self.event_of(session, journey, Kind::AccessRefused, Outcome::Refused);
        self.audit.record(event.text(Field::Reason, "tool").text(Field::Tool, tool));
    }
}

impl LongBodies {
    pub fn new(at_most: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_most)))
    }
}

impl ReadBody {
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Unclear {
    /// A label for metrics and the log.
    fn kind(self) -> &'static str {
        match self {
            Unclear::Body => "unclear_body",
            Unclear::Headers => "unclear_headers",
        }
    }

    fn words(self) -> (i32, &'static str) {
        match self {
            Unclear::Body => (
                INVALID_REQUEST,
                "The request must be one JSON-RPC message, or one batch, as plain JSON in UTF-8 with each name once.",
            ),
            Unclear::Headers => (HEADER_MISMATCH, "Mcp-Method and Mcp-Name must say what the body says."),
        }
    }
}

/// In a form that reaches the caller of the tool, who may be a model. Over Streamable HTTP that is an answer to the request: any
/// status but 200 would be trouble of the transport's, and its body is for nobody. Over legacy HTTP+SSE answers come by the
/// stream, which is the server's, and an error of the transport is what a client notices at once.
fn refusal(messages: &Messages, refused: impl Fn(&Message) -> bool, endpoint: Endpoint) -> Response<Bytes> {
    let one = |message: &Message| {
        let words =
            if refused(message) { NOT_ALLOWED_WORDS } else { "Not done: another call of this batch was refused." };
        Some(error(message.id.as_ref()?, NOT_ALLOWED, words))
    };
    let body = match messages.only() {
        Some(message) => one(message).unwrap_or_else(|| error(&Value::Null, NOT_ALLOWED, NOT_ALLOWED_WORDS)),
        None => messages.iter().filter_map(one).collect(),
    };
    // Nobody waits for the answer to a notification either.
    let is_answer = endpoint == Endpoint::Streamable && messages.iter().any(|message| message.id.is_some());
    json_answer(if is_answer { StatusCode::OK } else { StatusCode::FORBIDDEN }, &body)
}

fn error(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// What a server would decode before it reads would hide the call from us: a coding, or another character set (in UTF-7 plain
/// ASCII has other meanings).
fn is_plain_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let Ok(text) = only.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let is_utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    is_json && parts.all(is_utf8) && !headers.contains_key(CONTENT_ENCODING)
}

/// Bytes.
const LONG: usize = 64 * 1024;
const LONG_BODY_WAIT: Duration = Duration::from_secs(5);
/// Of a tool in the log.
/// JSON-RPC 2.0 section 5.1.
const INVALID_REQUEST: i32 = -32_600;
/// MCP 2026-07-28.
const HEADER_MISMATCH: i32 = -32_020;
/// JSON-RPC 2.0 section 5.1: one of those that servers may give a meaning to.
const NOT_ALLOWED: i32 = -32_003;
const NOT_ALLOWED_WORDS: &str =
    "This user may not call this tool. Do not try again; whoever runs the server decides who may.";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_json_in_utf8_is_read() {
        for plain in ["application/json", "Application/JSON ; charset=UTF-8", "application/json;charset=\"utf-8\"; x=y"]
        {
            assert!(is_plain_json(&headers(&[("content-type", plain)])), "{plain}");
        }
        for other in ["text/plain", "application/json; charset=utf-7", "application/json; charset", "application/jsonx"]
        {
            assert!(!is_plain_json(&headers(&[("content-type", other)])), "{other}");
        }
        assert!(!is_plain_json(&HeaderMap::new()));
        assert!(!is_plain_json(&headers(&[("content-type", "application/json"), ("content-encoding", "gzip")])));
        let mut twice = headers(&[("content-type", "application/json")]);
        twice.append(CONTENT_TYPE, "application/json".parse().unwrap());
        assert!(!is_plain_json(&twice));
    }

    fn answered(body: &str, endpoint: Endpoint) -> (u16, Value) {
        let messages = Messages::parse(body.as_bytes()).unwrap();
        let answer = refusal(&messages, |message| message.tool() == Some("no"), endpoint);
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
    }

    #[test]
    fn a_refusal_answers_the_request() {
        let call = |id: &str, tool: &str| format!(r#"{{{id}"method":"tools/call","params":{{"name":"{tool}"}}}}"#);
        let (status, body) = answered(&call(r#""id":"a","#, "no"), Endpoint::Streamable);
        assert_eq!((status, &body["id"], &body["error"]["code"]), (200, &json!("a"), &json!(NOT_ALLOWED)));
        assert_eq!(answered(&call(r#""id":7,"#, "no"), Endpoint::Message).0, 403);
        let (status, body) = answered(&call("", "no"), Endpoint::Streamable);
        assert_eq!((status, &body["id"]), (403, &Value::Null));
        let batch = format!("[{},{},{}]", call(r#""id":1,"#, "yes"), call("", "yes"), call(r#""id":2,"#, "no"));
        let (status, body) = answered(&batch, Endpoint::Streamable);
        assert_eq!((status, body.as_array().unwrap().len()), (200, 2));
        assert!(body[0]["error"]["message"].as_str().unwrap().starts_with("Not done"));
        assert_eq!((&body[1]["id"], &body[1]["error"]["message"]), (&json!(2), &json!(NOT_ALLOWED_WORDS)));
    }
}
