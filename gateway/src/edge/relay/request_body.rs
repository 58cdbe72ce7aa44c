//! The request's body on its way upstream.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use pingora::prelude::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::Instant;

use super::super::bounds::Bounds;
use super::super::http_messages::{declared_length, status_error};
use super::super::tool_gate::ReadBody;
use super::connect::Link;

/// Bytes that are kept of a body until its answer comes, for a server that turns out to have done nothing: calls are smaller, all
/// but a few, and HTTP/2 takes as much, by its own default, before a server has begun to read.
const KEPT: u64 = 64 * 1024;

pub struct RequestBody {
    framing: Framing,
    state: State,
    expects_continue: bool,
    /// The client has sent all of it.
    ended: bool,
    /// All that the client has sent so far, while it may be sent again. One buffer: pieces of a byte each would cost a hundred
    /// times what they hold.
    kept: Option<BytesMut>,
    /// Bytes so far.
    received: u64,
    pace: Pace,
    /// Held no longer than it may be sent again: a stream may answer it for hours.
    read: Option<ReadBody>,
}

/// The next piece of a body of which this much has come; `None` is the end.
pub async fn next_piece(session: &mut Session, pace: &mut Pace, received: u64) -> Result<Option<Bytes>> {
    match tokio::time::timeout(pace.left(received), session.read_body_or_idle(false)).await {
        Ok(piece) => {
            pace.came();
            piece.map_err(|error| error.into_down())
        }
        Err(_) => Err(Error::explain(ErrorType::ReadTimedout, "the request's body stopped coming").into_down()),
    }
}

/// How long the client was waited for. The time that an upstream takes to accept a piece is not the client's.
pub struct Pace {
    bounds: Arc<Bounds>,
    /// For all pieces that came.
    waited: Duration,
    /// Since when the next one is waited for.
    since: Option<Instant>,
    begun: bool,
}

impl Pace {
    pub fn new(bounds: &Arc<Bounds>) -> Self {
        Self { bounds: bounds.clone(), waited: Duration::ZERO, since: None, begun: false }
    }

    /// How much longer the next piece may take.
    fn left(&mut self, received: u64) -> Duration {
        self.begun = true;
        let waiting = self.since.get_or_insert_with(Instant::now).elapsed();
        let bounds = &self.bounds;
        let allowed = bounds.body_time + Duration::from_secs_f64(received as f64 / f64::from(bounds.message_rate));
        // Pingora has no bound of silence for HTTP/2.
        allowed.saturating_sub(self.waited + waiting).min(bounds.read_time.saturating_sub(waiting))
    }

