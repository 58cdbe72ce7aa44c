//! One exchange with an upstream, from the admitted request to the end of its answer.
//!
//! Pingora's own proxy loop runs no hook while nothing flows, so it can neither keep an idle stream alive nor end one. This
//! loop replaces it for everything that goes upstream (decision 0008), on Pingora's connector and its HTTP sessions. What
//! that loop did for us is done here:
//!
//! | duty | where |
//! | --- | --- |
//! | connect, reuse connections, try again where nothing was sent | `connect` |
//! | one send for a header and the body that came with it | `held`, `request_body` |
//! | a server that refuses Entra's token: once more with a new one, or our own challenge (B11) | here |
//! | hop-by-hop headers and framing, each hop its own (T25) | `upstream_hop`, `headers::hop_by_hop`, `request_body` |
//! | the request's body: bounded, while watching for an early answer and for a client that leaves | `request_body` |
//! | interim answers, answers without a body, bodies as they come | `answer` |
//! | event streams: alive, bounded, ended with their session or a drain | `events`, `pace`, `event_border` |
//! | whoever breaks off is seen to at the other side (C16) | an error on the way drops both connections; over HTTP/2 it resets the stream |
//! | HTTP/2 to servers: addressing, errors, connections that are shared | `http2`, `turns` |
//! | no tunnels: `Upgrade` is not passed on, 101 is no answer | `upstream_hop`, `answer` |
//!
//! Trailers are dropped, either way: MCP has none.
//!
//! Each phase is boxed where it is waited for. A future holds all that may ever be alive in it, one place after the other, and a
//! stream would keep for hours what connecting once needed.

mod answer;
mod connect;
mod event_border;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod held;
mod http2;
mod pace;
mod request_body;
mod turns;

use entra::ClaimsRequest;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;
use pingora_proxy::Session;

pub use connect::Upstreams;
pub use pace::StreamSettings;
pub use request_body::{Pace, next_piece};

use super::http_messages::linger;
use super::journey::Journey;
use super::upstream_hop::AnswerBody;
use super::{Edge, Method};
use crate::pool::EndpointRewriter;
use crate::session::Denied;
use crate::traces;
use connect::{Link, was_not_processed};
use request_body::RequestBody;

impl Edge {
    /// Carries the request upstream and the answer back. After an error the answer may have begun, and then its client sees
    /// it break off.
    pub(super) async fn relay(&self, session: &mut Session, journey: &mut Journey) -> Result<()> {
        let mut body = match journey.body.take() {
            Some(read) => RequestBody::read(read, &self.bounds),
            None => RequestBody::of(session, &self.bounds),
        };
        let mut link = None;
        let mut done = Box::pin(self.attempt(session, journey, &mut body, &mut link)).await;
        if let Ok(AnswerEnd::Refused(claims)) = &mut done {
            match Box::pin(self.renew(journey, claims.take())).await {
                // The server has refused to execute it: even a POST may come again.
                Ok(()) if body.rewind() => {
                    done = Box::pin(self.attempt(session, journey, &mut body, &mut link)).await;
                }
                // The client still has the body, and its next try finds the new token.
                Ok(()) => {}
                Err(denied) => done = Ok(AnswerEnd::Denied(denied)),
            }
        }
        if let Some(link) = link {
            if let Err(error) = &done
                && link.broke(error)
            {
                self.no_answer(journey, journey.destination()?.pool(), journey.peer()?.address, error);
            }
            let well = matches!(done, Ok(AnswerEnd::Whole)) && body.is_done();
            Box::pin(self.upstreams.release(link, well)).await;
        }
        let denied = match done? {
            AnswerEnd::Whole | AnswerEnd::Unread => None,
            AnswerEnd::Refused(_) => Some(Denied::Refused),
            AnswerEnd::Denied(denied) => Some(denied),
        };
        if let Some(denied) = denied {
            let target = journey.destination()?.target.clone();
            Box::pin(self.deny(session, journey, &target, &denied)).await?;
        }
        if !body.is_done() {
            linger(session).await;
        }
        Ok(())
    }

    /// One exchange, or two where the first did not reach the server. `link` is what the last one was carried by, and `None`
    /// when there was no connection.
    async fn attempt(
        &self,
        session: &mut Session,
        journey: &mut Journey,
        body: &mut RequestBody,
        link: &mut Option<Link>,
    ) -> Result<AnswerEnd> {
        let connected = Box::pin(self.reconnect(journey, link)).await?;
        let done = Box::pin(self.exchange(session, journey, connected, body)).await;
        if let Err(error) = &done
            && (was_not_processed(error)
                // The server had closed a connection that was waiting here. Then a POST is never sent twice, whatever became of it.
                || connected.was_stale(error) && body.is_untouched() && is_idempotent(&session.req_header().method))
            && body.rewind()
        {
            let connected = Box::pin(self.reconnect(journey, link)).await?;
            return Box::pin(self.exchange(session, journey, connected, body)).await;
        }
        done
    }

