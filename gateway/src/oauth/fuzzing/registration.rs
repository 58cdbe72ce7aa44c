//! `POST /register`.

use std::collections::HashSet;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use serde_json::{Map, Value};

use super::fixture::FIXTURE;
use crate::fuzzing::{ISSUER, SEALER};
use crate::oauth::client::registration::Registration;
use crate::oauth::{json, redirect_uri::RedirectUri};
use crate::public_url::PublicUrl;

/// The body of a registration.
pub fn registration(input: &[u8]) {
    let read = json::parse_object(input).ok();
    let request = Request::post("/register").header(CONTENT_TYPE, "application/json");
    let response = FIXTURE.handle(request.body(Bytes::copy_from_slice(input)).expect("it is well-formed"));
    let answer: Map<String, Value> = serde_json::from_slice(response.body()).expect("the answer is an object");
    match (response.status(), read) {
        (StatusCode::CREATED, Some(sent)) => {
            is_read_alike(input, &sent);
            is_within_bounds(&sent, &answer);
        }
        (StatusCode::BAD_REQUEST, _) => {
            let error = answer["error"].as_str().expect("an error has a name");
            assert!(["invalid_client_metadata", "invalid_redirect_uri"].contains(&error), "{error}");
        }
        (status, read) => panic!("{status} for {read:?}"),
    }
}

/// Another reader of JSON sees the same in it, and it is not deep.
fn is_read_alike(text: &[u8], sent: &Map<String, Value>) {
    assert_eq!(serde_json::from_slice::<Value>(text).expect("it is JSON").as_object(), Some(sent));
    assert!(depth(&Value::Object(sent.clone())) <= 16);
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(items) => 1 + items.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

fn is_within_bounds(sent: &Map<String, Value>, answer: &Map<String, Value>) {
    let client_id = answer["client_id"].as_str().expect("a client has an id");
    assert!(client_id.len() <= 4096);
    let client = Registration::find(&SEALER, client_id).expect("the id opens");
    let name = client.name.to_string();
    assert!(!name.is_empty() && name.chars().count() <= 128 && !name.chars().any(char::is_control), "{name:?}");
    assert_eq!(answer["client_name"], name);

    let ours = PublicUrl::parse(ISSUER).expect("it is one");
    let registered: Vec<_> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
    assert_eq!(answer["redirect_uris"], Value::from(registered.clone()));
    assert!((1..=10).contains(&registered.len()));
    assert_eq!(registered.iter().collect::<HashSet<_>>().len(), registered.len(), "each once");
    for uri in registered {
        assert!(sent["redirect_uris"].as_array().expect("it was a list").contains(&uri.into()), "{uri}");
        let parsed = RedirectUri::parse(uri, &["cursor".to_owned()]).expect("it is a good one");
        assert!(parsed.elsewhere(&ours).is_ok());
    }

    let method = answer["token_endpoint_auth_method"].as_str().expect("there is a method");
    let wanted = sent.get("token_endpoint_auth_method").and_then(Value::as_str).unwrap_or("none");
    assert_eq!(method, wanted);
    let secret = answer.get("client_secret").and_then(Value::as_str);
    assert_eq!((secret.is_some(), client.secret.is_some()), (method != "none", method != "none"));
    assert!(secret.is_none_or(|secret| client.secret.is_some_and(|ours| ours.matches(secret))));
}
