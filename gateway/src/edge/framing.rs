//! One way to find the end of a body, given once.
//!
//! Pingora settles other cases as RFC 9112 section 6.3 allows; but whoever is honest leaves nothing to settle, and what stands
//! between us and either side may settle it differently (T25).

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

/// Whether a message says in at most one way where its body ends, and in one that we know. `raw` is its header as it came, over
/// HTTP/1.1: of a length beside chunks Pingora has removed the length.
pub fn is_framed_once(headers: &HeaderMap, raw: Option<&[u8]>) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match codings.next() {
        None => headers.get_all(CONTENT_LENGTH).iter().count() <= 1,
        Some(coding) => {
            let length_too = || raw.is_some_and(|raw| has_field(raw, b"content-length"));
            coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() && !length_too()
        }
    }
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|byte| *byte == b'\n').any(|line| {
        line.split_at_checked(name.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(name) && matches!(rest.first(), Some(b':' | b' ' | b'\t'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_any_spelling_and_not_in_a_value() {
        for raw in ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 200\r\nX: y\r\ncontent-length :1\r\n\r\n"]
        {
            assert!(has_field(raw.as_bytes(), b"content-length"), "{raw}");
        }
        for raw in [
            "HTTP/1.1 200 OK\r\nX: content-length: 1\r\n\r\n",
            "HTTP/1.1 200\r\nContent-Lengthy: 1\r\n\r\n",
            "content-length",
        ] {
            assert!(!has_field(raw.as_bytes(), b"content-length"), "{raw}");
        }
    }
}
