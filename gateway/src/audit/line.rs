//! One line: JSON with its fields in one order, what the line before was, and a proof of it all.
//!
//! `prev` is the SHA-256 of the whole line before, `mac` an HMAC of everything in this line before it. The MAC is what an
//! attacker cannot make; the hash is what carries it backwards: a line under a key that has left the ring is still proven by
//! the next one under a key that is there.

use base16ct::lower;
use sha2::{Digest, Sha256};

use super::event::Value;
use super::{Entry, Field};
use crate::json_text;
use crate::log::without_secrets;
use crate::one_line::one_line;
use crate::sealed::AuditKey;

/// Where a chain of lines has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub sequence: u64,
    /// SHA-256 of the last line.
    pub last: [u8; 32],
}

impl Chain {
    /// Before the first line.
    pub const START: Self = Self { sequence: 0, last: [0; 32] };

    /// The next line, with its end, and where the chain is then. `missing` lines were lost before it.
    pub(super) fn next(&self, entry: &Entry, missing: u64, key: &AuditKey) -> (String, Self) {
        let sequence = self.sequence + 1;
        let mut line = without_secrets(fields(entry, sequence, missing, key));
        push_text(&mut line, Field::Previous, hex(&self.last, &mut [0; 64]));
        let proof = key.prove(line.as_bytes());
        line.push_str(PROOF);
        line.push_str(hex(&proof, &mut [0; 64]));
        line.push_str("\"}");
        let chain = Self { sequence, last: hash(line.as_bytes()) };
        line.push('\n');
        (line, chain)
    }
}

/// SHA-256 of a line without its end.
pub fn hash(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}

/// What a line says of the chain; `None` if it is not of this log.
pub struct Link<'a> {
    pub sequence: u64,
    pub key: u32,
    pub previous: [u8; 32],
    pub missing: u64,
    pub time: String,
    /// What the proof is of, and the proof.
    pub proven: &'a [u8],
    pub proof: [u8; 32],
}

impl<'a> Link<'a> {
    /// Of a line without its end.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Read {
            time: String,
            seq: u64,
            key: u32,
            prev: String,
            #[serde(default)]
            missing: u64,
        }
        let text = std::str::from_utf8(line).ok()?;
        let proven = text.rfind(PROOF)?;
        let proof = unhex(text[proven + PROOF.len()..].strip_suffix("\"}")?)?;
        let read: Read = serde_json::from_str(text).ok()?;
        Some(Self {
            sequence: read.seq,
            key: read.key,
            previous: unhex(&read.prev)?,
            missing: read.missing,
            time: read.time,
            proven: &line[..proven],
            proof,
        })
    }
}

/// What a field says.
pub(super) enum Told<'a> {
    Text(&'a str),
    Number(u64),
    Flag(bool),
}

fn fields(entry: &Entry, sequence: u64, missing: u64, key: &AuditKey) -> String {
    let event = &entry.event;
    let mut line = String::with_capacity(LINE);
    line.push_str("{\"time\":\"");
    entry.at.append(&mut line);
    line.push('"');
    push(&mut line, Field::Sequence, Told::Number(sequence));
    push_text(&mut line, Field::Event, event.kind.word());
    push_text(&mut line, Field::Outcome, event.outcome.word());
    tell(entry, key, |field, told| push(&mut line, field, told));
    if missing > 0 {
        push(&mut line, Field::Missing, Told::Number(missing));
    }
    push(&mut line, Field::Key, Told::Number(key.id().get().into()));
    line
}

/// Tells everything about an event but its kind, its outcome and its time. Field by field and not as a list, which would be one of
/// copies: each call of a tool has a line.
pub(super) fn tell(entry: &Entry, key: &AuditKey, mut field: impl FnMut(Field, Told<'_>)) {
    let Entry { event, left_out, .. } = entry;
    let context = &event.context;
    if let Some(who) = event.who {
        field(Field::Who, Told::Text(&who.pseudonym(key)));
    }
    if let Some(client) = &event.client {
        field(Field::Client, Told::Text(hex(&client[..8], &mut [0; 16])));
    }
    if let Some(session) = &event.session {
        field(Field::Session, Told::Text(hex(&session.0[..4], &mut [0; 8])));
    }
    if let Some(address) = context.address {
        field(Field::Address, Told::Text(&address.to_string()));
    }
    if let Some(id) = &context.request_id {
        field(Field::RequestId, Told::Text(id));
    }
    if let Some(id) = context.trace_id {
        field(Field::TraceId, Told::Text(&id.to_text()));
    }
    for (name, value) in &event.details {
        match value {
            // Empty is what nothing visible is left of.
            Value::Text(text) => field(*name, Told::Text(&one_line(text).unwrap_or_default())),
            Value::Number(number) => field(*name, Told::Number(*number)),
            Value::Flag(flag) => field(*name, Told::Flag(*flag)),
        }
    }
    if *left_out > 0 {
        field(Field::LeftOut, Told::Number(*left_out));
    }
}

fn push(line: &mut String, field: Field, told: Told<'_>) {
    match told {
        Told::Text(text) => push_text(line, field, text),
        Told::Number(number) => push_plain(line, field, itoa::Buffer::new().format(number)),
        Told::Flag(flag) => push_plain(line, field, if flag { "true" } else { "false" }),
    }
}

fn push_text(line: &mut String, field: Field, text: &str) {
    push_plain(line, field, "");
    json_text::append(line, text);
}

/// What needs no quotes.
fn push_plain(line: &mut String, field: Field, value: &str) {
    line.push_str(",\"");
    line.push_str(field.word());
    line.push_str("\":");
    line.push_str(value);
}

/// `room` has twice as many bytes.
fn hex<'a>(bytes: &[u8], room: &'a mut [u8]) -> &'a str {
    lower::encode_str(bytes, room).expect("there is room for it")
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let decoded = lower::decode(text, &mut bytes).ok()?.len();
    (decoded == bytes.len()).then_some(bytes)
}

const PROOF: &str = r#","mac":""#;
/// Bytes. Few lines are longer.
const LINE: usize = 640;
