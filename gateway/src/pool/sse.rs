//! The `endpoint` event of legacy HTTP+SSE, rewritten once; everything else passes as it came (C21).

use bytes::{Bytes, BytesMut};

/// An `endpoint` event is short. A server that sends this much without ending its event is not one of ours.
const EVENT_LIMIT: usize = 16 * 1024;

/// Watches a stream for its `endpoint` event.
#[derive(Debug, Default)]
pub struct EndpointRewriter {
    done: bool,
    pending: BytesMut,
}

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    #[error("an event before the endpoint is longer than {EVENT_LIMIT} bytes")]
    TooLong,
    #[error("the endpoint names another server or no path")]
    ForeignEndpoint,
    #[error("an event before the endpoint is not UTF-8")]
    NotText,
}

impl EndpointRewriter {
    /// Gives what to send for `chunk`. `rewrite` turns the upstream's endpoint into ours; `None` ends the stream.
    pub fn feed(&mut self, chunk: Bytes, rewrite: impl Fn(&str) -> Option<String>) -> Result<Bytes, SseError> {
        if self.done {
            return Ok(chunk);
        }
        self.pending.extend_from_slice(&chunk);
        let mut out = BytesMut::new();
        while let Some(end) = event_end(&self.pending) {
            // Also one that came at once: what a stream is worth must not depend on how it is cut.
            if end > EVENT_LIMIT {
                return Err(SseError::TooLong);
            }
            let event = self.pending.split_to(end);
            match endpoint(&event)? {
                None => out.extend_from_slice(&event),
                Some(endpoint) => {
                    let ours = rewrite(endpoint).ok_or(SseError::ForeignEndpoint)?;
                    out.extend_from_slice(format!("event: endpoint\ndata: {ours}\n\n").as_bytes());
                    out.extend_from_slice(&self.pending.split());
                    self.done = true;
                    return Ok(out.freeze());
                }
            }
        }
        if self.pending.len() > EVENT_LIMIT {
            return Err(SseError::TooLong);
        }
        Ok(out.freeze())
    }
}

/// The length of the first whole event: up to and with its blank line, whatever the line ends are.
fn event_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let (length, next) = line(&text[at..])?;
        at += next;
        if length == 0 {
            return Some(at);
        }
    }
    None
}

/// The first line's length without its end, and where the next one begins. A CR at the very end may be half of a CRLF:
/// then the line is not whole yet.
fn line(text: &[u8]) -> Option<(usize, usize)> {
    let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    match (text[end], text.get(end + 1)) {
        (b'\n', _) => Some((end, end + 1)),
        (_, Some(b'\n')) => Some((end, end + 2)),
        (_, Some(_)) => Some((end, end + 1)),
        (_, None) => None,
    }
}

/// The data of an `endpoint` event; `None` for other events. Read as a client reads it: a byte order mark is skipped, and
/// text that a client would repair is refused, for what it repairs to is unknown here.
fn endpoint(event: &[u8]) -> Result<Option<&str>, SseError> {
    let text = std::str::from_utf8(event).map_err(|_| SseError::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut data = None;
    let mut named = false;
    for line in text.split(['\r', '\n']) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => named = value == "endpoint",
            "data" => data = Some(value),
            _ => {}
        }
    }
    Ok(data.filter(|_| named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(endpoint: &str) -> Option<String> {
        endpoint.starts_with('/').then(|| format!("/mcp{endpoint}"))
    }

    fn feed_in_pieces(text: &str, size: usize) -> Result<String, SseError> {
        let mut rewriter = EndpointRewriter::default();
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend_from_slice(&rewriter.feed(Bytes::copy_from_slice(piece), ours)?);
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_endpoint_is_rewritten_across_any_chunk_borders_and_line_ends() {
        for newline in ["\n", "\r\n", "\r"] {
            let text =
                [": hi", "", "event: endpoint", "data: /message?sessionId=1", "", "data: x", "", "z"].join(newline);
            let rest = ["data: x", "", "z"].join(newline);
            let want = format!(": hi{newline}{newline}event: endpoint\ndata: /mcp/message?sessionId=1\n\n{rest}");
            for size in 1..text.len() {
                assert_eq!(feed_in_pieces(&text, size).unwrap(), want, "{newline:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn only_the_first_endpoint_event_is_touched() {
        let text = "event: endpoint\ndata: /a\n\nevent: endpoint\ndata: /b\n\n";
        assert_eq!(feed_in_pieces(text, 7).unwrap(), "event: endpoint\ndata: /mcp/a\n\nevent: endpoint\ndata: /b\n\n");
    }

    #[test]
    fn what_hides_an_endpoint_from_us_and_not_from_a_client_is_seen_or_refused() {
        let marked = "\u{feff}event: endpoint\ndata: https://evil.example/\n\n";
        assert_eq!(feed_in_pieces(marked, 4), Err(SseError::ForeignEndpoint));
        let mut rewriter = EndpointRewriter::default();
        let broken = Bytes::from_static(b"event: endpoint\nid: \xff\ndata: https://evil.example/\n\n");
        assert_eq!(rewriter.feed(broken, ours), Err(SseError::NotText));
    }

    /// Found by fuzzing.
    #[test]
    fn an_event_that_is_too_long_is_so_in_one_piece_too() {
        for (length, sent) in [(EVENT_LIMIT, true), (EVENT_LIMIT + 1, false)] {
            for newline in ["\n", "\r\n"] {
                let border = newline.repeat(2);
                let text = format!("data: {}{border}: x", "x".repeat(length - "data: ".len() - border.len()));
                for size in [1000, EVENT_LIMIT, text.len()] {
                    let want = if sent { Ok(text[..length].to_owned()) } else { Err(SseError::TooLong) };
                    assert_eq!(feed_in_pieces(&text, size), want, "{length} bytes in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn a_foreign_endpoint_and_an_endless_event_end_the_stream() {
        let foreign = "event: endpoint\ndata: https://evil.example/\n\n";
        assert_eq!(feed_in_pieces(foreign, 5), Err(SseError::ForeignEndpoint));
        assert_eq!(feed_in_pieces(&"x".repeat(EVENT_LIMIT + 1), 1000), Err(SseError::TooLong));
    }
}
