//! What the edge itself says no to, and how.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use pingora::prelude::{Error, ErrorType};
use pingora::{ErrorSource, ErrorType as E};

use super::challenge::{problem, too_many, unavailable};

/// Another stream must end first; nobody knows when.
const STREAM_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    ForeignHost,
    ForeignOrigin,
    UnknownPath,
    UnknownSession,
    Method,
    TokenInQuery,
    HeaderTooLarge,
    BodyTooLarge,
    BodyTooSlow,
    TooManyStreams,
    TooManyRequests { wait: Duration },
    TooManyExchanges,
    BadRequest,
    NoUpstream,
    UpstreamSlow,
    UpstreamFailed,
    Internal,
}

impl Refusal {
    /// The one match from what went wrong in the relay to an answer; `None` when the client is gone.
    pub fn from_error(error: &Error) -> Option<Self> {
        Some(match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(404), _) => Refusal::UnknownSession,
            (ErrorType::HTTPStatus(413), _) => Refusal::BodyTooLarge,
            (ErrorType::HTTPStatus(400), _) => Refusal::BadRequest,
            (ErrorType::HTTPStatus(503), _) => Refusal::NoUpstream,
            (ErrorType::HTTPStatus(502), _) => Refusal::UpstreamFailed,
            (
                E::ConnectTimedout | E::ReadTimedout | E::WriteTimedout | E::TLSHandshakeTimedout,
                ErrorSource::Upstream,
            ) => Refusal::UpstreamSlow,
            (_, ErrorSource::Upstream) => Refusal::UpstreamFailed,
            (
                E::WriteError | E::WriteTimedout | E::ReadError | E::ConnectionClosed | E::H2Error,
                ErrorSource::Downstream,
            ) => return None,
            (E::ReadTimedout, ErrorSource::Downstream) => Refusal::BodyTooSlow,
            (_, ErrorSource::Downstream) => Refusal::BadRequest,
            (_, ErrorSource::Internal | ErrorSource::Unset) => Refusal::Internal,
        })
    }

    /// A label for the metric of upstream failures; `None` when it was not the upstream's.
    pub fn upstream_cause(&self) -> Option<&'static str> {
        match self {
            Refusal::NoUpstream => Some("none_well"),
            Refusal::UpstreamSlow => Some("slow"),
            Refusal::UpstreamFailed => Some("failed"),
            _ => None,
        }
    }

    /// A label for the metric of limits; `None` when none of [`Bounds`](super::Bounds) was met.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Refusal::HeaderTooLarge => Some("header_size"),
            Refusal::BodyTooLarge => Some("body_size"),
            Refusal::BodyTooSlow => Some("body_deadline"),
            _ => None,
        }
    }

    /// A label for metrics, and a word for the access log.
    pub fn name(&self) -> &'static str {
        match self {
            Refusal::ForeignHost => "foreign_host",
            Refusal::ForeignOrigin => "foreign_origin",
            Refusal::UnknownPath => "unknown_path",
            Refusal::UnknownSession => "unknown_session",
            Refusal::Method => "method",
            Refusal::TokenInQuery => "token_in_query",
            Refusal::HeaderTooLarge => "header_too_large",
            Refusal::BodyTooLarge => "body_too_large",
            Refusal::BodyTooSlow => "body_too_slow",
            Refusal::TooManyStreams => "too_many_streams",
            Refusal::TooManyRequests { .. } => "too_many_requests",
            Refusal::TooManyExchanges => "too_many_exchanges",
            Refusal::BadRequest => "bad_request",
            Refusal::NoUpstream => "no_upstream",
            Refusal::UpstreamSlow => "upstream_slow",
            Refusal::UpstreamFailed => "upstream_failed",
            Refusal::Internal => "internal",
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Refusal::ForeignOrigin => StatusCode::FORBIDDEN,
            Refusal::UnknownPath | Refusal::UnknownSession => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::TokenInQuery | Refusal::BadRequest => StatusCode::BAD_REQUEST,
            Refusal::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            Refusal::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::TooManyExchanges | Refusal::NoUpstream => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::UpstreamSlow => StatusCode::GATEWAY_TIMEOUT,
            Refusal::UpstreamFailed => StatusCode::BAD_GATEWAY,
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub fn answer(&self) -> Response<Bytes> {
        let status = self.status();
        match self {
            Refusal::ForeignHost => problem(status, "misdirected_request", "This host is not served here."),
            Refusal::ForeignOrigin => problem(status, "forbidden", "Pages of this origin may not call this server."),
            Refusal::UnknownPath => problem(status, "not_found", "There is nothing at this path."),
            Refusal::UnknownSession => problem(status, "not_found", "This session has ended, or is not yours."),
            Refusal::Method => {
                let mut answer = problem(status, "method_not_allowed", "MCP uses GET, POST and DELETE.");
                answer
                    .headers_mut()
                    .insert(http::header::ALLOW, HeaderValue::from_static("GET, POST, DELETE, OPTIONS"));
                answer
            }
            Refusal::TokenInQuery => {
                problem(status, "invalid_request", "Send the token in the Authorization header, never in the URL.")
            }
            Refusal::BadRequest => problem(status, "invalid_request", "The request could not be read."),
            Refusal::HeaderTooLarge => problem(status, "invalid_request", "The header is too large."),
            Refusal::BodyTooLarge => problem(status, "invalid_request", "The body is too large."),
            Refusal::BodyTooSlow => problem(status, "invalid_request", "The body did not arrive in time."),
            Refusal::TooManyStreams => too_many(STREAM_WAIT),
            Refusal::TooManyRequests { wait } => too_many(*wait),
            Refusal::TooManyExchanges => unavailable(status, "temporarily_unavailable", "Too much is under way here."),
            Refusal::NoUpstream => unavailable(status, "temporarily_unavailable", "The MCP server is not available."),
            Refusal::UpstreamSlow => {
                unavailable(status, "temporarily_unavailable", "The MCP server did not answer in time.")
            }
            Refusal::UpstreamFailed => {
                unavailable(status, "temporarily_unavailable", "The MCP server failed to answer.")
            }
            Refusal::Internal => problem(status, "server_error", "Something went wrong at the edge."),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;
    use serde_json::Value;

    use super::*;
    use crate::documented::{is_generated, table};

    const ALL: [Refusal; 17] = [
        Refusal::ForeignHost,
        Refusal::ForeignOrigin,
        Refusal::UnknownPath,
        Refusal::UnknownSession,
        Refusal::Method,
        Refusal::TokenInQuery,
        Refusal::HeaderTooLarge,
        Refusal::BodyTooLarge,
        Refusal::BodyTooSlow,
        Refusal::TooManyStreams,
        Refusal::TooManyRequests { wait: Duration::ZERO },
        Refusal::TooManyExchanges,
        Refusal::BadRequest,
        Refusal::NoUpstream,
        Refusal::UpstreamSlow,
        Refusal::UpstreamFailed,
        Refusal::Internal,
    ];

    /// Of an OAuth error its word and sentence, of one of JSON-RPC its number and message.
    fn row(refusal: &Refusal) -> Vec<String> {
        let answer = refusal.answer();
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        let (error, says) = match &body["error"] {
            Value::String(error) => (error.clone(), &body["error_description"]),
            error => (error["code"].to_string(), &error["message"]),
        };
        let again = if answer.headers().contains_key(RETRY_AFTER) { "yes" } else { "" };
        let says = says.as_str().unwrap().to_owned();
        vec![
            format!("`{}`", refusal.name()),
            answer.status().as_u16().to_string(),
            format!("`{error}`"),
            says,
            again.into(),
        ]
    }

    #[test]
    fn the_reference_has_every_refusal_of_the_edge() {
        let mut names: Vec<_> = ALL.iter().map(Refusal::name).collect();
        names.sort_unstable();
        let mut counted = crate::metrics::labels::REFUSALS.to_vec();
        counted.sort_unstable();
        assert_eq!(names, counted, "each has a label of its own");
        let head = ["`reason` in the logs", "status", "`error`", "says", "`Retry-After`"];
        is_generated("errors.md", "edge", &table(&head, ALL.iter().map(row)));
    }
}
