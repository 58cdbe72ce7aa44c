//! What can go wrong, and the one match that answers it.
//!
//! Two messages each: fixed words for the caller, the cause for the log. Which kind of answer an error has is a matter of
//! who is proven: until a client and its redirect URI are, a page and never a redirect (T8).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::audited::{Asked, Told};
use super::limits::Limited;
use super::no_access::AccessRefused;
use super::redirect_uri::ReturnAddress;
use super::{AuthorizationServer, answer};
use crate::access::NoAccess;
use crate::audit::Subject;
use crate::browser::{Fault, LeavePage, RETRY_AFTER_SECONDS, Reference};
use crate::session::Over;
use crate::store::StoreError;

/// An error of an endpoint. Text in a variant that the caller sees is `&'static`: nothing of a request can get into it.
#[derive(Debug)]
pub enum Error {
    // For a program, as JSON (RFC 6749 section 5.2, RFC 7591 section 3.2.2).
    NotFound,
    /// With the methods that are allowed.
    MethodNotAllowed(&'static str),
    InvalidRequest(&'static str),
    /// The client id is not one of ours, there is none, or it was not proven; current SDKs then register anew (A25).
    InvalidClient {
        used_authorization_header: bool,
        cause: String,
    },
    /// The operator bans it.
    UnauthorizedClient,
    /// All causes look alike to the caller.
    InvalidGrant(Ungranted),
    InvalidTarget,
    UnsupportedGrantType,
    InvalidRedirectUri(&'static str),
    InvalidClientMetadata(&'static str),
    RegistrationClosed,
    /// Transient: clients keep what they have and come again (D8).
    Unavailable(StoreError),
    /// Likewise, when the trouble is Entra's.
    Later {
        retry_after: Option<Duration>,
    },
    /// Likewise: the client's own document is not to be had.
    ClientUnavailable(String),

    /// An address asks too often: in a browser a page.
    TooMany {
        limited: Limited,
        in_a_browser: bool,
    },

    // For a person, as a page.
    Page(Fault, String),

    // For a client, by way of the browser.
    Client(Box<Refusal>),
    /// Likewise, but only if the person wants to go there: nobody vouches for the address, and nobody has been asked yet
    /// (RFC 9700 section 4.11.2).
    UnvouchedClient(Box<Refusal>),
    /// The rules do not let this person in. Said on a page, which then leads to the client.
    NoAccess(Fault, NoAccess, Box<Refusal>),
}

/// Why a code or a refresh token gives no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ungranted {
    #[error("not ours, or of another client")]
    Foreign,
    #[error("the verifier or the redirect URI is another")]
    Mismatch,
    #[error("expired")]
    Expired,
    #[error("redeemed before")]
    Redeemed,
    #[error("the record does not open")]
    Unreadable,
    #[error("{0}")]
    Over(Over),
}

/// A "no" to a client that is proven.
#[derive(Debug)]
pub struct Refusal {
    pub to: ReturnAddress,
    pub reason: Reason,
    pub description: &'static str,
    /// Who has signed in, where the rules say no.
    pub who: Option<Subject>,
}

/// RFC 6749 section 4.1.2.1, RFC 8707 section 2, and for `prompt=none` OpenID Connect Core section 3.1.2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    InvalidRequest,
    InvalidTarget,
    UnsupportedResponseType,
    AccessDenied,
    ServerError,
    TemporarilyUnavailable,
    LoginRequired,
    ConsentRequired,
    InteractionRequired,
}

impl Error {
    pub fn page(fault: Fault, cause: impl std::fmt::Display) -> Self {
        Error::Page(fault, cause.to_string())
    }

    pub fn client(to: ReturnAddress, reason: Reason, description: &'static str) -> Self {
        Error::Client(Box::new(Refusal { to, reason, description, who: None }))
    }

    pub fn unvouched_client(to: ReturnAddress, reason: Reason, description: &'static str) -> Self {
        Error::UnvouchedClient(Box::new(Refusal { to, reason, description, who: None }))
    }
}

impl Error {
    /// A label for metrics and a word for the logs; of a page its code.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::NotFound => "not_found",
            Error::MethodNotAllowed(_) => "method_not_allowed",
            Error::InvalidRequest(_) => "invalid_request",
            Error::InvalidClient { .. } => "invalid_client",
            Error::UnauthorizedClient => "unauthorized_client",
            Error::InvalidGrant(_) => "invalid_grant",
            Error::InvalidTarget => "invalid_target",
            Error::UnsupportedGrantType => "unsupported_grant_type",
            Error::InvalidRedirectUri(_) => "invalid_redirect_uri",
            Error::InvalidClientMetadata(_) => "invalid_client_metadata",
            Error::RegistrationClosed => "registration_closed",
            Error::Unavailable(_) => "store_unavailable",
            Error::Later { .. } => "entra_unavailable",
            Error::ClientUnavailable(_) => "client_document_unavailable",
            Error::TooMany { .. } => "too_many",
            Error::Page(fault, _) | Error::NoAccess(fault, ..) => fault.code(),
            Error::Client(refusal) | Error::UnvouchedClient(refusal) => refusal.reason.as_str(),
        }
    }

