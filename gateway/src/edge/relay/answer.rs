//! The upstream's answer: its header, and a body that is not a stream of events.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http::response::Parts;
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::pin;

use super::super::framing::is_framed_once;
use super::super::http_messages::status_error;
use super::connect::{Link, is_lost, was_not_processed};
use super::request_body::RequestBody;
use crate::session::Denied;

/// How long an upstream that took no more of the body may need to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Pieces of a body that are passed on before its session is looked at again: the only one of most, and its end.
const AT_HAND: usize = 2;

/// The final header, while the request's body goes on. It may take as long as the call does, within the limit of silence.
/// The inner error when the session is `over` before it comes.
pub async fn header(
    session: &mut Session,
    link: &mut Link,
    body: &mut RequestBody,
    over: impl Future<Output = Denied>,
) -> Result<std::result::Result<Parts, Denied>> {
    pin!(over);
    loop {
        let read = tokio::select! {
            biased;
            denied = &mut over => return Ok(Err(denied)),
            read = link.read_header() => read.map(|header| header.map(ResponseHeader::as_owned_parts)),
            piece = body.next(session), if body.is_watched() => {
                body.pass_on(session, link, piece?).await?;
                continue;
            }
            error = last_words(), if !body.is_watched() => Err(error),
        };
        match read.map_err(|error| cause(body.take_refusal(), error))? {
            Some(header) if header.status == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(status_error(502, "the upstream switches protocols, and was not asked to"));
            }
            Some(header) if header.status.is_informational() => {}
            Some(header) => {
                if !is_framed_once(&header.headers, link.raw_header().as_deref()) {
                    return Err(status_error(502, "the upstream's answer is framed in more than one way"));
                }
                return Ok(Ok(header));
            }
            None => return Err(status_error(502, "an answer without a header")),
        }
    }
}

/// The time is over in which it had to be said.
async fn last_words() -> Box<Error> {
    tokio::time::sleep(LAST_WORDS).await;
    Error::explain(ErrorType::ReadTimedout, "neither a body taken nor an answer given").into_up()
}

/// Of two errors the first is the cause; but that a server did nothing yet, or why a server took no more, such as that it wants a certificate of the edge's, can
/// only be read.
fn cause(refusal: Option<Box<Error>>, read: Box<Error>) -> Box<Error> {
    match refusal {
        Some(_) if was_not_processed(&read) => read,
        Some(refusal) if is_lost(&read) => refusal.more_context(format!("then {read}")),
        Some(refusal) => refusal,
        None => read,
    }
}

/// The body, piece by piece as it comes, until its session is `over`: what calls itself no stream may be one.
pub async fn body(
    session: &mut Session,
    link: &mut Link,
    body: &mut RequestBody,
    over: impl Future<Output = Denied>,
) -> Result<()> {
    // Most answers have come whole by now. Of them the end of the session is not waited for, which costs timers.
    for _ in 0..AT_HAND {
        match link.read_body().now_or_never() {
            Some(piece) => match piece? {
                Some(piece) => write(session, piece).await?,
                None => return finish(session).await,
            },
            None => break,
        }
    }
    pin!(over);
    loop {
        tokio::select! {
            // The end first: a body that always has more would keep a reader's session for ever.
            biased;
            _ = &mut over => {
                return Err(Error::explain(ErrorType::ConnectionClosed, "the session ended before its answer").into_down());
            }
            piece = link.read_body() => match piece? {
                Some(piece) => write(session, piece).await?,
                None => break,
            },
            piece = body.next(session), if body.is_watched() => body.pass_on(session, link, piece?).await?,
        }
    }
    finish(session).await
}

async fn write(session: &mut Session, piece: Bytes) -> Result<()> {
    session.write_response_body(Some(piece), false).await.map_err(|error| error.into_down())
}

async fn finish(session: &mut Session) -> Result<()> {
    session.write_response_body(None, true).await.map_err(|error| error.into_down())
}
