//! Event streams of servers: the endpoint that a legacy one announces, and where there is room for a line of ours.

use bytes::Bytes;

use super::event_border::EventBorder;
use crate::pool::{EndpointRewriter, SseError};

/// The first byte says where a comment would stand, the second how many of those behind it are lengths of pieces. The rest is
/// the stream, cut into such pieces; in it, [`MUCH`] stands for four thousand letters.
pub fn sse(input: &[u8]) {
    let Some((&[at, cuts], rest)) = input.split_first_chunk() else { return };
    let (cuts, stream) = rest.split_at(usize::from(cuts % 8).min(rest.len()));
    let stream = &spelled_out(stream);
    let whole = rewritten([&stream[..]]);
    assert_eq!(rewritten(pieces(stream, cuts)), whole, "it does not matter how it comes");
    // Of long ones not each byte: that takes its time.
    let size = if stream.len() < 256 { 1 } else { stream.len() / 32 };
    assert_eq!(rewritten(stream.chunks(size)), whole, "{size} by {size}");
    let Ok(sent) = whole else { return };
    assert!(sent.len() <= stream.len() + ours("/").map_or(0, |ours| ours.len() + 32));
    let seen = Client::read(&sent);
    if let Some(endpoint) = seen.iter().find(|event| event.kind == "endpoint") {
        assert!(endpoint.data.starts_with(OURS), "a client sees {:?}", endpoint.data);
    }
    a_comment_is_not_seen(&sent, usize::from(at), &seen);
}

/// At most five times, which is beyond the longest event.
fn spelled_out(stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, part) in stream.split(|byte| *byte == MUCH).enumerate() {
        if (1..=5).contains(&number) {
            out.resize(out.len() + 4000, b'x');
        }
        out.extend_from_slice(part);
    }
    out
}

fn rewritten<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, SseError> {
    let mut rewriter = EndpointRewriter::default();
    let mut sent = Vec::new();
    for piece in pieces {
        sent.extend_from_slice(&rewriter.feed(Bytes::copy_from_slice(piece), ours)?);
    }
    Ok(sent)
}

fn ours(endpoint: &str) -> Option<String> {
    endpoint.starts_with('/').then(|| format!("{OURS}{}", endpoint.len()))
}

/// Of those lengths, again and again; the last one is what is left.
fn pieces<'a>(mut stream: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle().take(if cuts.is_empty() { 0 } else { 32 }) {
        let (piece, rest) = stream.split_at(usize::from(*cut).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    pieces
}

/// A comment at the border that is nearest behind `at`; of what was sent before the border, the client must have seen the same.
fn a_comment_is_not_seen(sent: &[u8], at: usize, seen: &[Event]) {
    let mut border = EventBorder::default();
    let at = at.min(sent.len());
    border.pass(&sent[..at]);
    let Some(more) = (0..=sent.len() - at).find(|more| {
        if *more > 0 {
            border.pass(&sent[at + more - 1..at + more]);
        }
        border.is_here()
    }) else {
        return;
    };
    let mut together = EventBorder::default();
    together.pass(&sent[..at + more]);
    assert!(together.is_here(), "it does not matter how it comes");
    // A mark at the very beginning is taken away where a comment comes first.
    if at + more == 0 && sent.starts_with(b"\xef\xbb\xbf") {
        return;
    }
    let with_comment = [&sent[..at + more], b": keep-alive\n\n", &sent[at + more..]].concat();
    assert_eq!(Client::read(&with_comment), seen, "a comment at {}", at + more);
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    kind: String,
    data: String,
    id: String,
}

/// What the HTML standard (section 9.2.6) has a client make of a stream.
#[derive(Default)]
struct Client {
    kind: String,
    data: String,
    id: String,
    events: Vec<Event>,
}

impl Client {
    fn read(stream: &[u8]) -> Vec<Event> {
        let text = String::from_utf8_lossy(stream);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
        let mut client = Self::default();
        // What has no line end at the end of the stream is dropped.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            client.line(line);
        }
        client.events
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = value.to_owned(),
            "data" => self.data.extend([value, "\n"]),
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        if let Some(data) = data.strip_suffix('\n') {
            self.events.push(Event { kind, data: data.to_owned(), id: self.id.clone() });
        }
    }
}

const MUCH: u8 = 0x1a;
const OURS: &str = "https://mcp.example.com/mcp/message?sessionId=";
