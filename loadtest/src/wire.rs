//! HTTP/1.1 for little CPU, from prepared bytes: what a generator spends, the core it shares with the upstream does not
//! have, and an edge is only seen at its best when it has no rest. [`message`] frames; the client is here, the server in
//! [`crate::upstream`].
//!
//! What is no hot path (sign-ins, event streams) goes by [`crate::connection`].

pub mod message;

use std::borrow::Cow;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::Failure;
use message::{Body, Head};

/// One persistent connection, made anew when the target has closed it.
pub struct Wire {
    address: SocketAddr,
    patience: Duration,
    stream: Option<TcpStream>,
    read: Vec<u8>,
}

/// An answer, in the buffer of its connection.
pub struct Answer<'a> {
    pub status: StatusCode,
    pub body: Cow<'a, [u8]>,
}

impl Wire {
    /// `patience`: for a whole exchange.
    pub fn new(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, stream: None, read: Vec::new() }
    }

    /// Sends a whole request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no answer, or half of one. A status is none.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, Failure> {
        let mut stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => {
                let stream = timeout(self.patience, TcpStream::connect(self.address)).await;
                let stream = stream.map_err(|_| Failure::TimedOut)?.map_err(|_| Failure::NoConnection)?;
                stream.set_nodelay(true).map_err(|_| Failure::NoConnection)?;
                stream
            }
        };
        self.read.clear();
        let exchange = exchange(&mut stream, request, &mut self.read);
        let (head, body) = timeout(self.patience, exchange).await.map_err(|_| Failure::TimedOut)??;
        // What is behind the answer belongs to none of our requests.
        if head.stays_open && self.read.len() == head.length + body.length {
            self.stream = Some(stream);
        }
        let status = StatusCode::from_u16(head.status).map_err(|_| Failure::Broken)?;
        Ok(Answer { status, body: body.content(&self.read[head.length..]) })
    }
}

/// Whether the target has not closed it meanwhile, as far as the runtime has been told: this asks the system only if there
/// is something to read.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

async fn exchange(stream: &mut TcpStream, request: &[u8], read: &mut Vec<u8>) -> Result<(Head, Body), Failure> {
    stream.write_all(request).await.map_err(|_| Failure::Broken)?;
    let mut head = None;
    loop {
        read.reserve(READ_AT_ONCE);
        let ended = stream.read_buf(read).await.map_err(|_| Failure::Broken)? == 0;
        if head.is_none() {
            head = message::answer_head(read)?;
        }
        if let Some(head) = head
            && let Some(body) = head.framing.body(&read[head.length..], ended)?
        {
            return Ok((head, body));
        }
        if ended {
            return Err(Failure::Broken);
        }
    }
}

const READ_AT_ONCE: usize = 16 * 1024;
