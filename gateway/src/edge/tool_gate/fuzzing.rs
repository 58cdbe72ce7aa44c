//! Bodies of calls, where rules on tools stand: no other reader may find another call in one.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::message::{Message, Messages};
use super::mirrored;

/// Three lines are the headers that mirror a body: version, method and name, an empty one being none. The rest is the body.
pub fn message(input: &[u8]) {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [VERSION, METHOD, NAME] {
        let line = lines.next().unwrap_or_default();
        if let (false, Ok(value)) = (line.is_empty(), HeaderValue::from_bytes(line)) {
            headers.append(name, value);
        }
    }
    let body = lines.next().unwrap_or_default();
    let Some(messages) = Messages::parse(body) else { return };
    let value: Value = serde_json::from_slice(body).unwrap_or_else(|error| {
        // What others mind in members that we skip: depth, numbers without bounds, halves of letters.
        let skipped = ["recursion limit", "number out of range", "surrogate", "hex escape"];
        assert!(skipped.iter().any(|skipped| error.to_string().contains(skipped)), "{error}");
        Value::Null
    });
    let others = match &value {
        Value::Null => return,
        Value::Array(all) => Cow::Borrowed(all),
        one => Cow::Owned(vec![one.clone()]),
    };
    assert_eq!((messages.iter().count(), messages.only().is_none()), (others.len(), value.is_array()));
    assert!((1..=100).contains(&others.len()));
    messages.iter().zip(others.iter()).for_each(|(ours, theirs)| is_read_alike(ours, theirs));
    agrees(&headers, &messages);
}

/// Also by one that does not mind the case of names.
fn is_read_alike(ours: &Message, theirs: &Value) {
    let any_case = |value: &Value, name: &str| {
        let members = value.as_object().into_iter().flatten();
        let named: Vec<_> =
            members.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, it)| it.clone()).collect();
        assert!(named.len() <= 1, "two for {name}: {theirs}");
        named.into_iter().next()
    };
    let method = any_case(theirs, "method");
    assert_eq!(ours.method.as_deref(), method.as_ref().map(|method| method.as_str().expect("a method is text")));
    let id = any_case(theirs, "id");
    assert_eq!(ours.id, id);
    let tool = any_case(theirs, "params").and_then(|params| any_case(&params, "name"));
    match (ours.tool(), method.as_ref().and_then(Value::as_str)) {
        (Some(ours), Some("tools/call")) => assert_eq!(tool.as_ref().and_then(Value::as_str), Some(ours)),
        (None, method) => assert_ne!(method, Some("tools/call"), "a call of no tool: {theirs}"),
        (ours, method) => panic!("{ours:?} of {method:?}"),
    }
}

/// Where headers are believed to mirror a call, they name it.
fn agrees(headers: &HeaderMap, messages: &Messages) {
    if !mirrored::agree(headers, messages) {
        return;
    }
    let Some((method, name)) = mirrored::said(headers) else { return };
    let message = messages.only().expect("of several none is mirrored");
    assert_eq!(message.method.as_deref(), Some(method));
    if let (Some(name), Some(tool)) = (name, message.tool()) {
        assert_eq!(name, tool);
    }
}

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
