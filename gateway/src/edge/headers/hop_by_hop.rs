//! Headers that speak of one connection and end with it (RFC 9110 section 7.6.1).

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

/// Names that a `Connection` header may hold; an honest one holds two or three.
const OPTIONS_AT_MOST: usize = 9;

/// How messages are framed, and what else only the two ends of one connection agree on. The framing of the other side is
/// decided there, from what was understood here: a header that was passed on could be understood differently (T25).
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    // A `match`, which compares lengths first: every header of every message is asked about.
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The headers that the sender wants to end with this connection. `None` when that is no list of names, or names what it may
/// not: a client must not take from an upstream what the edge says of it.
pub fn nominated(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut names = Vec::new();
    for option in options.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty()) {
        if names.len() == OPTIONS_AT_MOST || !option.iter().all(is_token) {
            return None;
        }
        let name = HeaderName::from_bytes(option).ok()?;
        if matches!(name.as_str(), "host" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto") {
            return None;
        }
        names.push(name);
    }
    Some(names)
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn nominations(values: &[&'static str]) -> Option<Vec<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONNECTION, HeaderValue::from_static(value));
        }
        Some(nominated(&headers)?.iter().map(|name| name.as_str().to_owned()).collect())
    }

    #[test]
    fn names_are_taken_from_every_connection_header() {
        let names = nominations(&["Keep-Alive, X-One ,", "x-two"]).unwrap();
        assert_eq!(names, ["keep-alive", "x-one", "x-two"]);
        assert_eq!(nominations(&[]), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_list_of_names_or_aims_at_our_own_is_refused() {
        let many = "a,b,c,d,e,f,g,h,i,j";
        for value in ["\"x\"", "x y", ":authority", "HOST", "x-forwarded-for", "close, X-Forwarded-Proto", many] {
            assert_eq!(nominations(&[value]), None, "{value}");
        }
    }
}