    fn came(&mut self) {
        self.waited += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
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
    /// The whole of it, where it had to be read before going upstream.
    pub fn read(read: ReadBody, bounds: &Arc<Bounds>) -> Self {
        let received = read.bytes().len() as u64;
        Self {
            framing: Framing::Length(received),
            state: State::Done,
            expects_continue: false,
            ended: true,
            kept: Some(BytesMut::new()),
            received,
            pace: Pace { begun: true, ..Pace::new(bounds) },
            read: Some(read),
        }
    }

    pub fn of(session: &mut Session, bounds: &Arc<Bounds>) -> Self {
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
        Self {
            framing,
            state,
            expects_continue,
            ended: done,
            kept: Some(BytesMut::new()),
            received: 0,
            pace: Pace::new(bounds),
            read: None,
        }
    }

    /// HTTP/2 has no chunks: there every body has its end.
    pub fn frame(&self, request: &mut HeaderMap, is_http2: bool) {
        match self.framing {
            Framing::Length(length) => _ = request.insert(CONTENT_LENGTH, length.into()),
            Framing::Chunked if !is_http2 => _ = request.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
            Framing::None | Framing::Chunked => {}
        }
    }

    /// Asks the client for the body, now that there is somebody to take it; sends what was kept of it.
    pub async fn begin(&mut self, session: &mut Session, link: &mut Link) -> Result<()> {
        let bytes = match &self.read {
            Some(read) => read.bytes().clone(),
            None => Bytes::copy_from_slice(self.at_hand()),
        };
        if !bytes.is_empty()
            && let Err(error) = link.send_body(bytes, false).await
        {
            self.state = State::Refused(error);
            return Ok(());
        }
        if std::mem::take(&mut self.expects_continue) {
            session.write_continue_response().await.map_err(|error| error.into_down())?;
        }
        if self.is_done() {
            return self.finish(link).await;
        }
        // What has come with the header goes on with it. Nobody was waited for.
        self.pace.begun = true;
        match session.read_body_or_idle(false).now_or_never() {
            Some(piece) => self.pass_on(session, link, piece.map_err(|error| error.into_down())?).await,
            None => Ok(()),
        }
    }

    /// The next piece; `None` is the end. When the body is done: waits until the client leaves, which is an error.
    pub async fn next(&mut self, session: &mut Session) -> Result<Option<Bytes>> {
        if self.is_done() {
            return session.read_body_or_idle(true).await.map_err(|error| error.into_down());
        }
        next_piece(session, &mut self.pace, self.received).await
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
            if self.received > self.pace.bounds.message_size {
                return Err(status_error(413, "the body is longer than an MCP message may be"));
            }
            self.ended = last;
            self.keep(&piece);
            if let Err(error) = link.send_body(piece, last).await {
                self.state = State::Refused(error);
                return Ok(());
            }
        }
        if last {
            (self.state, self.ended) = (State::Done, true);
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

    /// There is none, or none to send any more.
    pub fn is_empty(&self) -> bool {
        self.is_done() && self.at_hand().is_empty()
    }

    /// Makes ready to be sent again from its first byte. `false`: what was sent is not there any more.
    pub fn rewind(&mut self) -> bool {
        if self.kept.is_none() {
            return false;
        }
        self.state = if self.ended { State::Done } else { State::Coming };
        true
    }

    /// It is not sent again.
    pub fn forget(&mut self) {
        (self.kept, self.read) = (None, None);
    }

    /// Whether the client is listened to. A body that nobody takes stays where it is.
    pub fn is_watched(&self) -> bool {
        !matches!(self.state, State::Refused(_))
    }

    pub fn is_untouched(&self) -> bool {
        !self.pace.begun
    }

    /// Why the upstream did not take it.
    pub fn take_refusal(&mut self) -> Option<Box<Error>> {
        match &mut self.state {
            State::Refused(error) => Some(std::mem::replace(error, Error::new(ErrorType::WriteError))),
            State::Coming | State::Done => None,
        }
    }

    /// What is to be sent first.
    fn at_hand(&self) -> &[u8] {
        match (&self.read, &self.kept) {
            (Some(read), _) => read.bytes(),
            (None, Some(kept)) => kept,
            (None, None) => &[],
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        match &mut self.kept {
            Some(kept) if self.received <= KEPT => kept.extend_from_slice(piece),
            _ => self.kept = None,
        }
    }

    async fn finish(&self, link: &mut Link) -> Result<()> {
        link.finish_body().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(waited: u64, received: u64) -> u64 {
        let mut pace = Pace { waited: Duration::from_secs(waited), ..Pace::new(&Arc::default()) };
        // A moment passes between two looks at the clock.
        (pace.left(received) + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn who_sends_gets_time_and_who_drips_does_not() {
        assert_eq!((after(0, 0), after(4, 0), after(11, 0)), (10, 6, 0));
        assert_eq!(after(9, 9), 1, "a byte a second");
        assert_eq!(after(60, 60 * 14 * 1024), 10, "as slow as may be");
        let longest = Bounds::default().message_size;
        assert_eq!(after(1, longest), 30, "silence is bounded all the same");
        assert_eq!(after(303, longest), 0, "and so is the whole");
    }

    #[test]
    fn a_body_in_pieces_of_a_byte_is_kept_in_little_more_than_its_length() {
        let mut body = RequestBody {
            framing: Framing::Chunked,
            state: State::Coming,
            expects_continue: false,
            ended: false,
            kept: Some(BytesMut::new()),
            received: 0,
            pace: Pace::new(&Arc::default()),
            read: None,
        };
        for byte in 0..KEPT {
            body.received += 1;
            body.keep(&[byte as u8]);
        }
        let kept = body.kept.as_ref().unwrap();
        assert_eq!(kept.len() as u64, KEPT);
        assert!(kept.capacity() as u64 <= 2 * KEPT, "{}", kept.capacity());
        body.received += 1;
        body.keep(b"x");
        assert!(body.kept.is_none() && !body.rewind());
    }

    #[test]
    fn the_time_of_an_upstream_that_accepts_slowly_is_not_the_clients() {
        let mut pace = Pace::new(&Arc::default());
        pace.left(0);
        pace.came();
        std::thread::sleep(Duration::from_millis(30));
        assert!(pace.waited < Duration::from_millis(25), "{:?}", pace.waited);
    }
}
