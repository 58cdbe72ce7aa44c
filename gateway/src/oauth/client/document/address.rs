//! Which addresses are on the public Internet. Whatever is reserved for something else, by IANA's registries of special-purpose
//! addresses (RFC 6890), could lead to this machine, this network or a cloud's own services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a stranger may make us connect there.
///
/// Addresses that carry an IPv4 address inside (mapped, 6to4, Teredo, NAT64, ISATAP) are refused whatever they carry: a
/// host on the public Internet has better ones.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const RESERVED: [(Ipv4Addr, u32); 18] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        // The platform services of Azure, reachable from every machine there and from nowhere else.
        (Ipv4Addr::new(168, 63, 129, 16), 32),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 31, 196, 0), 24),
        (Ipv4Addr::new(192, 52, 193, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(192, 175, 48, 0), 24),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        // Multicast, reserved, broadcast.
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    let bits = address.to_bits();
    !RESERVED.iter().any(|(network, length)| (bits ^ network.to_bits()) >> (32 - length) == 0)
}

/// Global unicast is 2000::/3, without what is reserved in it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    const RESERVED: [(Ipv6Addr, u32); 6] = [
        // Protocol assignments: Teredo, benchmarking, ORCHID.
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
        // 6to4.
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
        (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16),
        // Documentation.
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    ];
    let bits = address.to_bits();
    let is_isatap = matches!(address.segments()[4..6], [0 | 0x200, 0x5efe]);
    bits >> 125 == 1
        && !is_isatap
        && !RESERVED.iter().any(|(network, length)| (bits ^ network.to_bits()) >> (128 - length) == 0)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// T19: the first, the last and some in between of every range that is not the public Internet.
    const CORPUS: &str = include_str!("reserved_addresses.txt");

    pub fn corpus() -> Vec<IpAddr> {
        let words = CORPUS.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        words.map(|word| word.parse().unwrap_or_else(|_| panic!("{word} is no address"))).collect()
    }

    #[test]
    fn no_reserved_address_is_public() {
        assert!(corpus().len() >= 150, "{}", corpus().len());
        for address in corpus() {
            assert!(!is_public(address), "{address}");
        }
    }

    #[test]
    fn no_reserved_ipv4_address_is_public_inside_an_ipv6_one() {
        for address in corpus() {
            let IpAddr::V4(v4) = address else { continue };
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = ((a << 8) | b, (c << 8) | d);
            for v6 in [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 0, !high, !low),
                Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low),
                Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0x200, 0x5efe, high, low),
            ] {
                assert!(!is_public(v6.into()), "{v6} carries {v4}");
            }
        }
    }

    #[test]
    fn addresses_beside_the_reserved_ones_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450:4001:80b::200e",
            "3fff:1000::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