    /// Likewise, of a code or a refresh token.
    pub fn grant_reason(&self) -> &'static str {
        match self {
            Error::InvalidGrant(cause) => cause.name(),
            other => other.reason(),
        }
    }
}

impl Ungranted {
    fn name(self) -> &'static str {
        match self {
            Ungranted::Foreign => "foreign",
            Ungranted::Mismatch => "mismatch",
            Ungranted::Expired => "expired",
            Ungranted::Redeemed => "reused",
            Ungranted::Unreadable => "unreadable",
            Ungranted::Over(over) => over.name(),
        }
    }
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidRequest => "invalid_request",
            Reason::InvalidTarget => "invalid_target",
            Reason::UnsupportedResponseType => "unsupported_response_type",
            Reason::AccessDenied => "access_denied",
            Reason::ServerError => "server_error",
            Reason::TemporarilyUnavailable => "temporarily_unavailable",
            Reason::LoginRequired => "login_required",
            Reason::ConsentRequired => "consent_required",
            Reason::InteractionRequired => "interaction_required",
        }
    }
}

impl Refusal {
    fn url(&self, issuer: &str) -> String {
        self.to.with_error(issuer, self.reason.as_str(), self.description)
    }
}

impl AuthorizationServer {
    /// Notes what was refused, and answers it.
    pub(super) fn answer(&self, error: Error, asked: &Asked) -> Response<Bytes> {
        let reference = Reference::random();
        self.note(&error, asked, reference);
        let told = Told { code: error.code(), reason: error.reason() };
        let mut response = self.in_words(error, reference, asked);
        response.extensions_mut().insert(told);
        response
    }

