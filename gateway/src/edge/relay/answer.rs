//! The upstream's answer: its header, and a body that is not a stream of events.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::pin;

use super::super::http_messages::status_error;
use super::connect::{Link, is_lost};
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
) -> Result<std::result::Result<ResponseHeader, Denied>> {
    pin!(over);
    loop {
        let read = tokio::select! {
            biased;
            denied = &mut over => return Ok(Err(denied)),
            read = link.http.read_response_header() => read,
            piece = body.next(session), if body.is_watched() => {
                body.pass_on(session, link, piece?).await?;
                continue;
            }
            () = tokio::time::sleep(LAST_WORDS), if !body.is_watched() => {
                Err(Error::explain(ErrorType::ReadTimedout, "neither a body taken nor an answer given"))
            }
        };
        read.map_err(|error| cause(body.take_refusal(), error.into_up()))?;
        match link.http.response_header() {
            Some(header) if header.status == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(status_error(502, "the upstream switches protocols, and was not asked to"));
            }
            Some(header) if header.status.is_informational() => {}
            Some(header) => {
                check_framing(link, header)?;
                return Ok(Ok(header.clone()));
            }
            None => return Err(status_error(502, "an answer without a header")),
        }
    }
}

/// Of two errors the first is the cause; but why a server took no more, such as that it wants a certificate of the edge's, can
/// only be read.
fn cause(refusal: Option<Box<Error>>, read: Box<Error>) -> Box<Error> {
    match refusal {
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
            biased;
            _ = &mut over => {
                return Err(Error::explain(ErrorType::ConnectionClosed, "the session ended before its answer").into_down());
            }
            piece = link.http.read_response_body() => match piece.map_err(|error| error.into_up())? {
                Some(piece) => {
                    session.write_response_body(Some(piece), false).await.map_err(|error| error.into_down())?;
                }
                None => break,
            },
            piece = body.next(session), if body.is_watched() => body.pass_on(session, link, piece?).await?,
        }
    }
    session.write_response_body(None, true).await.map_err(|error| error.into_down())
}

/// One way to find the end of the body, given once. Pingora settles other cases as RFC 9112 section 6.3 allows; but no honest
/// server leaves anything to settle, and what stands between us may settle it differently (T25).
///
/// # Errors
/// When there is more than one, or one that we do not know.
fn check_framing(link: &Link, header: &ResponseHeader) -> Result<()> {
    let mut codings = header.headers.get_all(TRANSFER_ENCODING).iter();
    let plain = match codings.next() {
        None => header.headers.get_all(CONTENT_LENGTH).iter().count() <= 1,
        Some(coding) => {
            // Pingora has removed a length that stood beside it.
            let length_too = || link.raw_header().is_some_and(|raw| has_field(&raw, b"content-length"));
            coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() && !length_too()
        }
    };
    if plain { Ok(()) } else { Err(status_error(502, "the upstream's answer is framed in more than one way")) }
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|byte| *byte == b'\n').any(|line| {
        line.split_at_checked(name.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(name) && matches!(rest.first(), Some(b':' | b' ' | b'\t'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_any_spelling_and_not_in_a_value() {
        for raw in ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 200\r\nX: y\r\ncontent-length :1\r\n\r\n"]
        {
            assert!(has_field(raw.as_bytes(), b"content-length"), "{raw}");
        }
        for raw in [
            "HTTP/1.1 200 OK\r\nX: content-length: 1\r\n\r\n",
            "HTTP/1.1 200\r\nContent-Lengthy: 1\r\n\r\n",
            "content-length",
        ] {
            assert!(!has_field(raw.as_bytes(), b"content-length"), "{raw}");
        }
    }
}
