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