    fn in_words(&self, error: Error, reference: Reference, asked: &Asked) -> Response<Bytes> {
        match error {
            Error::NotFound => problem(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address."),
            Error::MethodNotAllowed(methods) => with(
                problem(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "This method is not served here."),
                ALLOW,
                methods,
            ),
            Error::InvalidRequest(description) => bad_request("invalid_request", description),
            Error::InvalidClient { used_authorization_header, .. } => {
                let response = problem(
                    StatusCode::UNAUTHORIZED,
                    "invalid_client",
                    "This client is not registered here, or its secret is wrong. Register it again.",
                );
                match used_authorization_header {
                    // RFC 6749 section 5.2: the scheme that the client tried must be named.
                    true => with(response, WWW_AUTHENTICATE, r#"Basic realm="sallyport""#),
                    false => response,
                }
            }
            Error::UnauthorizedClient => {
                bad_request("unauthorized_client", "This client may not be used at this server.")
            }
            Error::InvalidGrant(_) => bad_request(
                "invalid_grant",
                "The grant is not valid, was used, or belongs to another client or request.",
            ),
            Error::InvalidTarget => bad_request("invalid_target", "The resource is not one of this server's."),
            Error::UnsupportedGrantType => {
                bad_request("unsupported_grant_type", "Use authorization_code or refresh_token.")
            }
            Error::InvalidRedirectUri(description) => bad_request("invalid_redirect_uri", description),
            Error::InvalidClientMetadata(description) => bad_request("invalid_client_metadata", description),
            Error::RegistrationClosed => {
                problem(StatusCode::FORBIDDEN, "access_denied", "Clients cannot register themselves at this server.")
            }
            Error::Unavailable(cause) => {
                tracing::error!(%cause, "answered 503");
                try_later("A part of this service does not answer. Try again.")
            }
            Error::Later { retry_after } => {
                let mut response = try_later("The sign-in service does not answer. Try again.");
                if let Some(wait) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
                }
                response
            }
            Error::ClientUnavailable(cause) => {
                tracing::warn!(cause, "answered 503");
                try_later("The client's metadata document cannot be read now. Try again.")
            }
            Error::TooMany { limited, in_a_browser } => {
                // No more than this: a flood must not fill the log. It is counted.
                tracing::debug!(limit = limited.limit, %reference, "an address asked too often");
                let mut response = match in_a_browser {
                    true => self.page(Fault::TooMany, reference, asked),
                    false => problem(
                        StatusCode::TOO_MANY_REQUESTS,
                        "slow_down",
                        "Too many requests from this address. Try again later.",
                    ),
                };
                response.headers_mut().insert(RETRY_AFTER, (limited.wait.as_secs() + 1).into());
                response.extensions_mut().insert(limited);
                response
            }
            Error::Page(fault, cause) => {
                if matches!(fault, Fault::Unavailable | Fault::NoClientDocument) {
                    tracing::error!(code = fault.code(), %reference, cause, "answered 503");
                }
                self.page(fault, reference, asked)
            }
            Error::NoAccess(fault, cause, refusal) => {
                let url = refusal.url(self.settings.public_url.as_str());
                let mut response = self.pages.no_access(fault, reference, &url);
                response.extensions_mut().insert(AccessRefused::of(cause));
                response
            }
            Error::Client(refusal) => answer::see_other(&refusal.url(self.settings.public_url.as_str())),
            Error::UnvouchedClient(refusal) => self.pages.leave(LeavePage {
                url: &refusal.url(self.settings.public_url.as_str()),
                destination: refusal.to.redirect_uri.destination(),
                error: refusal.reason.as_str(),
                description: refusal.description,
            }),
        }
    }

    /// For a person; for a program that came here the same words, code and reference as JSON.
    fn page(&self, fault: Fault, reference: Reference, asked: &Asked) -> Response<Bytes> {
        if !asked.prefers_json {
            return self.pages.error(fault, reference);
        }
        let error = match fault.status() {
            StatusCode::FORBIDDEN => "access_denied",
            StatusCode::TOO_MANY_REQUESTS => "slow_down",
            StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            _ => "invalid_request",
        };
        let body = json!({
            "error": error,
            "error_description": format!("{}. {}", fault.title(), fault.advice()),
            "code": fault.code(),
            "reference": reference.to_string(),
        });
        let response = answer::json(fault.status(), &body);
        match fault.status() {
            StatusCode::SERVICE_UNAVAILABLE => with(response, RETRY_AFTER, RETRY_AFTER_SECONDS),
            _ => response,
        }
    }
}

fn bad_request(error: &str, description: &str) -> Response<Bytes> {
    problem(StatusCode::BAD_REQUEST, error, description)
}

fn try_later(description: &str) -> Response<Bytes> {
    let response = problem(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
    with(response, RETRY_AFTER, RETRY_AFTER_SECONDS)
}

fn problem(status: StatusCode, error: &str, description: &str) -> Response<Bytes> {
    answer::json(status, &json!({ "error": error, "error_description": description }))
}

fn with(mut response: Response<Bytes>, name: HeaderName, value: &'static str) -> Response<Bytes> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
