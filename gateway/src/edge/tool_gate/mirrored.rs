//! The headers that mirror a body (MCP 2026-07-28, T29). Nothing is decided by them; but what stands behind us may route or
//! meter by them, so where the body is read they must say the same.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName};

use super::message::Messages;

/// Whether the headers say nothing that the body does not. From 2026-07-28 on they must say it (C14).
pub fn agree(headers: &HeaderMap, messages: &Messages) -> bool {
    let (Once::Zero | Once::One(_), Once::Zero | Once::One(_)) = (once(headers, &METHOD), once(headers, &NAME)) else {
        return false;
    };
    let (method, name) = (once(headers, &METHOD).value(), once(headers, &NAME).value());
    let is_modern = is_modern(headers);
    if method.is_none() && name.is_none() && !is_modern {
        return true;
    }
    // Batches went with 2025-06-18, before these headers came.
    let Some(message) = messages.only() else { return false };
    let said = message.method.as_deref();
    match method {
        Some(method) if Some(method) != said => return false,
        None if is_modern && said.is_some() => return false,
        _ => {}
    }
    let mirrored = match said {
        Some("tools/call" | "prompts/get") => &message.name,
        Some("resources/read") => &message.uri,
        // Of others the header is not defined, and servers ignore it.
        _ => return true,
    };
    match name {
        Some(name) => decoded(name) == *mirrored,
        None => !is_modern,
    }
}

/// What the headers say that is called, if they do: a method, and the name that goes with it. Nobody has compared it.
pub fn said(headers: &HeaderMap) -> Option<(&str, Option<String>)> {
    let method = once(headers, &METHOD).value()?;
    Some((method, once(headers, &NAME).value().and_then(decoded)))
}

enum Once<'a> {
    Zero,
    One(&'a str),
    /// Twice, or not in visible ASCII.
    Unclear,
}

impl<'a> Once<'a> {
    fn value(self) -> Option<&'a str> {
        if let Once::One(value) = self { Some(value) } else { None }
    }
}

fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Once<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Once::Zero,
        (Some(value), None) => value.to_str().map_or(Once::Unclear, Once::One),
        (Some(_), Some(_)) => Once::Unclear,
    }
}

/// By the first version that has these headers; versions are dates.
fn is_modern(headers: &HeaderMap) -> bool {
    let is_date = |text: &&str| text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    headers.get_all(VERSION).iter().filter_map(|value| value.to_str().ok()).filter(is_date).any(|it| it >= "2026-07-28")
}

