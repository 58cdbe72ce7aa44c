//! AADSTS errors: one table from number to OAuth error, and the three shapes they are shown in
//! (JSON body, redirect parameters, page).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::{Call, Outcome};
use crate::pages;
use crate::world::World;

mod catalogue;

pub(crate) use catalogue::known;

/// One AADSTS error. Which HTTP shape it takes is decided where it is answered.
#[derive(Clone, Debug)]
pub(crate) struct EntraError {
    pub code: u32,
    pub error: &'static str,
    pub text: String,
    pub suberror: Option<&'static str>,
    /// A claims challenge, as the JSON string Entra sends.
    pub claims: Option<String>,
    /// `error_subcode` of a redirect.
    pub subcode: Option<&'static str>,
}

impl EntraError {
    /// The error with the catalogue's OAuth code, suberror and text. A number outside it is an `invalid_request`.
    pub fn new(code: u32) -> EntraError {
        let entry = known(code);
        EntraError {
            code,
            error: entry.error,
            text: entry.text.into(),
            suberror: entry.suberror,
            claims: entry.challenge.then(|| policy_challenge(&Uuid::new_v4().to_string())),
            subcode: None,
        }
    }

    pub fn saying(self, text: impl Into<String>) -> EntraError {
        EntraError { text: text.into(), ..self }
    }

    /// With another OAuth error code: a few numbers have one on /token and another on /authorize.
    pub fn with_error(self, error: &'static str) -> EntraError {
        EntraError { error, ..self }
    }

    /// 50076 at this resource, with a challenge that names some policy, as its number's entry has it.
    pub fn second_factor(resource: &str) -> EntraError {
        EntraError::new(50076).saying(format!(
            "Due to a configuration change made by your administrator, or because you moved to a new location, you must use \
             multi-factor authentication to access '{resource}'."
        ))
    }

    /// The same with a challenge that names this policy.
    pub fn challenge(resource: &str, policy: &str) -> EntraError {
        EntraError { claims: Some(policy_challenge(policy)), ..EntraError::second_factor(resource) }
    }

    /// 900144: a parameter is absent.
    pub fn missing(parameter: &str) -> EntraError {
        EntraError::new(900144).saying(format!("The request body must contain the following parameter: '{parameter}'."))
    }

    /// What the journal says of it.
    pub fn outcome(&self) -> Outcome {
        Outcome(format!("{} AADSTS{}", self.error, self.code))
    }

    /// The description with its trailer, and the trailer's parts.
    pub fn report(&self, world: &World, correlation: &str) -> Report {
        let (trace, stamp) = (Uuid::new_v4().to_string(), world.clock.stamp());
        let gap = if world.policies().crlf_errors { "\r\n" } else { " " };
        let description = format!(
            "AADSTS{}: {}{gap}Trace ID: {trace}{gap}Correlation ID: {correlation}{gap}Timestamp: {stamp}",
            self.code, self.text
        );
        Report { description, trace, stamp, correlation: correlation.into() }
    }

    /// The JSON answer of /token and of documents.
    pub fn answer(&self, world: &World, call: &Call) -> Response {
        let report = self.report(world, &call.correlation());
        let mut body = json!({
            "error": self.error,
            "error_description": report.description,
            "error_codes": [self.code],
            "timestamp": report.stamp,
            "trace_id": report.trace,
            "correlation_id": report.correlation,
            "error_uri": format!("{}/error?code={}", world.base, self.code),
        });
        if let Some(suberror) = self.suberror {
            body["suberror"] = json!(suberror);
        }
        if let Some(claims) = &self.claims {
            body["claims"] = json!(claims);
        }
        let status = if self.error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let mut response = (status, Json(body)).into_response();
        token_headers(&mut response, call, &report.trace);
        response.extensions_mut().insert(self.outcome());
        response
    }

    /// The page for a browser that must not be sent anywhere: client or redirect URI are not proven.
    pub fn page(&self, world: &World, call: &Call) -> Response {
        let report = self.report(world, &call.correlation());
        let message = format!("AADSTS{}: {}", self.code, self.text);
        let mut response = pages::error(StatusCode::BAD_REQUEST, &message, &report);
        response.extensions_mut().insert(self.outcome());
        response
    }
}

/// The parts of an error's trailer.
pub(crate) struct Report {
    pub description: String,
    pub trace: String,
    pub correlation: String,
    pub stamp: String,
}

/// Headers of every answer of the token endpoint, good or bad.
pub(crate) fn token_headers(response: &mut Response, call: &Call, request_id: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-ms-request-id", value);
    }
    if call.header("return-client-request-id").is_some_and(|wish| wish.eq_ignore_ascii_case("true"))
        && let Some(value) = call.headers.get("client-request-id")
    {
        headers.insert("client-request-id", value.clone());
    }
    // Clients of the token endpoint must keep no cookies; Entra sends some all the same.
    for cookie in ["fpc=emulated; path=/; HttpOnly", "x-ms-gateway-slice=emulated; path=/; HttpOnly"] {
        headers.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
    }
}

/// A conditional-access challenge naming one policy.
fn policy_challenge(policy: &str) -> String {
    let challenge: Value = json!({"access_token": {"capolids": {"essential": true, "values": [policy]}}});
    challenge.to_string()
}
