//! The request's body on its way upstream.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::Instant;

use super::super::MCP_BODY_LIMIT;
use super::super::http_messages::{declared_length, status_error};
use super::super::tool_gate::ReadBody;
use super::connect::Link;

/// Between two pieces of a body. Pingora has no such bound for HTTP/2.
const BETWEEN_PIECES: Duration = Duration::from_secs(30);
/// For the whole body: a byte now and then must not hold two connections (T32). The longest body needs 14 KiB a second.
const WHOLE: Duration = Duration::from_secs(300);

pub struct RequestBody {
    framing: Framing,
    state: State,
    expects_continue: bool,
    /// Bytes so far.
    received: u64,
    /// When the client was asked for the first piece of it.
    begun: Option<Instant>,
    /// The whole of it, and not sent yet. Not held while a stream answers it, which may be for hours.
    read: Option<ReadBody>,
}

/// The next piece of a body that was begun at that time; `None` is the end.
pub async fn next_piece(session: &mut Session, begun: Instant) -> Result<Option<Bytes>> {
    let left = WHOLE.saturating_sub(begun.elapsed());
    match tokio::time::timeout(BETWEEN_PIECES.min(left), session.read_body_or_idle(false)).await {
        Ok(piece) => piece.map_err(|error| error.into_down()),
        Err(_) => Err(Error::explain(ErrorType::ReadTimedout, "the request's body stopped coming").into_down()),
    }
}

/// How the body is framed for the upstream: by what Pingora understood of the client's framing, never by copying that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
}

enum State {
    Coming,
    Done,
    /// The upstream takes no more of it: it may have answered before its end, or be gone.
    Refused(Box<Error>),
}

impl RequestBody {
    /// `read`: the whole of it, where it had to be read before going upstream.
    pub fn of(session: &mut Session, read: Option<ReadBody>) -> Self {
        if let Some(read) = read {
            let (framing, read) = (Framing::Length(read.bytes().len() as u64), Some(read));
            return Self { framing, state: State::Coming, expects_continue: false, received: 0, begun: None, read };
        }
        let done = session.is_body_done();
        let header = session.req_header();
        let framing = match declared_length(&header.headers) {
            // Of the two, chunks count (RFC 9112 section 6.3).
            _ if header.headers.contains_key(TRANSFER_ENCODING) => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None if !done => Framing::Chunked,
            // Servers may want the length of a POST even so.
            None if header.method == Method::POST => Framing::Length(0),
            None => Framing::None,
        };
        let state = if done { State::Done } else { State::Coming };
        let expects_continue = !done && header.headers.contains_key(EXPECT);
        Self { framing, state, expects_continue, received: 0, begun: None, read: None }
    }

    pub fn frame(&self, request: &mut RequestHeader) -> Result<()> {
        match self.framing {
            Framing::None => Ok(()),
            Framing::Length(length) => request.insert_header(CONTENT_LENGTH, length.to_string()),
            Framing::Chunked => request.insert_header(TRANSFER_ENCODING, "chunked"),
        }
    }

    /// Asks the client for the body, now that there is somebody to take it.
    pub async fn begin(&mut self, session: &mut Session, link: &mut Link) -> Result<()> {
        if self.expects_continue {
            session.write_continue_response().await.map_err(|error| error.into_down())?;
        }
        match self.read.take() {
            Some(body) => self.pass_on(session, link, Some(body.bytes().clone())).await,
            None if self.is_done() => self.finish(link).await,
            None => Ok(()),
        }
    }

    /// The next piece; `None` is the end. When the body is done: waits until the client leaves, which is an error.
    pub async fn next(&mut self, session: &mut Session) -> Result<Option<Bytes>> {
        if self.is_done() {
            return session.read_body_or_idle(true).await.map_err(|error| error.into_down());
        }
        let begun = *self.begun.get_or_insert_with(Instant::now);
        next_piece(session, begun).await
    }

    /// Passes a piece on. That the upstream does not take it is no error here: it may have answered, which is to be read.
    ///
    /// # Errors
    /// When the body is longer than a message may be.
    pub async fn pass_on(&mut self, session: &mut Session, link: &mut Link, piece: Option<Bytes>) -> Result<()> {
        let last = piece.is_none() || session.is_body_done();
        // In chunks an empty piece would be the end, and what follows it the start of somebody else's request (T25). HTTP/2 has
        // such pieces, and so has the end of a body that came in chunks.
        if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
            self.received += piece.len() as u64;
            if self.received > MCP_BODY_LIMIT {
                return Err(status_error(413, "the body is longer than an MCP message may be"));
            }
            if let Err(error) = link.http.write_request_body(piece, last).await {
                self.state = State::Refused(error.into_up());
                return Ok(());
            }
        }
        if last {
            self.state = State::Done;
            if let Err(error) = self.finish(link).await {
                self.state = State::Refused(error);
            }
        }
        Ok(())
    }

    /// It went upstream whole.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the client is listened to. A body that nobody takes stays where it is.
    pub fn is_watched(&self) -> bool {
        !matches!(self.state, State::Refused(_))
    }

    pub fn is_untouched(&self) -> bool {
        self.begun.is_none()
    }

    /// Why the upstream did not take it.
    pub fn take_refusal(&mut self) -> Option<Box<Error>> {
        match &mut self.state {
            State::Refused(error) => Some(std::mem::replace(error, Error::new(ErrorType::WriteError))),
            State::Coming | State::Done => None,
        }
    }

    async fn finish(&self, link: &mut Link) -> Result<()> {
        link.http.finish_request_body().await.map_err(|error| error.into_up())
    }
}
