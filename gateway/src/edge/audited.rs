//! What the audit log gets of requests for upstreams.

use std::time::Duration;

use http::Method;
use pingora_proxy::Session;

use super::Edge;
use super::challenge::reason;
use super::journey::Journey;
use super::route::Target;
use super::tool_gate::said;
use crate::audit::{Context, Event, Field, Kind, Outcome};
use crate::session::Denied;

impl Edge {
    /// What ties lines about this request together.
    pub(super) fn context(&self, session: &Session, journey: &Journey) -> Context {
        Context {
            request_id: Some(journey.id.as_str().into()),
            trace_id: journey.trace_id(&session.req_header().headers),
            address: self.client(session),
        }
    }

    /// A client without a token is how every sign-in begins, and our own trouble is nobody's refusal: neither is noted.
    pub(super) fn note_denial(&self, session: &Session, journey: &Journey, target: &Target, denied: &Denied) {
        let event = |kind| {
            Event::new(kind, Outcome::Refused)
                .at(&self.context(session, journey))
                .text(Field::Upstream, &target.upstream.pool.settings().name)
        };
        match denied {
            Denied::Missing => {}
            Denied::NoAccess { cause, whose } => {
                let event = event(Kind::AccessRefused).text(Field::Reason, "session");
                self.audit.record(whose.of(event.text(Field::Cause, &cause.to_string())));
            }
            denied if denied.is_trouble_behind_us() => {}
            denied => {
                self.audit.record_made(Kind::TokenRejected, |kind| event(kind).text(Field::Reason, reason(denied)));
            }
        }
    }

    /// Of a request that was admitted: its user, client, session and upstream.
    pub(super) fn event_of(&self, session: &Session, journey: &Journey, kind: Kind, outcome: Outcome) -> Event {
        let event = Event::new(kind, outcome).at(&self.context(session, journey));
        let Some(destination) = &journey.destination else { return event };
        let event = destination.admitted.whose().of(event);
        event.text(Field::Upstream, &destination.pool().settings().name)
    }

    /// The calls of tools in a message that went upstream. What they are is known where the body was read for rules on tools, or
    /// where the client says so in the headers of 2026-07-28, whose word it is then; of other messages there is a line without a
    /// method. Of what is known to be no call there is none.
    pub(super) fn note_calls(&self, session: &Session, journey: &Journey, status: u16, took: Duration) {
        let header = session.req_header();
        if !journey.relayed || header.method != Method::POST || !self.audit.wants_calls() {
            return;
        }
        let outcome = match status {
            200..=299 => Outcome::Ok,
            400..=499 => Outcome::Refused,
            _ => Outcome::Failed,
        };
        let event = || {
            self.event_of(session, journey, Kind::ToolCall, outcome)
                .number(Field::Status, status.into())
                .number(Field::Duration, u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
        };
        let call =
            |tool: &str, by| event().text(Field::Method, "tools/call").text(Field::Tool, tool).text(Field::NamedBy, by);
        match (&journey.calls, said(&header.headers)) {
            (Some(tools), _) => tools.iter().for_each(|tool| self.audit.record(call(tool, "body"))),
            (None, Some(("tools/call", tool))) => {
                self.audit.record(call(&tool.unwrap_or_default(), "header"));
            }
            (None, Some(_)) => {}
            (None, None) => self.audit.record(event()),
        }
    }
}
