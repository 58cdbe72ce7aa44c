//! One send for the header of a request and the body that follows at once.
//!
//! Pingora flushes a request's header before the body is written, so that two packets leave where one would do, and the server
//! is woken twice: an eighth of what a call costs. Between a session of HTTP/1.1 and its connection, this holds the header back
//! until there is more to send, or an answer is waited for. Nothing is held longer than that: whoever waits, reads.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A header and a call fit in; a longer body is sent by itself, after what is held.
const HELD_AT_MOST: usize = 16 * 1024;
/// Room for a body; most are shorter.
const BODY: usize = 1024;

/// A connection for one exchange.
pub struct Held {
    inside: Stream,
    state: State,
}

enum State {
    /// Nothing was written yet, or this much of what is to be written first.
    Holding(Vec<u8>),
    /// From so far on it still has to be written.
    Sending(Vec<u8>, usize),
    /// It was: from here on everything passes.
    Open,
}

impl Held {
    pub fn new(inside: Stream) -> Self {
        Self { inside, state: State::Holding(Vec::new()) }
    }

    pub fn into_inside(self) -> Stream {
        self.inside
    }

    /// Sends what is held, and holds nothing any more.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Holding(held) = &mut self.state {
            self.state = State::Sending(std::mem::take(held), 0);
        }
        let State::Sending(held, sent) = &mut self.state else { return Poll::Ready(Ok(())) };
        while *sent < held.len() {
            match ready!(Pin::new(&mut self.inside).poll_write(context, &held[*sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *sent += written,
            }
        }
        ready!(Pin::new(&mut self.inside).poll_flush(context))?;
        self.state = State::Open;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let State::Holding(held) = &mut self.state
            && held.len() + bytes.len() <= HELD_AT_MOST
        {
            if held.is_empty() {
                held.reserve_exact(bytes.len() + BODY);
            }
            held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.inside).poll_write(context, bytes)
    }

    /// Of the header: no. What follows is flushed by whoever reads.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Holding(_) => Poll::Ready(Ok(())),
            State::Sending(..) => self.poll_release(context),
            State::Open => Pin::new(&mut self.inside).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.inside).poll_shutdown(context)
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.inside).poll_read(context, into)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is held is the header with Entra's token.
        formatter.write_str("Held(..)")
    }
}

#[async_trait]
impl Shutdown for Held {
    async fn shutdown(&mut self) {
        self.inside.shutdown().await;
    }
}

impl UniqueID for Held {
    fn id(&self) -> UniqueIDType {
        self.inside.id()
    }
}

impl Ssl for Held {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inside.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inside.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inside.selected_alpn_proto()
    }
}

impl GetTimingDigest for Held {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inside.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inside.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inside.get_write_pending_time()
    }
}

impl GetProxyDigest for Held {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inside.get_proxy_digest()
    }
}

impl GetSocketDigest for Held {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inside.get_socket_digest()
    }
}

impl Peek for Held {}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn pair() -> (Held, DuplexStream) {
        let (ours, servers) = duplex(256 * 1024);
        (Held::new(Box::new(ours)), servers)
    }

    /// What has arrived, without waiting; nothing if nothing has.
    fn arrived(server: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = server.read_buf(&mut bytes).now_or_never();
        bytes
    }

    async fn send(held: &mut Held, bytes: &[u8]) {
        held.write_all(bytes).await.unwrap();
        held.flush().await.unwrap();
    }

    #[tokio::test]
    async fn a_header_waits_for_the_body_that_came_with_it_until_an_answer_is_waited_for() {
        let (mut held, mut server) = pair();
        send(&mut held, b"header,").await;
        assert_eq!(arrived(&mut server), b"");
        send(&mut held, b"body").await;
        assert_eq!(arrived(&mut server), b"");
        assert!(held.read_u8().now_or_never().is_none());
        assert_eq!(arrived(&mut server), b"header,body");
        send(&mut held, b", more of it").await;
        assert_eq!(arrived(&mut server), b", more of it", "from then on nothing is held");
        server.write_all(b"x").await.unwrap();
        assert_eq!(held.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_long_body_is_not_held_and_comes_after_its_header() {
        let (mut held, mut server) = pair();
        send(&mut held, b"header,").await;
        let body = vec![b'x'; HELD_AT_MOST];
        send(&mut held, &body).await;
        let mut bytes = vec![0; 7 + body.len()];
        server.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.starts_with(b"header,x") && bytes.ends_with(b"xx"));
    }

    #[tokio::test]
    async fn what_a_server_takes_piece_by_piece_is_sent_to_its_end() {
        let (ours, mut server) = duplex(3);
        let mut held = Held::new(Box::new(ours));
        send(&mut held, b"header, body").await;
        let (mut came, mut answer) = ([0; 12], [0; 1]);
        let (read, answered) = tokio::join!(
            async {
                server.read_exact(&mut came).await.unwrap();
                server.write_all(b"y").await
            },
            held.read_exact(&mut answer)
        );
        assert!(read.is_ok() && answered.is_ok());
        assert_eq!((&came, &answer), (b"header, body", b"y"));
    }

    #[test]
    fn debug_shows_nothing_of_what_is_held() {
        let held = Held { inside: Box::new(duplex(1).0), state: State::Holding(b"Bearer canary".to_vec()) };
        assert_eq!(format!("{held:?}"), "Held(..)");
    }
}
