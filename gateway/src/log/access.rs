//! The access log: a line for each request, in the form of all other lines. It is most of what is ever logged, and made without
//! the machinery that other lines need: an eighth of what a request costs.

use std::fmt::Write;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Format;
use super::background::Background;
use crate::clock::Timestamp;

/// A process has one log.
static LOG: OnceLock<AccessLog> = OnceLock::new();

pub(super) struct AccessLog {
    pub format: Format,
    pub background: Background,
}

/// A line on its way. Its fields are in the order in which they are written.
pub struct Line<'a> {
    text: &'a mut String,
    format: Format,
}

/// Only the first call has an effect.
pub(super) fn start(start: impl FnOnce() -> io::Result<AccessLog>) -> io::Result<()> {
    if LOG.get().is_none() {
        // Of two at the same time one counts.
        let _ = LOG.set(start()?);
    }
    Ok(())
}

/// Writes a line, if the log was started.
pub fn access(fields: impl FnOnce(&mut Line<'_>)) {
    if let Some(log) = LOG.get() {
        log.background.add(|text| write(text, log.format, since_epoch(), fields));
    }
}

/// Waits until all lines are written: the process ends.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.background.flush();
    }
}

impl Line<'_> {
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        match self.format {
            Format::Json => escape(self.text, value),
            Format::Text => _ = write!(self.text, "{value:?}"),
        }
    }

    /// Nothing for what there is none of.
    pub fn some(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.text(name, value.as_ref());
        }
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        _ = write!(self.text, "{value}");
    }

    fn name(&mut self, name: &str) {
        match self.format {
            Format::Json => self.text.extend([",\"", name, "\":"]),
            Format::Text => self.text.extend([" ", name, "="]),
        }
    }
}

fn write(text: &mut String, format: Format, now: Duration, fields: impl FnOnce(&mut Line<'_>)) {
    let second = Timestamp::from_unix(now.as_secs()).to_text();
    let (second, micros) = (second.trim_end_matches('Z'), now.subsec_micros());
    // Writing to memory does not fail.
    _ = match format {
        Format::Json => write!(text, "{{\"timestamp\":\"{second}.{micros:06}Z\",\"level\":\"INFO\""),
        Format::Text => write!(text, "{second}.{micros:06}Z  INFO access:"),
    };
    fields(&mut Line { text, format });
    text.push_str(match format {
        Format::Json => ",\"target\":\"access\"}\n",
        Format::Text => "\n",
    });
}

/// RFC 8259 section 7.
fn escape(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\0'..='\x1f' => _ = write!(text, "\\u{:04x}", u32::from(character)),
            _ => text.push(character),
        }
    }
    text.push('"');
}

#[expect(clippy::disallowed_methods, reason = "the time of a log line is told to no part of the program")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format) -> String {
        let mut text = String::new();
        write(&mut text, format, Duration::new(1_764_000_000, 7_000), |line| {
            line.text("route", "mcp");
            line.text("upstream", "a \"b\"\\\n\u{e9}");
            line.number("status", 200);
        });
        text
    }

    #[test]
    fn in_json_it_is_one_object_on_one_line() {
        let text = line(Format::Json);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2025-11-24T16:00:00.000007Z", "level": "INFO", "route": "mcp",
            "upstream": "a \"b\"\\\n\u{e9}", "status": 200, "target": "access",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn in_text_it_reads_like_the_others() {
        let expected = "2025-11-24T16:00:00.000007Z  INFO access: route=\"mcp\" upstream=\"a \\\"b\\\"\\\\\\n\u{e9}\" status=200\n";
        assert_eq!(line(Format::Text), expected);
    }
}
