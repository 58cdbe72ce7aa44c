//! The answers to a request that is not admitted (RFC 6750, RFC 9728).

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::route::Endpoint;
use crate::oauth::{SCOPE, resource_metadata_url};
use crate::public_url::PublicUrl;
use crate::sealed::OpenError;
use crate::session::Denied;

/// How long a client should wait when our own parts are in trouble.
pub const RETRY_SECONDS: &str = "2";

/// JSON-RPC 2.0 section 5.1: one of those that servers may give a meaning to.
const TOO_MANY: i32 = -32_029;

/// The challenges of one upstream. Made once: whoever has no token can ask for them as often as they like.
pub struct Challenges([Challenge; 3]);

/// 401 with one challenge, in the form that all clients parse (B2): `Bearer` first, every value quoted, and no `error` when
/// there was no token at all (RFC 6750 section 3.1).
pub struct Challenge {
    without_token: HeaderValue,
    with_bad_token: HeaderValue,
}

impl Challenges {
    /// `path` is that of the upstream's resource.
    pub fn new(public_url: &PublicUrl, path: &str) -> Self {
        Self([Endpoint::Streamable, Endpoint::Sse, Endpoint::Message].map(|endpoint| {
            Challenge::new(&resource_metadata_url(public_url, &format!("{path}{}", endpoint.suffix())))
        }))
    }

    pub fn at(&self, endpoint: Endpoint) -> &Challenge {
        let [streamable, sse, message] = &self.0;
        match endpoint {
            Endpoint::Streamable => streamable,
            Endpoint::Sse => sse,
            Endpoint::Message => message,
        }
    }
}

impl Challenge {
    fn new(resource_metadata: &str) -> Self {
        let value = |error: &str| {
            let value = format!(r#"Bearer resource_metadata="{resource_metadata}", scope="{SCOPE}"{error}"#);
            value.try_into().expect("URLs and scopes are visible ASCII")
        };
        Self { without_token: value(""), with_bad_token: value(r#", error="invalid_token""#) }
    }

    /// The one match from a denial to its answer. Forged, foreign, expired and ended tokens look alike: the caller learns only
    /// that it must sign in. Trouble of ours is 503 and never 401: a 401 makes clients throw their tokens away.
    pub fn answer(&self, denied: &Denied) -> Response<Bytes> {
        match denied {
            Denied::Missing => unauthorized(&self.without_token, &NO_TOKEN),
            Denied::Token(_)
            | Denied::Expired
            | Denied::Ended
            | Denied::Revoked
            | Denied::NoAccess { .. }
            | Denied::Refused
            | Denied::Store(crate::store::StoreError::Unreadable { .. }) => {
                unauthorized(&self.with_bad_token, &BAD_TOKEN)
            }
            Denied::Store(crate::store::StoreError::Unavailable(_)) => unavailable(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The session store does not answer.",
            ),
            Denied::Later { retry_after } => {
                let description = "The sign-in service does not answer. Try again.";
                let mut response = unavailable(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
                if let Some(wait) = retry_after.filter(|wait| !wait.is_zero()) {
                    response.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
                }
                response
            }
        }
    }

    /// The challenge of who showed no token, with a page for people as its body.
    pub fn with_page(&self, mut page: Response<Bytes>) -> Response<Bytes> {
        *page.status_mut() = StatusCode::UNAUTHORIZED;
        page.headers_mut().insert(WWW_AUTHENTICATE, self.without_token.clone());
        page.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Authorization"));
        page
    }
}

/// A label for metrics.
pub fn reason(denied: &Denied) -> &'static str {
    match denied {
        Denied::Missing => "missing",
        Denied::Token(OpenError::Malformed) => "malformed",
        Denied::Token(OpenError::UnknownKey) => "unknown_key",
        Denied::Token(OpenError::Forged) => "forged",
        Denied::Expired => "expired",
        Denied::Ended => "ended",
        Denied::Revoked => "revoked",
        Denied::Refused => "refused_upstream",
        Denied::Later { .. } => "entra_unavailable",
        Denied::NoAccess { .. } => "no_access",
        Denied::Store(crate::store::StoreError::Unavailable(_)) => "store_unavailable",
        Denied::Store(crate::store::StoreError::Unreadable { .. }) => "store_unreadable",
    }
}

fn unauthorized(challenge: &HeaderValue, body: &Bytes) -> Response<Bytes> {
    let mut response = json_text(StatusCode::UNAUTHORIZED, body.clone());
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
    response
}

static NO_TOKEN: LazyLock<Bytes> = LazyLock::new(|| sign_in("unauthorized"));
static BAD_TOKEN: LazyLock<Bytes> = LazyLock::new(|| sign_in("invalid_token"));

fn sign_in(error: &str) -> Bytes {
    let description = "Sign in: the WWW-Authenticate header says where the authorization server is described.";
    json!({ "error": error, "error_description": description }).to_string().into()
}

/// An answer that says "try again", with when.
pub fn unavailable(status: StatusCode, error: &str, description: &str) -> Response<Bytes> {
    let mut response = problem(status, error, description);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    response
}

/// An MCP client may show its user what a JSON-RPC error says, and so may a model.
pub fn too_many(wait: Duration) -> Response<Bytes> {
    let body = json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": { "code": TOO_MANY, "message": "Too many requests at once. Wait a moment, then try again." },
    });
    let mut response = json_answer(StatusCode::TOO_MANY_REQUESTS, &body);
    response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
    response
}

/// A JSON answer with an error code and a sentence, both fixed words.
pub fn problem(status: StatusCode, error: &str, description: &str) -> Response<Bytes> {
    json_answer(status, &json!({ "error": error, "error_description": description }))
}

pub fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    json_text(status, body.to_string().into())
}

