//! The gate: what is answered here, and who is let through to an upstream.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::prelude::Result;
use pingora::protocols::l4::socket::SocketAddr;
use pingora_proxy::Session;

use super::headers::{Caller, with_headers};
use super::http_messages::{Whole, declared_length, discard_small_body, linger, read_whole, write_whole};
use super::journey::{Destination, Journey};
use super::refusal::Refusal;
use super::route::{Endpoint, Target};
use super::{Edge, MCP_SESSION_ID, challenge};
use crate::audit::{Event, Field, Kind, Outcome};
use crate::oauth::{AccessRefused, Granted, Limited, Served, Told};
use crate::pool::{McpSession, Name};
use crate::session::{Admitted, Denied};
use crate::source::SourceAddress;
use crate::store::StoreError;

impl Edge {
    /// Ours is the host of the public URL and no other: DNS rebinding ends here (T30).
    pub(super) fn is_for_us(&self, session: &Session) -> bool {
        let header = session.req_header();
        let host = header.uri.authority().map(|authority| authority.as_str());
        let host = host.or_else(|| header.headers.get(HOST).and_then(|value| value.to_str().ok()));
        host.is_some_and(|host| self.public_url.is_at(host))
    }

    /// What somebody is told who asks for another host, or for none.
    pub(super) fn misdirected(session: &Session) -> Refusal {
        let header = session.req_header();
        let old = header.version < Version::HTTP_11;
        if old || header.uri.authority().is_some() || header.headers.contains_key(HOST) {
            return Refusal::ForeignHost;
        }
        // RFC 9112 section 3.2 leaves no choice.
        Refusal::BadRequest
    }

    /// Who a request is from; `None` on a Unix socket, where nobody has an address.
    pub(super) fn client(&self, session: &Session) -> Option<IpAddr> {
        let peer = session.client_addr().and_then(SocketAddr::as_inet)?;
        Some(self.trusted_proxies.client(peer.ip(), &session.req_header().headers))
    }

    /// Our own endpoints: the body read whole, the answer written whole.
    pub(super) async fn authorize(&self, session: &mut Session, journey: &mut Journey) -> Result<bool> {
        let client = self.client(session);
        match read_whole(session, client, &self.bounds).await? {
            Whole::Unreadable => self.refuse(session, journey, Refusal::BadRequest).await,
            Whole::Request(mut request) => {
                request.extensions_mut().insert(self.context(session, journey));
                let answer = journey.live.oauth.handle(*request).await;
                if let Some(served) = answer.extensions().get::<Served>() {
                    self.metrics.oauth_answered(served.endpoint, served.result, served.took);
                }
                if let Some(granted) = answer.extensions().get::<Granted>() {
                    self.metrics.granted(granted.grant, granted.result);
                }
                if let Some(limited) = answer.extensions().get::<Limited>() {
                    self.metrics.limited(limited.limit);
                }
                if let Some(refused) = answer.extensions().get::<AccessRefused>() {
                    self.metrics.access_refused(refused.kind);
                }
                if let Some(told) = answer.extensions().get::<Told>() {
                    (journey.code, journey.reason) = (told.code, Some(told.reason));
                }
                write_whole(session, answer).await?;
                Ok(true)
            }
            Whole::TooLarge => self.refuse(session, journey, Refusal::BodyTooLarge).await,
            Whole::TooSlow => self.refuse(session, journey, Refusal::BodyTooSlow).await,
        }
    }

