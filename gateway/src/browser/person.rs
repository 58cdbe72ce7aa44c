//! Whether a request comes from somebody who types an address into a browser, or from a program.

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderName};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// What only MCP clients send.
const OF_CLIENTS: [HeaderName; 3] = [
    HeaderName::from_static("mcp-protocol-version"),
    HeaderName::from_static("mcp-session-id"),
    HeaderName::from_static("last-event-id"),
];

/// A navigation that wants a page, with no token and nothing that a program sends. In doubt it is a program: that gets the
/// challenge it cannot do without.
pub fn is_a_person(headers: &HeaderMap) -> bool {
    let is_client = headers.contains_key(AUTHORIZATION) || OF_CLIENTS.iter().any(|name| headers.contains_key(name));
    let navigates = headers.get(SEC_FETCH_MODE).is_none_or(|mode| mode == "navigate");
    !is_client && navigates && prefers_html(headers)
}

/// JSON is named, and HTML is not wanted as much. In doubt it is a person: that cannot read JSON.
pub fn prefers_json(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers);
    wanted(&ranges, &["application/json"]) > wanted(&ranges, &["text/html"])
}

/// HTML is named, and nothing that a program reads is wanted as much (RFC 9110 section 12.5.1).
fn prefers_html(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers);
    wanted(&ranges, &["text/html"]) > wanted(&ranges, &["application/json", "text/event-stream"])
}

fn ranges(headers: &HeaderMap) -> Vec<(String, f32)> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(range).collect()
}

/// The highest quality that one of these is named with.
fn wanted(ranges: &[(String, f32)], names: &[&str]) -> f32 {
    let named = ranges.iter().filter(|(name, _)| names.contains(&name.as_str()));
    named.map(|(_, quality)| *quality).fold(0.0, f32::max)
}

/// A media range and its quality; one that cannot be read is not wanted.
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    (name, quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    const BROWSER: (&str, &str) =
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8");

    #[test]
    fn a_navigation_is_a_person() {
        for pairs in [
            &[BROWSER][..],
            &[("accept", "text/html")],
            &[("accept", "Text/HTML ; q=0.9, application/json;q=0.5")],
            &[BROWSER, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("cookie", "a=b")],
        ] {
            assert!(is_a_person(&headers(pairs)), "{pairs:?}");
        }
    }

    #[test]
    fn whatever_could_be_a_program_is_one() {
        for pairs in [
            &[][..],
            &[("accept", "")],
            &[("accept", "*/*")],
            &[("accept", "text/*")],
            &[("accept", "application/json, text/event-stream")],
            &[("accept", "text/event-stream")],
            &[("accept", "text/html, application/json")],
            &[("accept", "text/html;q=0.1, text/event-stream;q=0.2")],
            &[("accept", "text/html;q=0")],
            &[("accept", "text/html;q=x")],
            &[BROWSER, ("authorization", "Bearer x")],
            &[BROWSER, ("authorization", "")],
            &[BROWSER, ("mcp-protocol-version", "2025-11-25")],
            &[BROWSER, ("last-event-id", "7")],
            &[BROWSER, ("sec-fetch-mode", "cors")],
        ] {
            assert!(!is_a_person(&headers(pairs)), "{pairs:?}");
        }
    }

    #[test]
    fn only_who_names_json_and_no_page_as_much_gets_json() {
        for accept in ["application/json", "application/json, */*", "text/html;q=0.5, application/json"] {
            assert!(prefers_json(&headers(&[("accept", accept)])), "{accept}");
        }
        for accept in ["", "*/*", "text/html", "text/html, application/json", "application/json;q=0", BROWSER.1] {
            assert!(!prefers_json(&headers(&[("accept", accept)])), "{accept}");
        }
        assert!(!prefers_json(&headers(&[])));
    }
}
