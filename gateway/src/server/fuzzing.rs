//! The PROXY protocol: the very first bytes of a connection.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::io::{AsyncRead, ReadBuf};

use super::proxy_protocol;

/// Everything that comes on a connection.
pub fn proxy_protocol(input: &[u8]) {
    let mut at_once = input;
    let whole = proxy_protocol::read(&mut at_once).now_or_never().expect("all of it is there");
    let mut bit_by_bit = ByteByByte(input);
    let pieces = proxy_protocol::read(&mut bit_by_bit).now_or_never().expect("all of it is there");
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "it does not matter how it comes");
    let Ok(client) = whole else { return };
    assert_eq!(at_once, bit_by_bit.0);
    let header = &input[..input.len() - at_once.len()];
    match header {
        [b'P', ..] => assert_eq!(client, line(header)),
        _ => {
            assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
            let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
            assert_eq!(header.len(), 16 + length, "not a byte of what follows");
        }
    }
    let mut alone = header;
    assert_eq!(proxy_protocol::read(&mut alone).now_or_never().expect("all of it is there").ok(), Some(client));
}

/// The client of a line of version 1, by another road.
fn line(header: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(header).expect("the line was read");
    let text = text.strip_suffix("\r\n").expect("the line has an end");
    assert!(text.len() <= 105 && !text.contains('\n'));
    let mut words = text.split(' ').skip(1);
    match words.next() {
        Some("TCP4" | "TCP6") => {
            let address: IpAddr = words.next()?.parse().expect("an address was read");
            let port = words.nth(1)?.parse().expect("a port was read");
            Some(SocketAddr::new(address, port))
        }
        _ => None,
    }
}

/// Gives one byte at a time.
struct ByteByByte<'a>(&'a [u8]);

impl AsyncRead for ByteByByte<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if let Some((first, rest)) = self.0.split_first() {
            into.put_slice(&[*first]);
            self.0 = rest;
        }
        Poll::Ready(Ok(()))
    }
}
