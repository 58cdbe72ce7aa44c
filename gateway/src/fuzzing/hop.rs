//! What the hops before us say of a request: `X-Forwarded-For` and `traceparent`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::source::{SourceAddress, TrustedProxies};
use crate::trace_context::{TRACEPARENT, TraceParent};

static PROXIES: LazyLock<TrustedProxies> = LazyLock::new(|| {
    let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().expect("it is a network"));
    TrustedProxies::new(networks.to_vec())
});

/// Each line is a header's value: the first two `traceparent`, the others `X-Forwarded-For`.
pub fn hop(input: &[u8]) {
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').take(8).map(HeaderValue::from_bytes).collect();
    let mut headers = HeaderMap::new();
    for (number, line) in lines.into_iter().enumerate() {
        let Ok(line) = line else { continue };
        // An empty second line is none, so that there may be one alone.
        match number {
            0 => _ = headers.append(TRACEPARENT, line),
            1 if line.is_empty() => {}
            1 => _ = headers.append(TRACEPARENT, line),
            _ => _ = headers.append(FORWARDED, line),
        }
    }
    trace(&headers);
    forwarded(headers);
}

fn trace(headers: &HeaderMap) {
    let Some(parent) = TraceParent::of(headers) else { return };
    assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1, "of two, neither is believed");
    assert!(parent.span != 0 && parent.trace.to_number() != 0);
    let again = HeaderMap::from_iter([(TRACEPARENT, parent.to_header())]);
    assert_eq!(TraceParent::of(&again), Some(parent));
}

fn forwarded(mut headers: HeaderMap) {
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(PROXIES.client(stranger, &headers), stranger, "nobody else's word counts");
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let client = PROXIES.client(proxy, &headers);
    assert_eq!(client, client.to_canonical());
    SourceAddress::new(client);
    if PROXIES.trusts(client) {
        return;
    }
    // What a client itself sends stands before what proxies add, and changes nothing.
    let sent = headers.get_all(FORWARDED).iter().cloned().collect::<Vec<_>>();
    headers.insert(FORWARDED, HeaderValue::from_static("198.51.100.7, 10.0.0.9"));
    sent.into_iter().for_each(|line| _ = headers.append(FORWARDED, line));
    assert_eq!(PROXIES.client(proxy, &headers), client);
}

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
