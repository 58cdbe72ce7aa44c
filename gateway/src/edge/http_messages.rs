//! Pingora's session <-> plain HTTP messages, with bounds on what is read.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora_proxy::Session;
use zeroize::Zeroizing;

use super::bounds::Bounds;
use crate::source::SourceAddress;

/// Bytes of a body that is read away before a refusal.
const DISCARDED: u64 = 16 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// What became of reading a request whole.
pub enum Whole {
    Request(Box<Request<Bytes>>),
    /// Longer than [`Bounds::form_size`]; the rest stays unread.
    TooLarge,
    /// Not there in time.
    TooSlow,
    /// Its framing is broken.
    Unreadable,
}

/// Reads a request with a body of at most [`Bounds::form_size`]. `client` is who it is from, as far as that is known.
pub async fn read_whole(session: &mut Session, client: Option<IpAddr>, bounds: &Bounds) -> Result<Whole> {
    if declared_length(&session.req_header().headers).is_some_and(|length| length > bounds.form_size as u64) {
        return Ok(Whole::TooLarge);
    }
    if session.req_header().headers.contains_key(EXPECT) {
        session.write_continue_response().await?;
    }
    // For the whole, not for each read: one byte now and then must not hold a connection.
    let Ok(body) = tokio::time::timeout(bounds.body_time, read_body(session, bounds.form_size)).await else {
        return Ok(Whole::TooSlow);
    };
    let body = match body {
        Ok(Some(body)) => body,
        Ok(None) => return Ok(Whole::TooLarge),
        Err(_) => return Ok(Whole::Unreadable),
    };
    let header = session.req_header();
    let mut request = Request::new(body);
    *request.method_mut() = header.method.clone();
    *request.uri_mut() = header.uri.clone();
    *request.headers_mut() = header.headers.clone();
    if let Some(client) = client {
        request.extensions_mut().insert(SourceAddress::new(client));
    }
    Ok(Whole::Request(Box::new(request)))
}

/// Writes a whole answer. `Content-Length` is always set: without it HTTP/1.1 would lose the connection.
pub async fn write_whole(session: &mut Session, response: Response<Bytes>) -> Result<()> {
    let (parts, body) = response.into_parts();
    let mut header = ResponseHeader::from(parts);
    header.insert_header(CONTENT_LENGTH, body.len().to_string())?;
    let empty = body.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(header), empty).await?;
    if !empty {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Reads away a small body before a refusal, since an answer before the end of the body costs the connection.
pub async fn discard_small_body(session: &mut Session) {
    if declared_length(&session.req_header().headers).is_some_and(|length| length <= DISCARDED) {
        // Best effort: what cannot be read closes the connection, which is what would happen without trying.
        let _ = tokio::time::timeout(Duration::from_secs(1), session.drain_request_body()).await;
    }
}

/// The header of the answer that was sent. An interim one, such as 100, is none.
pub fn answered(session: &Session) -> Option<&ResponseHeader> {
    session.response_written().filter(|header| !header.status.is_informational())
}

/// Reads on for a moment after a refusal that came before the end of the body: closing at once would reset the connection,
/// and many clients would report that instead of the answer.
pub async fn linger(session: &mut Session) {
    let reading = async { while let Ok(Some(_)) = session.read_request_body().await {} };
    // Whether it ended or not: the connection is closed now.
    let _ = tokio::time::timeout(LINGER, reading).await;
}

/// Whether the header block is too long, or has too many fields or one that is too long: Pingora itself would take a megabyte in
/// 256 fields.
pub fn has_long_header(session: &Session, bounds: &Bounds) -> bool {
    let header = session.req_header();
    let is_long = |(name, value): (&HeaderName, &HeaderValue)| value.len() > bounds.field_size && name != COOKIE;
    if header.headers.len() > bounds.header_fields || header.headers.iter().any(is_long) {
        return true;
    }
    let fields: usize = header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    fields + header.method.as_str().len() + header.raw_path().len() > bounds.header_size
}

/// The length a request announces; `None` when it announces none. An unreadable one counts as endless.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
}

/// Tokens and codes come in bodies: this copy is wiped when it is done with, and leaves none behind by growing.
async fn read_body(session: &mut Session, limit: usize) -> Result<Option<Bytes>> {
    let declared = declared_length(&session.req_header().headers).and_then(|length| usize::try_from(length).ok());
    let mut body = Zeroizing::new(Vec::with_capacity(declared.unwrap_or(limit).min(limit)));
    while let Some(chunk) = session.read_request_body().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(Bytes::from_owner(body)))
}

/// An error that ends the request with `status`.
pub fn status_error(status: u16, cause: &'static str) -> Box<Error> {
    Error::explain(ErrorType::HTTPStatus(status), cause)
}
