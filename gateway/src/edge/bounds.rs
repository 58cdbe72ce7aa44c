//! How large, and how slow, what clients send may be (1.11).

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// From a connection's beginning to the first byte of HTTP: what a balancer says of it, and TLS.
    pub handshake_time: Duration,
    /// From when a connection is served to the end of its first request's header; for a later one, from the end of the time
    /// that it may be idle.
    pub header_time: Duration,
    /// How long a connection of HTTP/1.1 may be idle.
    pub keep_alive: Duration,
    /// Bytes of a whole header block.
    pub header_size: usize,
    /// How many fields it may have.
    pub header_fields: usize,
    /// Bytes of one field's value. Cookies are many in one field, and have the whole block.
    pub field_size: usize,
    /// For the whole of a body of our own endpoints; for one MCP message, beyond what [`Bounds::message_rate`] gives it: a byte
    /// now and then must not hold two connections (T32).
    pub body_time: Duration,
    /// Bytes of a body of our own endpoints: forms and registrations (RFC 9110 section 15.5.14).
    pub form_size: usize,
    /// Bytes of one MCP message.
    pub message_size: u64,
    /// Bytes a second, at least, of an MCP message.
    pub message_rate: u32,
    /// How many MCP messages of more than 64 KiB may be held at once, where rules on tools want them read: each can be as long as
    /// [`Bounds::message_size`].
    pub long_messages: usize,
    /// Between two pieces of a body.
    pub read_time: Duration,
    /// For each piece that the client is to take.
    pub write_time: Duration,
}

impl Bounds {
    /// On a kept connection Pingora does not tell when the first byte of the next header comes.
    pub fn next_header_time(&self) -> Duration {
        self.keep_alive + self.header_time
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(10),
            header_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            header_size: 32 * 1024,
            header_fields: 100,
            field_size: 8 * 1024,
            body_time: Duration::from_secs(10),
            form_size: 16 * 1024,
            message_size: 4 * 1024 * 1024,
            message_rate: 14 * 1024,
            long_messages: 64,
            read_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
        }
    }
}
