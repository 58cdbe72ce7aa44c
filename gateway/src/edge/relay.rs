//! One exchange with an upstream, from the admitted request to the end of its answer.
//!
//! Pingora's own proxy loop runs no hook while nothing flows, so it can neither keep an idle stream alive nor end one. This
//! loop replaces it for everything that goes upstream (decision 0008), on Pingora's connector and its HTTP sessions. What
//! that loop did for us is done here:
//!
//! | duty | where |
//! | --- | --- |
//! | connect, reuse connections, try again where nothing was sent | `connect` |
//! | hop-by-hop headers and framing, each hop its own (T25) | `upstream_hop`, `headers::hop_by_hop`, `request_body` |
//! | the request's body: bounded, while watching for an early answer and for a client that leaves | `request_body` |
//! | interim answers, answers without a body, bodies as they come | `answer` |
//! | event streams: alive, bounded, ended with their session or a drain | `events`, `pace`, `event_border` |
//! | whoever breaks off is seen to at the other side (C16) | an error on the way drops both connections |
//! | no tunnels: `Upgrade` is not passed on, 101 is no answer | `upstream_hop`, `answer` |
//!
//! Trailers are dropped, either way: MCP has none.

mod answer;
mod connect;
mod event_border;
mod events;
mod pace;
mod request_body;

use pingora::prelude::Result;
use pingora_proxy::Session;

pub use connect::Upstreams;
pub use pace::StreamSettings;
pub use request_body::next_piece;

use super::http_messages::linger;
use super::journey::Journey;
use super::upstream_hop::AnswerBody;
use super::{Edge, Method};
use crate::session::Denied;
use connect::Link;
use request_body::RequestBody;

impl Edge {
    /// Carries the request upstream and the answer back. After an error the answer may have begun, and then its client sees
    /// it break off.
    pub(super) async fn relay(&self, session: &mut Session, journey: &mut Journey) -> Result<()> {
        let mut link = self.connect(journey).await?;
        let mut body = RequestBody::of(session, journey.body.take());
        let mut done = self.exchange(session, journey, &mut link, &mut body).await;
        if let Err(error) = &done
            && link.was_stale(error)
            && body.is_untouched()
            && is_idempotent(&session.req_header().method)
        {
            // The server had closed a connection that was waiting here. A POST is never sent twice, whatever became of it.
            link = self.connect(journey).await?;
            body = RequestBody::of(session, journey.body.take());
            done = self.exchange(session, journey, &mut link, &mut body).await;
        }
        if let Err(error) = &done
            && link.broke(error)
        {
            self.no_answer(journey, journey.destination()?.pool(), journey.peer()?.address, error);
        }
        match done? {
            AnswerEnd::Whole if body.is_done() => self.upstreams.keep(link).await,
            AnswerEnd::Whole | AnswerEnd::Unread => drop(link),
            AnswerEnd::Denied(denied) => {
                drop(link);
                return self.deny(session, journey, &journey.destination()?.target, &denied).await;
            }
        }
        if !body.is_done() {
            linger(session).await;
        }
        Ok(())
    }

    async fn exchange(
        &self,
        session: &mut Session,
        journey: &mut Journey,
        link: &mut Link,
        body: &mut RequestBody,
    ) -> Result<AnswerEnd> {
        let mut request = self.prepare(session, journey)?;
        body.frame(&mut request)?;
        link.send(request).await?;
        body.begin(session, link).await?;
        let over = self.sessions.over(&journey.destination()?.admitted);
        let mut response = match answer::header(session, link, body, over).await? {
            Ok(response) => response,
            Err(denied) => return Ok(AnswerEnd::Denied(denied)),
        };
        journey.destination()?.pool().answered(journey.peer()?.address);
        self.metrics.first_byte(journey.started.elapsed());
        let answer = self.receive(session.req_header(), &mut response, journey)?;
        let response = Box::new(response);
        match answer {
            AnswerBody::None => {
                session.write_response_header(response, true).await.map_err(|error| error.into_down())?;
                session.write_response_body(None, true).await.map_err(|error| error.into_down())?;
                Ok(if link.is_done() { AnswerEnd::Whole } else { AnswerEnd::Unread })
            }
            AnswerBody::Whole => {
                session.write_response_header(response, false).await.map_err(|error| error.into_down())?;
                let over = self.sessions.over(&journey.destination()?.admitted);
                answer::body(session, link, body, over).await?;
                Ok(AnswerEnd::Whole)
            }
            AnswerBody::Events(rewriter) => self.events(session, journey, link, body, response, rewriter).await,
        }
    }
}

/// How far the upstream's answer was read.
enum AnswerEnd {
    Whole,
    /// Its connection cannot be used again.
    Unread,
    /// Not at all: the session ended before it came.
    Denied(Denied),
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE)
}
