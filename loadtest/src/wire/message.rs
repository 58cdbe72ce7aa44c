//! Where a message of HTTP/1.1 ends (RFC 9112 section 6), and what a generator wants to know of it.

use std::borrow::Cow;

use httparse::{EMPTY_HEADER, Header, Status};
use memchr::memmem;

use crate::failure::Failure;

/// What the header of an answer says.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Bytes of the header, with the empty line.
    pub length: usize,
    pub status: u16,
    pub framing: Framing,
    /// Whether the connection takes another request.
    pub stays_open: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// A body that is complete.
#[derive(Debug)]
pub struct Body {
    /// Bytes on the wire.
    pub length: usize,
    /// Taken out of its chunks, if it came in chunks.
    unchunked: Option<Vec<u8>>,
}

/// The header of an answer, once it is complete.
///
/// # Errors
/// When it is none.
pub fn answer_head(raw: &[u8]) -> Result<Option<Head>, Failure> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let Status::Complete(length) = answer.parse(raw).map_err(|_| Failure::Broken)? else { return Ok(None) };
    let status = answer.code.unwrap_or_default();
    let framing = match status {
        204 | 304 => Framing::Length(0),
        _ => framing(answer.headers)?.unwrap_or(Framing::UntilClose),
    };
    let closes = answer.headers.iter().any(|header| is(header, "connection") && has(header.value, b"close"));
    let stays_open = !closes && framing != Framing::UntilClose && answer.version == Some(1);
    Ok(Some(Head { length, status, framing, stays_open }))
}

/// How long the body of a message is; None: nothing says so.
///
/// # Errors
/// When a length is no number.
pub fn framing(headers: &[Header<'_>]) -> Result<Option<Framing>, Failure> {
    if headers.iter().any(|header| is(header, "transfer-encoding") && has(header.value, b"chunked")) {
        return Ok(Some(Framing::Chunked));
    }
    let Some(length) = headers.iter().find(|header| is(header, "content-length")) else { return Ok(None) };
    let length = std::str::from_utf8(length.value).ok().and_then(|length| length.trim().parse().ok());
    length.map(Framing::Length).map(Some).ok_or(Failure::Broken)
}

impl Framing {
    /// The body at the beginning of `raw`, if it is complete. `ended`: nothing more comes.
    ///
    /// # Errors
    /// When chunks are none.
    pub fn body(self, raw: &[u8], ended: bool) -> Result<Option<Body>, Failure> {
        match self {
            Self::Length(length) => Ok((raw.len() >= length).then_some(Body { length, unchunked: None })),
            Self::Chunked => chunks(raw),
            Self::UntilClose => Ok(ended.then_some(Body { length: raw.len(), unchunked: None })),
        }
    }
}

impl Body {
    /// Its bytes, of which `raw` has those of the wire.
    pub fn content(self, raw: &[u8]) -> Cow<'_, [u8]> {
        self.unchunked.map_or(Cow::Borrowed(&raw[..self.length]), Cow::Owned)
    }
}

fn chunks(raw: &[u8]) -> Result<Option<Body>, Failure> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let size = httparse::parse_chunk_size(&raw[at..]).map_err(|_| Failure::Broken)?;
        let Status::Complete((line, size)) = size else { return Ok(None) };
        at += line;
        if size == 0 {
            return Ok(trailers(raw, at).map(|length| Body { length, unchunked: Some(content) }));
        }
        let end = usize::try_from(size).ok().and_then(|size| at.checked_add(size)).ok_or(Failure::Broken)?;
        match raw.get(end..end.saturating_add(2)) {
            Some(b"\r\n") => content.extend_from_slice(&raw[at..end]),
            Some(_) => return Err(Failure::Broken),
            None => return Ok(None),
        }
        at = end + 2;
    }
}

/// Where the trailers end that begin at `at`.
fn trailers(raw: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let line = memmem::find(&raw[at..], b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

fn is(header: &Header<'_>, name: &str) -> bool {
    header.name.eq_ignore_ascii_case(name)
}

fn has(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

const MOST_HEADERS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body, and whether the connection stays; None when the message is not complete.
    fn read(raw: &[u8], ended: bool) -> Result<Option<(u16, Vec<u8>, bool)>, Failure> {
        let Some(head) = answer_head(raw)? else { return Ok(None) };
        let rest = &raw[head.length..];
        let body = head.framing.body(rest, ended)?;
        Ok(body.map(|body| (head.status, body.content(rest).into_owned(), head.stays_open)))
    }

    #[test]
    fn every_framing_is_understood_and_none_too_early() {
        for (raw, expected) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"[..], (200, &b"abc"[..], true)),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nt: u\r\n\r\n",
                (200, b"abc", true),
            ),
            (b"HTTP/1.1 401 No\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", (401, b"", false)),
            (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", true)),
        ] {
            let (status, body, stays) = expected;
            assert_eq!(read(raw, false), Ok(Some((status, body.to_vec(), stays))));
            for end in 0..raw.len() {
                assert_eq!(read(&raw[..end], false), Ok(None), "{end} bytes are no answer yet");
            }
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_its_connection() {
        let raw = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert_eq!(read(raw, false), Ok(None));
        assert_eq!(read(raw, true), Ok(Some((200, b"abc".to_vec(), false))));
    }

    #[test]
    fn nonsense_is_no_answer() {
        for raw in [
            &b"SSH-2.0-x\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert_eq!(read(raw, false), Err(Failure::Broken));
        }
    }
}
