//! One `Authorization` header: at an upstream, where a token opens the gate, and at `/token`, where a secret names a client.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};

use super::fixture::{FIXTURE, SECRET};
use crate::fuzzing::RESOURCE;
use crate::sealed::OpenError;
use crate::session::Denied;

/// The header's value; on further lines the form that comes with it.
pub fn bearer(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let Ok(value) = HeaderValue::from_bytes(&input[..end]) else { return };
    at_the_gate(&value);
    at_the_token_endpoint(&value, input.get(end + 1..).unwrap_or_default());
}

/// Nobody is let in who made a token up.
fn at_the_gate(value: &HeaderValue) {
    let denied = FIXTURE.wait(FIXTURE.sessions.admit(Some(value), RESOURCE)).expect_err("nobody has a token");
    let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_bearer =
        scheme.eq_ignore_ascii_case(b"bearer") && value.as_bytes().contains(&b' ') && value.to_str().is_ok();
    match denied {
        Denied::Missing => assert!(!is_bearer),
        Denied::Token(OpenError::Malformed | OpenError::UnknownKey | OpenError::Forged) => assert!(is_bearer),
        other => panic!("{other}"),
    }
}

/// Who has not shown the secret is not believed to be the client that has one.
fn at_the_token_endpoint(value: &HeaderValue, form: &[u8]) {
    let request = Request::post("/token").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = request.header(AUTHORIZATION, value).body(Bytes::copy_from_slice(form));
    let response = FIXTURE.handle(request.expect("it is well-formed"));
    let body: serde_json::Value = serde_json::from_slice(response.body()).expect("an error is JSON");
    let error = body["error"].as_str().expect("an error has a name");
    assert_eq!(response.status() == StatusCode::UNAUTHORIZED, error == "invalid_client");
    assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), error == "invalid_client");
    if error == "invalid_client" {
        return;
    }
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "nobody has a code: {error}");
    // Beyond the client's proof there are these.
    if ["invalid_grant", "unsupported_grant_type"].contains(&error) {
        let shown = user_and_password(value);
        // One without a value is none.
        let given = |wanted: &str| {
            form_urlencoded::parse(form).filter(|(_, it)| !it.is_empty()).find(|(name, _)| name == wanted)
        };
        let in_form = given("client_secret").is_some_and(|(_, secret)| secret == SECRET);
        let named = given("client_id").map(|(_, client)| client.into_owned());
        let client = shown.as_ref().map(|(user, _)| user.clone()).or(named).expect("somebody is named");
        let proven = in_form || shown.is_some_and(|(_, password)| password == SECRET);
        assert!(client == "public" || proven, "{client:?} is believed: {error}");
    }
}

/// RFC 7617, by another road.
fn user_and_password(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
}