fn json_text(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::NoAccess;
    use crate::audit::Subject;
    use crate::sealed::Index;
    use crate::session::Whose;

    fn challenge() -> Challenge {
        Challenge::new("https://mcp.example.com/.well-known/oauth-protected-resource/mcp")
    }

    fn header(response: &Response<Bytes>) -> &str {
        response.headers()[WWW_AUTHENTICATE].to_str().unwrap()
    }

    #[test]
    fn without_a_token_the_challenge_has_no_error() {
        let response = challenge().answer(&Denied::Missing);
        assert_eq!(response.status(), 401);
        assert_eq!(
            header(&response),
            r#"Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp", scope="mcp.access""#
        );
    }

    #[test]
    fn each_endpoint_has_a_challenge_of_its_own() {
        let challenges = Challenges::new(&PublicUrl::parse("https://mcp.example.com").unwrap(), "/mcp");
        for endpoint in [Endpoint::Streamable, Endpoint::Sse, Endpoint::Message] {
            let response = challenges.at(endpoint).answer(&Denied::Missing);
            let metadata = format!("/.well-known/oauth-protected-resource/mcp{}\"", endpoint.suffix());
            assert!(header(&response).contains(&metadata), "{}", header(&response));
        }
    }

    #[test]
    fn bad_tokens_of_every_kind_get_one_answer() {
        let whose = Whose { who: Subject::of("t", "o"), client: [1; 32], session: Index([2; 32]) };
        let bad = [
            Denied::Token(OpenError::Malformed),
            Denied::Token(OpenError::UnknownKey),
            Denied::Token(OpenError::Forged),
            Denied::Expired,
            Denied::Ended,
            Denied::Revoked,
            Denied::Refused,
            Denied::NoAccess { cause: NoAccess::Unknown, whose },
            Denied::NoAccess { cause: NoAccess::Upstream, whose },
        ];
        let answers: Vec<_> = bad.iter().map(|denied| challenge().answer(denied)).collect();
        for response in &answers {
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers(), answers[0].headers());
            assert_eq!(response.body(), answers[0].body());
        }
        assert!(header(&answers[0]).ends_with(r#", error="invalid_token""#));
    }

    #[test]
    fn an_outage_is_not_a_refusal() {
        for (denied, retry_after) in [
            (Denied::Store(crate::store::StoreError::Unavailable("x".into())), RETRY_SECONDS),
            (Denied::Later { retry_after: None }, RETRY_SECONDS),
            (Denied::Later { retry_after: Some(Duration::from_secs(17)) }, "17"),
        ] {
            let response = challenge().answer(&denied);
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()[RETRY_AFTER], retry_after);
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        }
    }
}
