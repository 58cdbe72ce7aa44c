//! What the audit log gets of our endpoints, and what the access log is told of their answers.

use bytes::Bytes;
use http::{Method, Request};

use super::AuthorizationServer;
use super::client::ClientRef;
use super::error::Error;
use super::parameters::Parameters;
use super::records::AuthorizationRequest;
use crate::audit::{Context, Event, Field, Kind, Outcome};
use crate::browser::{Fault, Reference, prefers_json};

/// Rides on an answer that is no success, for whoever counts and for the access log.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Of a page: `SP-1303`.
    pub code: Option<&'static str>,
    pub reason: &'static str,
}

/// Which request was refused.
pub(super) struct Asked {
    context: Context,
    /// As the request names it, proven or not.
    client: Option<ClientRef>,
    /// A program asks where only browsers are expected.
    pub prefers_json: bool,
}

impl Asked {
    /// The client is the one that the request names in clear.
    pub fn of(request: &Request<Bytes>) -> Self {
        let text = match *request.method() {
            Method::POST => request.body(),
            _ => request.uri().query().unwrap_or_default().as_bytes(),
        };
        let parameters = Parameters::parse(text);
        let client = parameters.one("client_id").ok().flatten().map(ClientRef::of);
        Self { context: Context::of(request), client, prefers_json: prefers_json(request.headers()) }
    }

    pub fn by(self, client: ClientRef) -> Self {
        Self { client: Some(client), ..self }
    }
}

impl AuthorizationServer {
    /// The one match from an error to what is noted of it. Our own trouble, and what a limit turned away, is no refusal.
    pub(super) fn note(&self, error: &Error, asked: &Asked, reference: Reference) {
        let refused = |kind| {
            let event = Event::new(kind, Outcome::Refused).at(&asked.context);
            match asked.client {
                Some(client) => event.client(*client.as_bytes()),
                None => event,
            }
            .text(Field::Reason, error.reason())
        };
        let page = |event: Event, fault: &Fault| {
            event.text(Field::Code, fault.code()).text(Field::Reference, &reference.to_string())
        };
        self.audit.record(match error {
            Error::InvalidGrant(cause) => refused(Kind::GrantRefused).text(Field::Cause, &cause.to_string()),
            Error::InvalidClient { cause, .. } => refused(Kind::ClientRefused).text(Field::Cause, cause),
            Error::UnauthorizedClient | Error::RegistrationClosed => refused(Kind::ClientRefused),
            Error::InvalidRedirectUri(cause) | Error::InvalidClientMetadata(cause) => {
                refused(Kind::ClientRefused).text(Field::Cause, cause)
            }
            Error::Page(Fault::Unavailable | Fault::NoClientDocument, _) => return,
            Error::Page(fault, cause) => page(refused(Kind::SignInRefused), fault).text(Field::Cause, cause),
            Error::NoAccess(fault, cause, refusal) => {
                let event = page(refused(Kind::SignInRefused), fault).text(Field::Cause, &cause.to_string());
                match refusal.who {
                    Some(who) => event.who(who),
                    None => event,
                }
            }
            Error::Client(refusal) | Error::UnvouchedClient(refusal) => {
                let event = refused(Kind::SignInRefused).text(Field::Cause, refusal.description);
                match refusal.who {
                    Some(who) => event.who(who),
                    None => event,
                }
            }
            Error::NotFound
            | Error::MethodNotAllowed(_)
            | Error::InvalidRequest(_)
            | Error::InvalidTarget
            | Error::UnsupportedGrantType
            | Error::Unavailable(_)
            | Error::Later { .. }
            | Error::ClientUnavailable(_)
            | Error::TooMany { .. } => return,
        });
    }

    /// Nobody has signed in yet: who it was that decided, nobody knows. The sign-in that follows says who the browser's user was.
    pub(super) fn note_consent(
        &self,
        kind: Kind,
        asked: &AuthorizationRequest,
        context: &Context,
        remembered: Option<bool>,
    ) {
        let outcome = if kind == Kind::ConsentDenied { Outcome::Refused } else { Outcome::Ok };
        let event = Event::new(kind, outcome)
            .at(context)
            .client(*asked.client.as_bytes())
            .text(Field::Resource, &asked.resource)
            .text(Field::Name, &asked.client_name.to_string());
        self.audit.record(match remembered {
            Some(remembered) => event.flag(Field::Remembered, remembered),
            None => event,
        });
    }
}

impl Error {
    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Error::Page(fault, _) | Error::NoAccess(fault, ..) => Some(fault.code()),
            _ => None,
        }
    }
}
