//! Where a request comes from, for limits that count by address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Request;

/// The peer of the connection that a request came on. The edge puts it among the request's extensions; no header has a say.
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

    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or(Self::UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
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
}
