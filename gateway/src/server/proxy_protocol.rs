//! The PROXY protocol, versions 1 and 2: what a balancer says of a connection before anything else is on it
//! (`proxy-protocol.txt` of HAProxy, sections 2.1 and 2.2).

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Section 2.1: the longest line of version 1.
const LINE_AT_MOST: usize = 107;
/// The fixed part of version 2; its last two bytes are the length of the rest.
const FIXED: usize = 16;
/// Of the rest. It may have extensions, of which none is read; real ones stay far below this.
const REST_AT_MOST: usize = 2048;

/// Reads the header and not a byte more. `None` when it names nobody: a health check of the balancer's own.
///
/// # Errors
/// When there is no such header. Then nothing of the connection can be believed.
pub async fn read(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Option<SocketAddr>> {
    let header = match stream.read_u8().await? {
        b'P' => line(stream).await?,
        b'\r' => binary(stream).await?,
        _ => return Err(invalid()),
    };
    source(HeaderResult::parse(&header)).ok_or_else(invalid)
}

/// Whatever stands behind it belongs to somebody else, TLS or HTTP. It is short, and read once for a connection.
async fn line(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Vec<u8>> {
    let mut line = vec![b'P'];
    while line.last() != Some(&b'\n') {
        if line.len() == LINE_AT_MOST {
            return Err(invalid());
        }
        line.push(stream.read_u8().await?);
    }
    // The parser takes a bare line feed behind `UNKNOWN`.
    if line.ends_with(b"\r\n") { Ok(line) } else { Err(invalid()) }
}

async fn binary(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Vec<u8>> {
    let mut header = vec![b'\r'; FIXED];
    stream.read_exact(&mut header[1..]).await?;
    let rest = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if !header.starts_with(v2::PROTOCOL_PREFIX) || rest > REST_AT_MOST {
        return Err(invalid());
    }
    header.resize(FIXED + rest, 0);
    stream.read_exact(&mut header[FIXED..]).await?;
    Ok(header)
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the connection does not begin with a header of the PROXY protocol")
}

/// `None` when it is none; `Some(None)` when it names nobody.
fn source(parsed: HeaderResult<'_>) -> Option<Option<SocketAddr>> {
    match parsed {
        HeaderResult::V1(header) => match header.ok()?.addresses {
            v1::Addresses::Tcp4(addresses) => Some(Some((addresses.source_address, addresses.source_port).into())),
            v1::Addresses::Tcp6(addresses) => Some(Some((addresses.source_address, addresses.source_port).into())),
            v1::Addresses::Unknown => Some(None),
        },
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            match (header.command, header.addresses) {
                (v2::Command::Local, _) => Some(None),
                (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => {
                    Some(Some((addresses.source_address, addresses.source_port).into()))
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => {
                    Some(Some((addresses.source_address, addresses.source_port).into()))
                }
                (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Some(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn after(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
        let mut stream = bytes;
        let address = read(&mut stream).await?;
        Ok((address, stream.to_vec()))
    }

    fn version_2(command: v2::Command, addresses: impl Into<v2::Addresses>) -> Vec<u8> {
        let builder = v2::Builder::with_addresses(v2::Version::Two | command, v2::Protocol::Stream, addresses);
        builder.write_tlv(v2::Type::ALPN, b"h2").unwrap().build().unwrap()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_nothing_behind_them_is_taken() {
        let (client, own): (SocketAddr, SocketAddr) =
            ("192.0.2.7:4711".parse().unwrap(), "10.0.0.1:443".parse().unwrap());
        let (client_6, own_6): (SocketAddr, SocketAddr) =
            ("[2001:db8::7]:4711".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap());
        for (header, address) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(), Some(client)),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), Some(client_6)),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (version_2(v2::Command::Proxy, (client, own)), Some(client)),
            (version_2(v2::Command::Proxy, (client_6, own_6)), Some(client_6)),
            (version_2(v2::Command::Local, (client, own)), None),
        ] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let (found, rest) = after(&bytes).await.unwrap();
            assert_eq!((found, rest.as_slice()), (address, &b"GET / HTTP/1.1\r\n"[..]), "{header:?}");
            for end in 0..header.len() {
                assert!(after(&header[..end]).await.is_err(), "cut at {end}: {header:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_within_bounds() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 5000]].concat();
        let mut long = version_2(
            v2::Command::Proxy,
            ("192.0.2.7:1".parse::<SocketAddr>().unwrap(), "10.0.0.1:2".parse().unwrap()),
        );
        long[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        long.resize(70_000, 0);
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 443\r\n",
            b"PROXY TCP4 evil 10.0.0.1 1 443\r\n",
            // Found by fuzzing.
            b"PROXY UNKNOWN ffx \n",
            b"PROXY UNKNOWN\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c",
            &endless,
            &long,
        ] {
            assert!(after(bytes).await.is_err(), "{bytes:?}");
        }
    }
}
