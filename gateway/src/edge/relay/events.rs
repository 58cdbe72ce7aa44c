//! An event stream, as long as it lives: every event as it comes, a comment when none comes, and a clean end in good time.

use std::pin::Pin;

use bytes::Bytes;
use pingora::ErrorSource;
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::pin;
use tokio::time::{Instant, sleep_until};

use super::super::journey::Journey;
use super::super::{Edge, Method};
use super::AnswerEnd;
use super::connect::Link;
use super::event_border::EventBorder;
use super::pace::{Due, Kind, Pace};
use super::request_body::RequestBody;
use crate::pool::EndpointRewriter;
use crate::secret::random_fraction;
use crate::session::Denied;

const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// A client that is sent away waits between one and five seconds before it comes again, so that not all come at once.
const RETRY_MILLISECONDS: (f64, f64) = (1000.0, 5000.0);
/// At the very beginning of a stream a byte order mark is skipped by clients, and nowhere else.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a stream ended that did not break.
struct Ended {
    /// A label for the metric.
    cause: &'static str,
    answer: AnswerEnd,
}

impl Edge {
    pub(super) async fn events(
        &self,
        session: &mut Session,
        journey: &mut Journey,
        link: &mut Link,
        body: &mut RequestBody,
        response: Box<ResponseHeader>,
        rewriter: Option<EndpointRewriter>,
    ) -> Result<AnswerEnd> {
        // Before the client knows of it, so that no count lags behind what it has.
        if journey.slot.is_none() {
            journey.slot = Some(journey.destination()?.admitted.watch().open_stream());
        }
        let _open = self.metrics.stream_opened();
        let begun = session.write_response_header(response, false).await.map_err(|error| error.into_down());
        let ended = match begun {
            Ok(()) => self.forward(session, journey, link, body, rewriter).await,
            Err(error) => Err(error),
        };
        self.metrics.stream_ended(match &ended {
            Ok(ended) => ended.cause,
            Err(error) if *error.esource() == ErrorSource::Downstream => "client",
            Err(_) => "broken",
        });
        // Its place is free before its end is seen.
        journey.slot = None;
        // Who listens comes again after a pause, and to another replica. After an answer the next request may follow at once,
        // and is still taken.
        if self.drain.is_draining() && kind_of(session) == Kind::Listening {
            session.set_keepalive(None);
        }
        let answer = ended?.answer;
        session.write_response_body(None, true).await.map_err(|error| error.into_down())?;
        Ok(answer)
    }

    async fn forward(
        &self,
        session: &mut Session,
        journey: &Journey,
        link: &mut Link,
        body: &mut RequestBody,
        mut rewriter: Option<EndpointRewriter>,
    ) -> Result<Ended> {
        let (over, leave) = (self.over(journey)?, self.drain.begun());
        pin!(over, leave);
        let kind = kind_of(session);
        let mut pace = Pace::new(&journey.live.streams, kind, Instant::now(), random_fraction());
        let mut border = EventBorder::default();
        // Silence is looked after here: a comment of ours does not break it, and its end is no failure.
        link.allow_silence();
        let (mut leaving, mut empty, mut commented) = (false, true, false);
        let cut = |cause| Ok(Ended { cause, answer: AnswerEnd::Unread });
        loop {
            let now = Instant::now();
            let moment = match pace.due(now, border.is_here()) {
                Due::Until(moment) => moment,
                Due::Comment => {
                    write(session, over.as_mut(), COMMENT).await?;
                    pace.commented(now);
                    commented = true;
                    continue;
                }
                Due::End(cause) => {
                    if kind == Kind::Listening {
                        write(session, over.as_mut(), retry_hint()).await?;
                    }
                    return cut(cause.name());
                }
                Due::GiveUp => {
                    return Err(Error::explain(ErrorType::InternalError, "an event did not come to its end").into_up());
                }
            };
            // What ends the stream comes first: an upstream that is never silent must not outlive it.
            tokio::select! {
                biased;
                _ = &mut over => return cut("session"),
                deadline = &mut leave, if !leaving => {
                    leaving = true;
                    pace.leave(Instant::now(), deadline);
                }
                () = sleep_until(moment) => {}
                piece = link.read_body() => {
                    let Some(mut piece) = piece? else {
                        return Ok(Ended { cause: "upstream", answer: AnswerEnd::Whole });
                    };
                    if empty && commented && piece.starts_with(BYTE_ORDER_MARK) {
                        piece = piece.slice(BYTE_ORDER_MARK.len()..);
                    }
                    empty = false;
                    if let Some(rewriter) = &mut rewriter {
                        piece = self.rewrite_endpoint(rewriter, piece, journey)?;
                    }
                    border.pass(&piece);
                    write(session, over.as_mut(), piece).await?;
                    pace.passed(Instant::now());
                }
                piece = body.next(session), if body.is_watched() => body.pass_on(session, link, piece?).await?,
            }
        }
    }
}

fn kind_of(session: &Session) -> Kind {
    if session.req_header().method == Method::GET { Kind::Listening } else { Kind::Answer }
}

/// Writes to the client; bounded by the write timeout, and by the session's end for a client that does not read.
async fn write(session: &mut Session, over: Pin<&mut impl Future<Output = Denied>>, bytes: Bytes) -> Result<()> {
    tokio::select! {
        biased;
        written = session.write_response_body(Some(bytes), false) => written.map_err(|error| error.into_down()),
        _ = over => {
            Err(Error::explain(ErrorType::WriteError, "the session ended while its client did not read").into_down())
        }
    }
}

/// WHATWG HTML, section 9.2.6: how long to wait before coming again. It is no event, for it has no data.
fn retry_hint() -> Bytes {
    let (least, most) = RETRY_MILLISECONDS;
    let milliseconds = least + (most - least) * random_fraction();
    Bytes::from(format!("retry: {milliseconds:.0}\n\n"))
}