    /// The gate of every upstream. Answers (`true`) or lets the journey go on (`false`) with a permit.
    pub(super) async fn admit(&self, session: &mut Session, journey: &mut Journey, target: Target) -> Result<bool> {
        journey.route = target.endpoint.name();
        journey.target = Some(target.clone());
        let header = session.req_header();
        journey.caller = journey.live.origins.caller(&header.headers);
        if journey.caller == Caller::Stranger {
            return self.refuse(session, journey, Refusal::ForeignOrigin).await;
        }
        if header.method == Method::OPTIONS {
            let preflight = journey.caller.preflight(&header.headers);
            let answer =
                Response::builder().status(StatusCode::NO_CONTENT).body(Bytes::new()).expect("no parts to fail");
            write_whole(session, with_headers(answer, preflight)).await?;
            return Ok(true);
        }
        // Nothing of an upstream is in it, and no token was shown: a page about the address that was typed.
        if header.method == Method::GET && target.endpoint != Endpoint::Message {
            let page = journey.live.oauth.how_to_connect(&header.headers, &target.upstream.resource);
            if let Some(page) = page {
                // 401 all the same: a program that only looks like a browser still learns where to sign in.
                write_whole(session, target.challenge().with_page(page)).await?;
                return Ok(true);
            }
        }
        // One header, once: with two, whoever reads the other one would see another caller.
        let mut values = header.headers.get_all(AUTHORIZATION).iter();
        let authorization = values.next().filter(|_| values.next().is_none());
        match journey.live.sessions.admit(authorization, target.upstream.resource.url()).await {
            Ok(admitted) => {
                let stages = admitted.stages();
                self.metrics.admitted(admitted.tier().name(), stages.open, stages.lookup);
                journey.stages.admitted = Some(journey.started.elapsed());
                if let Err(wait) = journey.live.limits.request(admitted.session(), admitted.watch().requests()) {
                    self.metrics.limited("requests");
                    return self.refuse(session, journey, Refusal::TooManyRequests { wait }).await;
                }
                let Some(mcp_session) = self.mcp_session(session, &target, &admitted) else {
                    let foreign = Event::new(Kind::McpSessionRefused, Outcome::Refused);
                    let foreign = foreign.at(&self.context(session, journey));
                    let upstream = &target.upstream.pool.settings().name;
                    self.audit.record(admitted.whose().of(foreign).text(Field::Upstream, upstream));
                    return self.refuse(session, journey, Refusal::UnknownSession).await;
                };
                journey.destination = Some(Destination { target, admitted, session: mcp_session });
                self.check(session, journey).await
            }
            Err(denied) => {
                self.deny(session, journey, &target, &denied).await?;
                Ok(true)
            }
        }
    }

    pub(super) async fn deny(
        &self,
        session: &mut Session,
        journey: &mut Journey,
        target: &Target,
        denied: &Denied,
    ) -> Result<()> {
        journey.reason = Some(challenge::reason(denied));
        self.note_denial(session, journey, target, denied);
        self.metrics.rejected(challenge::reason(denied));
        if matches!(denied, Denied::NoAccess { .. }) {
            self.metrics.access_refused("session");
        }
        match denied {
            // Nobody but a writer to the store can cause it.
            Denied::Store(cause @ StoreError::Unreadable { .. }) => {
                tracing::error!(request_id = journey.id, %cause, "a stored session was altered");
            }
            _ => tracing::debug!(request_id = journey.id, cause = %denied, "not admitted"),
        }
        let source = self.client(session).map_or(SourceAddress::UNKNOWN, SourceAddress::new);
        if !denied.is_trouble_behind_us()
            && let Err(wait) = journey.live.limits.refusal(source)
        {
            // Only who would be refused anyway: a good token is served from any address.
            self.metrics.limited("refusals");
            return self.refuse(session, journey, Refusal::TooManyRequests { wait }).await.map(|_| ());
        }
        let answer = with_headers(target.challenge().answer(denied), journey.caller.cors());
        discard_small_body(session).await;
        write_whole(session, answer).await
    }

