//! The upstream's answer: its header, and a body that is not a stream of events.

use std::time::Duration;

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
    pin!(over);
    loop {
        tokio::select! {
            // First what has come already, which is all of most answers: to wait for an end costs timers. Tokio has even a
            // socket that always has more seem empty now and then.
            biased;
            piece = link.read_body() => match piece? {
                Some(piece) => {
                    session.write_response_body(Some(piece), false).await.map_err(|error| error.into_down())?;
                }
                None => break,
            },
            _ = &mut over => {
                return Err(Error::explain(ErrorType::ConnectionClosed, "the session ended before its answer").into_down());
            }
            piece = body.next(session), if body.is_watched() => body.pass_on(session, link, piece?).await?,
        }
    }
    session.write_response_body(None, true).await.map_err(|error| error.into_down())
}
