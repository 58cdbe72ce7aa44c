//! Where there is no file: events in the log, without a chain, which lines that others may drop or mix could not have.

use super::event::Value;
use super::line::{Told, tell};
use super::{Entry, Field};
use crate::sealed::AuditKey;

pub(super) fn write(entry: &Entry, key: &AuditKey) {
    let mut told = Vec::new();
    tell(entry, key, |field, value| {
        let value = match value {
            Told::Text(text) => Value::Text(text.into()),
            Told::Number(number) => Value::Number(number),
            Told::Flag(flag) => Value::Flag(flag),
        };
        told.push((field, value));
    });
    let value = |wanted: Field| told.iter().find(|(field, _)| *field == wanted).map(|(_, value)| value);
    let text = |field| match value(field) {
        Some(Value::Text(text)) => Some(&**text),
        _ => None,
    };
    let number = |field| match value(field) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    };
    let flag = |field| match value(field) {
        Some(Value::Flag(flag)) => Some(*flag),
        _ => None,
    };
    tracing::info!(
        target: "audit",
        event = entry.event.kind.word(),
        outcome = entry.event.outcome.word(),
        who = text(Field::Who),
        client = text(Field::Client),
        session = text(Field::Session),
        address = text(Field::Address),
        request_id = text(Field::RequestId),
        trace_id = text(Field::TraceId),
        code = text(Field::Code),
        reason = text(Field::Reason),
        cause = text(Field::Cause),
        reference = text(Field::Reference),
        resource = text(Field::Resource),
        upstream = text(Field::Upstream),
        name = text(Field::Name),
        remembered = flag(Field::Remembered),
        method = text(Field::Method),
        tool = text(Field::Tool),
        by = text(Field::By),
        selector = text(Field::Selector),
        ended = number(Field::Ended),
        unknown = number(Field::Unknown),
        server = text(Field::Server),
        active_key = number(Field::ActiveKey),
        opening_keys = number(Field::OpeningKeys),
        ring_key = number(Field::RingKey),
        version = text(Field::Version),
        left_out = number(Field::LeftOut),
    );
}