    /// What even an admitted request may not do.
    pub(super) async fn check(&self, session: &mut Session, journey: &mut Journey) -> Result<bool> {
        let header = session.req_header();
        let refusal = if ![Method::GET, Method::POST, Method::DELETE, Method::HEAD].contains(&header.method) {
            Some(Refusal::Method)
        } else if has_token_in_query(header.uri.query()) {
            Some(Refusal::TokenInQuery)
        } else if declared_length(&header.headers).is_some_and(|length| length > self.bounds.message_size) {
            Some(Refusal::BodyTooLarge)
        } else if !self.has_room_for_a_stream(header, journey)? {
            self.metrics.limited("streams");
            Some(Refusal::TooManyStreams)
        } else {
            journey.exchange = journey.live.limits.exchange();
            let refused = journey.exchange.is_none();
            refused.then(|| {
                self.metrics.limited("exchanges");
                Refusal::TooManyExchanges
            })
        };
        match refusal {
            Some(refusal) => self.refuse(session, journey, refusal).await,
            None => Ok(false),
        }
    }

    /// A `GET` takes its place among the streams of its session now. A `POST` may be answered by a stream or not: it is refused
    /// while there is no place, and never once its call has been made, so that calls in flight may pass the limit.
    fn has_room_for_a_stream(&self, header: &RequestHeader, journey: &mut Journey) -> Result<bool> {
        let destination = journey.destination()?;
        let (watch, limit) = (destination.admitted.watch(), journey.live.streams.per_session);
        let at_messages = destination.target.endpoint == Endpoint::Message;
        Ok(match header.method {
            _ if at_messages => true,
            Method::GET => {
                let slot = watch.try_open_stream(limit);
                journey.slot = slot;
                journey.slot.is_some()
            }
            Method::POST if accepts_events(&header.headers) => watch.streams() < limit,
            _ => true,
        })
    }

    pub(super) fn count(&self, refusal: &Refusal) {
        self.metrics.refused(refusal.name());
        if let Some(limit) = refusal.limit() {
            self.metrics.limited(limit);
        }
    }

    pub(super) async fn refuse(&self, session: &mut Session, journey: &mut Journey, refusal: Refusal) -> Result<bool> {
        journey.reason = Some(refusal.name());
        tracing::debug!(request_id = journey.id, ?refusal, "refused");
        self.count(&refusal);
        let answer = with_headers(refusal.answer(), journey.caller.cors());
        if refusal == Refusal::BodyTooLarge || refusal == Refusal::BodyTooSlow {
            session.set_keepalive(None);
            write_whole(session, answer).await?;
            linger(session).await;
        } else {
            discard_small_body(session).await;
            write_whole(session, answer).await?;
        }
        Ok(true)
    }

    /// The upstream's session that a request names; `Some(None)` when it names none and needs none, `None` when it names
    /// one that is not this user's.
    fn mcp_session(&self, session: &Session, target: &Target, admitted: &Admitted) -> Option<Option<McpSession>> {
        let header = session.req_header();
        let open =
            |sealed: &str| McpSession::open(&self.sealer, admitted.session(), target.upstream.resource.url(), sealed);
        match target.endpoint {
            Endpoint::Message => {
                let opened = open(header.uri.query()?.strip_prefix("sessionId=")?)?;
                matches!(opened.name(), Name::MessageEndpoint(_)).then_some(Some(opened))
            }
            Endpoint::Streamable | Endpoint::Sse => {
                let Some(sealed) = header.headers.get(MCP_SESSION_ID) else { return Some(None) };
                let opened = open(sealed.to_str().ok()?)?;
                matches!(opened.name(), Name::Id(_)).then_some(Some(opened))
            }
        }
    }
}

/// Clients of Streamable HTTP must say so in words (C14). What says nothing, or `*/*`, is a client of its own making, and
/// counts too.
fn accepts_events(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    values.peek().is_none()
        || values
            .any(|value| value.to_str().is_ok_and(|value| value.contains("text/event-stream") || value.contains("*/*")))
}

/// RFC 6750 section 2.3 is not supported: URLs end up in logs and histories (B6).
fn has_token_in_query(query: Option<&str>) -> bool {
    query.is_some_and(|query| form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token"))
}
