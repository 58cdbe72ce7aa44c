//! What comes from servers, and what clients say to them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use entra::ClaimsRequest;
use serde_json::{Map, Value};

pub use super::relay::fuzzing::sse;
pub use super::tool_gate::fuzzing::message;

/// Each line is a `WWW-Authenticate` header of an upstream's 401. As a whole it also stands for what such a challenge asks for.
pub fn challenge(input: &[u8]) {
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    let found = ClaimsRequest::in_challenges(lines.iter().copied());
    if let Some(found) = &found {
        is_fit_to_be_passed_on(found);
        let read = ClaimsRequest::in_challenges([found.to_challenge().as_bytes()]).expect("we wrote it");
        assert_eq!(read.expose(), found.expose());
    }
    // Others' challenges beside it make no difference.
    if lines.len() < 10 {
        let beside = [&b"Negotiate dGVzdA=="[..], b"Basic realm=\"a, Bearer error=\\\"x\\\"\""];
        let among = ClaimsRequest::in_challenges(beside.into_iter().chain(lines.iter().copied()));
        assert_eq!(among.map(|it| it.expose().to_owned()), found.map(|it| it.expose().to_owned()));
    }
    let Ok(claims) = std::str::from_utf8(input) else { return };
    let asked = ClaimsRequest::parse(claims);
    asked.iter().for_each(is_fit_to_be_passed_on);
    let header = format!(r#"Bearer error="insufficient_claims", claims="{}""#, BASE64_STANDARD.encode(claims));
    // Beyond 8 KiB of Base64 nothing is read.
    if header.len() <= 8 * 1024 {
        let read = ClaimsRequest::in_challenges([header.as_bytes()]);
        assert_eq!(read.map(|it| it.expose().to_owned()), asked.map(|it| it.expose().to_owned()));
    }
}

/// It ends in the URL of a user's browser.
fn is_fit_to_be_passed_on(request: &ClaimsRequest) {
    let text = request.expose();
    assert!(text.len() <= 8 * 1024);
    let asked: Map<String, Value> = serde_json::from_str(text).expect("it is an object");
    assert!(!asked.is_empty());
    for (token, claims) in asked {
        assert!(["access_token", "id_token"].contains(&token.as_str()), "{token}");
        let claims = claims.as_object().expect("claims have names");
        assert!(!claims.is_empty() && !claims.contains_key("xms_cc"));
    }
}
