//! Either side of the gateway byte by byte: a client that writes what no library would, a server that says it when the test
//! wants. Every wait is bounded.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::gateway::Gateway;

const PATIENCE: Duration = Duration::from_secs(5);

/// A server whose connections a test serves by hand, one after the other.
pub struct WireServer {
    pub url: String,
    listener: TcpListener,
}

/// One connection, either end of it.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl WireServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self { url: format!("http://{}", listener.local_addr().unwrap()), listener }
    }

    /// The next connection.
    pub async fn accept(&self) -> Wire {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("a connection comes").unwrap();
        Wire::new(stream)
    }

    /// The next connection, with its first request's header.
    pub async fn request(&self) -> (Wire, String) {
        let mut wire = self.accept().await;
        let header = wire.header().await;
        (wire, header)
    }

    /// The next request's header, and whether it came on `wire`. Pingora seldom fails to take a waiting connection, and opens
    /// another: that is then `wire`.
    pub async fn next(&self, wire: &mut Option<Wire>) -> (String, bool) {
        if let Some(waiting) = wire
            && waiting.is_spoken_to().await
        {
            return (waiting.header().await, true);
        }
        let (fresh, header) = self.request().await;
        *wire = Some(fresh);
        (header, false)
    }

    /// No further connection comes for a moment.
    pub async fn is_left_alone(&self) {
        let another = timeout(Duration::from_millis(300), self.listener.accept()).await;
        assert!(another.is_err(), "another connection came");
    }
}

impl Wire {
    /// A client's connection.
    pub async fn to(gateway: &Gateway) -> Self {
        Self::new(TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Sends a request of this method to `/mcp`, with more header lines, each ended, and then `body` as it is.
    pub async fn call(&mut self, gateway: &Gateway, token: &str, method: &str, lines: &str, body: &str) {
        let host = format!("localhost:{}", gateway.port);
        let accept = "accept: application/json, text/event-stream";
        let head = format!("{method} /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n{accept}\r\n");
        self.send(&format!("{head}{lines}\r\n{body}")).await;
    }

    pub async fn send(&mut self, text: &str) {
        timeout(PATIENCE, self.stream.write_all(text.as_bytes())).await.expect("it is taken").unwrap();
    }

    /// How much the other side takes before it takes no more.
    pub async fn fill(&mut self, at_most: usize) -> usize {
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent < at_most {
            match timeout(Duration::from_secs(1), self.stream.write(&piece)).await {
                Ok(written) => sent += written.unwrap(),
                Err(_) => break,
            }
        }
        sent
    }

    /// Sends without a pause until the other side has gone.
    pub async fn flood(&mut self) {
        let piece = vec![b'x'; 64 * 1024];
        while self.stream.write_all(&piece).await.is_ok() {}
    }

    /// Takes what comes in sips, slower than it could come, until the other side has gone.
    pub async fn sip(&mut self) {
        let mut sip = vec![0; 16 * 1024];
        while self.stream.read(&mut sip).await.is_ok_and(|length| length > 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The next header block, first line and all, in lower case.
    pub async fn header(&mut self) -> String {
        self.until("\r\n\r\n").await.to_ascii_lowercase()
    }

    /// What comes up to and with `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let more = self.more(PATIENCE).await;
            assert!(more, "the end came before {end:?}, after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    pub async fn bytes(&mut self, length: usize) -> String {
        while self.read.len() < length {
            assert!(
                self.more(PATIENCE).await,
                "the end came too early, after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
        let rest = self.read.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap()
    }

    /// One chunk of a chunked body; empty is the last one.
    pub async fn chunk(&mut self) -> String {
        let size = self.until("\r\n").await;
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        let chunk = self.bytes(size).await;
        assert_eq!(self.bytes(2).await, "\r\n");
        chunk
    }

    /// Nothing comes for so long.
    pub async fn is_silent(&mut self, time: Duration) {
        let read = timeout(time, self.stream.read_buf(&mut self.read)).await;
        assert!(read.is_err() && self.read.is_empty(), "{read:?} {:?}", String::from_utf8_lossy(&self.read));
    }

    /// What comes up to the end of the connection, which comes within so long, one way or the other.
    pub async fn rest(&mut self, time: Duration) -> String {
        while self.more(time).await {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// `false`: it was closed instead.
    async fn is_spoken_to(&mut self) -> bool {
        !self.read.is_empty() || self.more(PATIENCE).await
    }

    /// `false`: the other side has closed.
    async fn more(&mut self, time: Duration) -> bool {
        let read = timeout(time, self.stream.read_buf(&mut self.read)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing comes after {:?}", String::from_utf8_lossy(&self.read)));
        read.is_ok_and(|length| length > 0)
    }
}
