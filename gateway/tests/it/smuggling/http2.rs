//! Requests over HTTP/2 as no library would write them. One request for each connection.

use crate::support::gateway::Gateway;
use crate::support::http2_client::{
    DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, Http2Client, Http2Connection, RESET, field, frame,
};

type Fields = Vec<(String, String)>;

/// How the one stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer, and with this status if it is one of the few that have a number of their own in HPACK.
    Answered(u16),
    Reset,
    /// The whole connection.
    Closed,
}

/// A request: its header, its pieces of data, its trailers.
#[derive(Clone, Debug)]
pub struct Message {
    pub fields: Fields,
    pub data: Vec<&'static str>,
    pub trailers: Option<Fields>,
}

pub struct Http2(Http2Client);

impl Http2 {
    pub fn new(gateway: &Gateway) -> Self {
        Self(Http2Client::new(gateway))
    }

    pub fn send(&self, message: &Message) -> End {
        let (mut connection, mut sent) = self.0.connect();
        let last = |is_last: bool| if is_last { END_STREAM } else { 0 };
        let header_ends = message.data.is_empty() && message.trailers.is_none();
        frame(&mut sent, HEADERS, END_HEADERS | last(header_ends), 1, &block(&message.fields));
        for (number, piece) in message.data.iter().enumerate() {
            let ends = number + 1 == message.data.len() && message.trailers.is_none();
            frame(&mut sent, DATA, last(ends), 1, piece.as_bytes());
        }
        if let Some(trailers) = &message.trailers {
            frame(&mut sent, HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers));
        }
        if connection.write(&sent).is_err() {
            return End::Closed;
        }
        end(&mut connection).unwrap_or(End::Closed)
    }
}

/// `None` when the connection ends first.
fn end(connection: &mut Http2Connection) -> Option<End> {
    let mut answered = None;
    loop {
        let next = connection.next()?;
        let ends = next.flags & END_STREAM != 0;
        match (next.kind, next.stream) {
            (GO_AWAY, _) => return None,
            (RESET, 1) => return Some(answered.unwrap_or(End::Reset)),
            (HEADERS, 1) => {
                answered = answered.or_else(|| status(&next.payload).map(End::Answered));
                if ends {
                    return answered;
                }
            }
            (DATA, 1) if ends => return answered,
            _ => {}
        }
    }
}

/// `None` for an interim answer; 1 where a status has no number of its own.
fn status(block: &[u8]) -> Option<u16> {
    let known = [200, 204, 206, 304, 400, 404, 500];
    match block.iter().find(|byte| **byte & 0xe0 != 0x20)? {
        indexed @ 0x88..=0x8e => Some(known[usize::from(indexed - 0x88)]),
        _ if block.windows(3).any(|part| part == b"100") => None,
        _ => Some(1),
    }
}

fn block(fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(name, value)| field(&mut out, name, value));
    out
}
