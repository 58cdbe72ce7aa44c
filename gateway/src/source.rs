//! Where requests come from: for limits that count by address, and for the word that an upstream gets about its caller.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, Request};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Nobody stands behind more proxies than that.
const HOPS_AT_MOST: usize = 32;

/// Whoever a limit counts as one.
///
/// Of an IPv6 address the network counts, its first 64 bits: whoever has one address of it has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceAddress(IpAddr);

impl SourceAddress {
    /// Shared by all requests that come without one, which are then limited together.
    pub const UNKNOWN: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            address => Self(address),
        }
    }

    /// What the edge has put among the request's extensions.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or(Self::UNKNOWN)
    }
}

/// An address as it is written, for each request: without the padding that `Display` knows.
pub fn text(address: IpAddr) -> String {
    let mut text = String::new();
    append(&mut text, address);
    text
}

/// Appends an address as it is written.
pub fn append(text: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to memory does not fail.
        _ = write!(text, "{address}");
        return;
    };
    let mut buffer = itoa::Buffer::new();
    text.reserve("255.255.255.255".len());
    for (index, octet) in address.octets().into_iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "." });
        text.push_str(buffer.format(octet));
    }
}

/// The proxies whose word on a client's address is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who a request is from, when it came from `peer`: the last address that a trusted proxy has written down and that is
    /// no trusted proxy's itself. Whatever stands before that, the client may have made up.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = headers.get_all(X_FORWARDED_FOR).iter().rev().flat_map(|line| {
            let line = line.to_str().unwrap_or("unreadable");
            line.rsplit(',').map(str::trim)
        });
        for _ in 0..HOPS_AT_MOST {
            if !self.trusts(client) {
                break;
            }
            match hops.next().map(address) {
                Some(Some(hop)) => client = hop,
                // Nobody before it, or nobody that can be told: the proxy speaks for itself.
                Some(None) | None => break,
            }
        }
        client
    }
}

/// `192.0.2.1`, `192.0.2.1:4711` as some balancers write it, `2001:db8::1`, `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    address.or_else(bare).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_ipv6_network_and_a_mapped_ipv4_address_are_one_source() {
        let source = |text: &str| SourceAddress::new(text.parse().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn a_request_without_an_address_is_of_an_unknown_source() {
        let mut request = Request::new(());
        assert_eq!(SourceAddress::of(&request), SourceAddress::UNKNOWN);
        let source = SourceAddress::new("192.0.2.1".parse().unwrap());
        request.extensions_mut().insert(source);
        assert_eq!(SourceAddress::of(&request), source);
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_go() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:9::/48".parse().unwrap()]);
        for (peer, forwarded, client) in [
            // Whoever is no proxy says nothing about himself.
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // A client that writes a line of its own is found right of it.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["10.9.9.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("2001:db8:9::1", &["2001:db8:1::5"], "2001:db8:1::5"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8:1::5]:4711"], "2001:db8:1::5"),
            ("10.0.0.1", &["[2001:db8:1::5]"], "2001:db8:1::5"),
            // What cannot be read ends the chain there.
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7,"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        ] {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let found = proxies.client(peer.parse().unwrap(), &headers);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(b"198.51.100.7, \xff").unwrap());
        assert_eq!(proxies.client([10, 0, 0, 1].into(), &headers), IpAddr::from([10, 0, 0, 1]));
        let long = format!("198.51.100.7{}", ", 10.0.0.2".repeat(10_000));
        headers.insert(X_FORWARDED_FOR, long.parse().unwrap());
        assert_eq!(proxies.client([10, 0, 0, 1].into(), &headers), IpAddr::from([10, 0, 0, 2]));
    }
}