    /// Another connection in the place of what there is.
    async fn reconnect<'a>(&self, journey: &mut Journey, link: &'a mut Option<Link>) -> Result<&'a mut Link> {
        if let Some(other) = link.take() {
            self.upstreams.release(other, false).await;
        }
        Ok(link.insert(self.connect(journey).await?))
    }

    /// Waits for what ends the exchange before its answer does.
    fn over<'a>(&self, journey: &'a Journey) -> Result<impl Future<Output = Denied> + use<'a>> {
        let destination = journey.destination()?;
        Ok(journey.live.sessions.over(&destination.admitted, destination.target.upstream.resource.url()))
    }

    async fn exchange(
        &self,
        session: &mut Session,
        journey: &mut Journey,
        link: &mut Link,
        body: &mut RequestBody,
    ) -> Result<AnswerEnd> {
        match Box::pin(self.ask(session, journey, link, body)).await? {
            Answered::End(end) => Ok(end),
            Answered::Body => {
                let over = self.over(journey)?;
                Box::pin(answer::body(session, link, body, over)).await?;
                Ok(AnswerEnd::Whole)
            }
            Answered::Events(response, rewriter) => {
                Box::pin(self.events(session, journey, link, body, response, rewriter)).await
            }
        }
    }

    /// Sends the request, and passes the header of the answer on, but for that of an event stream.
    async fn ask(
        &self,
        session: &mut Session,
        journey: &mut Journey,
        link: &mut Link,
        body: &mut RequestBody,
    ) -> Result<Answered> {
        let mut request = self.prepare(session, journey)?;
        body.frame(&mut request.headers, link.is_http2());
        link.send(request.into(), body.is_empty()).await?;
        self.metrics.forwarded(journey.started.elapsed());
        body.begin(session, link).await?;
        let over = self.over(journey)?;
        let response = match Box::pin(answer::header(session, link, body, over)).await? {
            Ok(response) => response,
            Err(denied) => return Ok(Answered::End(AnswerEnd::Denied(denied))),
        };
        let pool = journey.destination()?.pool();
        pool.answered(journey.peer()?.address);
        journey.destination()?.counts().answered(response.status.as_u16());
        journey.trace.iter().for_each(|trace| trace.answered(response.status.as_u16()));
        if response.status == StatusCode::UNAUTHORIZED {
            let challenges = response.headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
            return Ok(Answered::End(AnswerEnd::Refused(ClaimsRequest::in_challenges(challenges))));
        }
        body.forget();
        let answered = journey.started.elapsed();
        journey.stages.answered = Some(answered);
        self.metrics.first_byte(answered);
        let (response, answer) = self.receive(session.req_header(), response, journey)?;
        if self.drain.is_draining() {
            // It may have begun since the request came. Who is not told sends the next one into a closing connection.
            session.set_keepalive(None);
        }
        match answer {
            AnswerBody::None => {
                session.write_response_header(response, true).await.map_err(|error| error.into_down())?;
                session.write_response_body(None, true).await.map_err(|error| error.into_down())?;
                Ok(Answered::End(if link.is_done() { AnswerEnd::Whole } else { AnswerEnd::Unread }))
            }
            AnswerBody::Whole => {
                session.write_response_header(response, false).await.map_err(|error| error.into_down())?;
                Ok(Answered::Body)
            }
            AnswerBody::Events(rewriter) => Ok(Answered::Events(response, rewriter)),
        }
    }

    /// An upstream that refuses Entra's token speaks of its own authority, and the client only knows us: nothing of such an
    /// answer is passed on. A newer token may do (B11).
    async fn renew(&self, journey: &mut Journey, claims: Option<ClaimsRequest>) -> std::result::Result<(), Denied> {
        let Some(destination) = &mut journey.destination else { return Err(Denied::Refused) };
        let upstream = &destination.target.upstream.pool.settings().name;
        let wants_claims = claims.is_some();
        tracing::warn!(request_id = journey.id, upstream, wants_claims, "the upstream refused Entra's token");
        destination.counts().failed(if wants_claims { "insufficient_claims" } else { "refused_token" });
        let renewed = Box::pin(journey.live.sessions.renew_refused(&mut destination.admitted, claims));
        traces::within(journey.trace.clone(), renewed).await
    }
}

/// What there is to do when the header of the answer has come.
enum Answered {
    /// Nothing more.
    End(AnswerEnd),
    Body,
    Events(Box<ResponseHeader>, Option<EndpointRewriter>),
}

/// How far the upstream's answer was read.
enum AnswerEnd {
    Whole,
    /// Its connection cannot be used again.
    Unread,
    /// Not at all: it is 401, and says what it wants if that is more than another token.
    Refused(Option<ClaimsRequest>),
    /// Not at all: the session ended before it came, or has no token that serves.
    Denied(Denied),
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE)
}