/// What is no plain ASCII comes as `=?base64?...?=`. `None` when that is not well-formed.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const CALL: &str = r#"{"id":1,"method":"tools/call","params":{"name":"get"}}"#;
    const UMLAUT: &str = r#"{"id":1,"method":"tools/call","params":{"name":"größe"}}"#;
    const SENTINEL: &str = r#"{"id":1,"method":"tools/call","params":{"name":"=?base64?Z2V0?="}}"#;
    const LIST: &str = r#"{"id":1,"method":"tools/list"}"#;
    const READ: &str = r#"{"id":1,"method":"resources/read","params":{"uri":"file:///a","name":"b"}}"#;
    const PROMPT: &str = r#"{"id":1,"method":"prompts/get","params":{"name":"p"}}"#;
    const ANSWER: &str = r#"{"id":1,"result":{}}"#;
    const BATCH: &str = r#"[{"id":1,"method":"tools/call","params":{"name":"get"}}]"#;

    /// Version, `Mcp-Method` and `Mcp-Name` (several with a bar between), the body, and whether they agree.
    type Case = (&'static str, &'static str, &'static str, &'static str, bool);

    #[rustfmt::skip]
    const CASES: &[Case] = &[
        // Without a word there is nothing to disagree with, up to 2025-11-25.
        ("", "", "", CALL, true),
        ("2025-11-25", "", "", CALL, true),
        ("2025-03-26", "", "", BATCH, true),
        ("not-a-date", "", "", CALL, true),
        // Whoever says something says the truth, in any version.
        ("2025-11-25", "tools/call", "", CALL, true),
        ("2025-11-25", "tools/call", "get", CALL, true),
        ("2025-11-25", "tools/list", "", CALL, false),
        ("2025-11-25", "", "other", CALL, false),
        ("2025-11-25", "", "get", CALL, true),
        ("", "tools/call", "other", CALL, false),
        ("", "tools/call", "", LIST, false),
        ("2025-03-26", "tools/call", "", BATCH, false),
        ("2025-03-26", "", "get", BATCH, false),
        // The modern era must say it.
        ("2026-07-28", "tools/call", "get", CALL, true),
        ("2026-07-28", "", "", CALL, false),
        ("2026-07-28", "tools/call", "", CALL, false),
        ("2026-07-28", "", "get", CALL, false),
        ("2027-01-01", "tools/call", "", CALL, false),
        ("2026-07-28", "tools/list", "", LIST, true),
        ("2026-07-28", "", "", LIST, false),
        ("2026-07-28", "tools/list", "ignored", LIST, true),
        ("2026-07-28", "", "", ANSWER, true),
        ("2026-07-28", "tools/call", "", ANSWER, false),
        ("2026-07-28", "tools/call", "get", BATCH, false),
        ("2026-07-28", "", "", BATCH, false),
        ("2025-11-25|2026-07-28", "", "", CALL, false),
        // What is compared is the method's own.
        ("2026-07-28", "resources/read", "file:///a", READ, true),
        ("2026-07-28", "resources/read", "b", READ, false),
        ("2026-07-28", "prompts/get", "p", PROMPT, true),
        ("2026-07-28", "prompts/get", "get", PROMPT, false),
        // Case and space count.
        ("2026-07-28", "Tools/Call", "get", CALL, false),
        ("2026-07-28", "tools/call", "Get", CALL, false),
        ("2026-07-28", "tools/call", "get ,get", CALL, false),
        // Base64 says what it says when decoded.
        ("2026-07-28", "tools/call", "=?base64?Z2V0?=", CALL, true),
        ("2026-07-28", "tools/call", "=?base64?Z2V0", CALL, false),
        ("2026-07-28", "tools/call", "=?base64?Z2V?=", CALL, false),
        ("2026-07-28", "tools/call", "=?base64?b3RoZXI=?=", CALL, false),
        ("2026-07-28", "tools/call", "=?base64?/w==?=", CALL, false),
        ("2026-07-28", "tools/call", "=?base64?Z3LDtsOfZQ==?=", UMLAUT, true),
        ("2026-07-28", "tools/call", "=?base64?Z2V0?=", SENTINEL, false),
        ("2026-07-28", "tools/call", "=?base64?PT9iYXNlNjQ/WjJWMD89?=", SENTINEL, true),
        // Twice is unclear, even when both say the same.
        ("2026-07-28", "tools/call|tools/call", "get", CALL, false),
        ("2026-07-28", "tools/call", "get|get", CALL, false),
        ("2025-11-25", "tools/call|tools/list", "", CALL, false),
        ("2026-07-28", "tools/call", "größe", UMLAUT, false),
    ];

    #[test]
    fn forty_five_ways_to_agree_or_not() {
        for (version, method, name, body, expected) in CASES {
            let mut headers = HeaderMap::new();
            for (header, values) in [(VERSION, version), (METHOD, method), (NAME, name)] {
                for value in values.split('|').filter(|value| !value.is_empty()) {
                    headers.append(&header, HeaderValue::from_bytes(value.as_bytes()).unwrap());
                }
            }
            let messages = Messages::parse(body.as_bytes()).unwrap();
            assert_eq!(agree(&headers, &messages), *expected, "{version} {method} {name} {body}");
        }
        assert_eq!(CASES.len(), 45);
    }
}
