//! The keys of `[limits]` that say how large, and how slow, what clients send may be.

use std::time::Duration;

use super::super::reader::Section;
use super::super::values::{duration, size};
use super::{DAY, HOUR, MINUTE, SECOND};
use crate::edge::Bounds;

/// `None` goes with a mistake.
pub fn read(section: &Section<'_>) -> Option<Bounds> {
    let time = |key, default, most| section.text(key).or(default).parse(|text| duration(text, SECOND, most));
    let bytes = |key, default, least, most| section.text(key).or(default).parse(|text| size(text, least, most));
    let handshake_time = time("handshake_timeout", "10s", MINUTE);
    let header_time = time("header_timeout", "10s", MINUTE);
    let keep_alive = time("http1_idle_timeout", "60s", HOUR);
    // What HTTP/2 takes of a header is bounded to 64 KiB by Pingora, and the number of fields over HTTP/1.1 to 256.
    let header_size = bytes("header_size", "32KiB", 4 * KIB, 64 * KIB);
    let header_fields = section.number("header_fields", 100, 20..=256);
    let field_size = bytes("field_size", "8KiB", KIB, 64 * KIB);
    let body_time = time("body_timeout", "10s", 5 * MINUTE);
    let form_size = bytes("form_size", "16KiB", 4 * KIB, MIB);
    let message_size = bytes("message_size", "4MiB", 64 * KIB, 64 * MIB);
    let message_rate = bytes("message_rate", "14KiB", KIB, 64 * MIB);
    let long_messages = section.number("long_messages", 64, 1..=10_000);
    let read_time = time("read_timeout", "30s", 5 * MINUTE);
    let write_time = time("write_timeout", "30s", 5 * MINUTE);
    let (header_size, field_size) = (header_size?, field_size?);
    if field_size > header_size {
        section.mistake("field_size", "must not be more than limits.header_size");
        return None;
    }
    Some(Bounds {
        handshake_time: handshake_time?,
        header_time: header_time?,
        keep_alive: keep_alive?,
        header_size: header_size as usize,
        header_fields: header_fields? as usize,
        field_size: field_size as usize,
        body_time: body_time?,
        form_size: form_size? as usize,
        message_size: message_size?.into(),
        message_rate: message_rate?,
        long_messages: long_messages? as usize,
        read_time: read_time?,
        write_time: write_time?,
    })
}

/// How long a connection of HTTP/2 may be idle.
pub fn http2_idle(section: &Section<'_>) -> Option<Duration> {
    section.text("http2_idle_timeout").or("5m").parse(|text| duration(text, 10 * SECOND, DAY))
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;
