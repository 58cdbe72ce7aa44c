//! The access log: a line for each request, in the form of all other lines. It is most of what is ever logged, and made without
//! the machinery that other lines need: an eighth of what a request costs.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Format;
use super::background::Background;
use crate::clock::Timestamp;
use crate::{json_text, source};

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
            Format::Json => json_text::append(self.text, value),
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
        self.text.push_str(itoa::Buffer::new().format(value));
    }

    /// Nothing in an address would have to be escaped.
    pub fn address(&mut self, name: &str, address: IpAddr, port: Option<u16>) {
        self.name(name);
        let is_v6 = port.is_some() && address.is_ipv6();
        self.text.push_str(if is_v6 { "\"[" } else { "\"" });
        source::append(self.text, address);
        if let Some(port) = port {
            self.text.push_str(if is_v6 { "]:" } else { ":" });
            self.text.push_str(itoa::Buffer::new().format(port));
        }
        self.text.push('"');
    }

    fn name(&mut self, name: &str) {
        let (before, after) = match self.format {
            Format::Json => (",\"", "\":"),
            Format::Text => (" ", "="),
        };
        self.text.push_str(before);
        self.text.push_str(name);
        self.text.push_str(after);
    }
}

fn write(text: &mut String, format: Format, now: Duration, fields: impl FnOnce(&mut Line<'_>)) {
    let (before, after) = match format {
        Format::Json => ("{\"timestamp\":\"", "Z\",\"level\":\"INFO\""),
        Format::Text => ("", "Z  INFO access:"),
    };
    text.push_str(before);
    Timestamp::from_unix(now.as_secs()).append(text);
    // With a digit in front, so that zeros stay.
    let micros = 1_000_000 + now.subsec_micros();
    text.push('.');
    text.push_str(&itoa::Buffer::new().format(micros)[1..]);
    text.push_str(after);
    fields(&mut Line { text, format });
    text.push_str(match format {
        Format::Json => ",\"target\":\"access\"}\n",
        Format::Text => "\n",
    });
}

#[expect(clippy::disallowed_methods, reason = "the time of a log line is told to no part of the program")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

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
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for address in ["0.0.0.0:1", "255.9.10.100:65535", "[::1]:80", "[2001:db8::5]:443", "[::ffff:10.0.0.1]:8080"] {
            let address: SocketAddr = address.parse().unwrap();
            let mut text = String::new();
            let mut line = Line { text: &mut text, format: Format::Json };
            line.address("server", address.ip(), Some(address.port()));
            line.address("client", address.ip(), None);
            assert_eq!(text, format!(",\"server\":\"{address}\",\"client\":\"{}\"", address.ip()));
        }
    }

    #[test]
    fn in_text_it_reads_like_the_others() {
        let expected = "2025-11-24T16:00:00.000007Z  INFO access: route=\"mcp\" upstream=\"a \\\"b\\\"\\\\\\n\u{e9}\" status=200\n";
        assert_eq!(line(Format::Text), expected);
    }
}
