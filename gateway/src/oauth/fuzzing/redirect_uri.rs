//! Redirect URIs: at registration, at `/authorize`, and what becomes of one in an answer.

use std::sync::LazyLock;

use url::{Host, Url};

use crate::fuzzing::ISSUER;
use crate::oauth::redirect_uri::{RedirectUri, ReturnAddress};
use crate::public_url::PublicUrl;

/// `javascript` as if an operator had allowed it.
static SCHEMES: LazyLock<Vec<String>> =
    LazyLock::new(|| ["cursor", "com.example.app", "javascript"].map(str::to_owned).to_vec());

/// What somebody registers; on a second line what is presented then, and behind it a state.
pub fn redirect_uri(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(3, '\n');
    let registered = lines.next().unwrap_or_default();
    let Ok(uri) = RedirectUri::parse(registered, &SCHEMES) else { return };
    is_a_good_one(&uri, registered);
    if let Some(presented) = lines.next() {
        match uri.accept(presented) {
            Some(accepted) => {
                assert_eq!(accepted.as_str(), presented);
                assert!(may_match(registered, presented), "{registered} accepted {presented}");
            }
            None => assert_ne!(registered, presented),
        }
    }
    is_kept_in_an_answer(uri, lines.next());
}

/// As the rules have it, told without the code that is tried.
fn is_a_good_one(uri: &RedirectUri, text: &str) {
    assert_eq!(uri.as_str(), text);
    assert!(text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\\<>\"`^{|}".contains(&byte)));
    let url = Url::parse(text).expect("it is a URL");
    assert!(url.as_str() == text || url.as_str() == format!("{text}/"), "{text} reads as {url}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{text}");
    let is_loopback = match (url.scheme(), url.host()) {
        ("https", Some(Host::Domain(_))) => false,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.octets() == [127, 0, 0, 1],
        ("http", Some(Host::Ipv6(address))) => address.segments() == [0, 0, 0, 0, 0, 0, 0, 1],
        ("cursor" | "com.example.app", _) => false,
        (scheme, host) => panic!("{scheme} with {host:?}"),
    };
    assert_eq!((uri.is_loopback(), url.scheme() == "http"), (is_loopback, is_loopback), "{text}");
    assert!(!uri.destination().is_empty() && text.contains(uri.destination()));
    if url.scheme() == "https" {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        assert_eq!(uri.destination(), format!("{}{port}", url.host_str().expect("it has a host")), "{text}");
    }
    assert!(uri.accept(text).is_some(), "a client's own is good: {text}");
    let ours = PublicUrl::parse(ISSUER).expect("it is one");
    let leads_to_us = url.scheme() == "https"
        && url.host_str().expect("it has a host").trim_end_matches('.') == "mcp.example.com"
        && url.port_or_known_default() == Some(443);
    assert_eq!(uri.clone().elsewhere(&ours).is_err(), leads_to_us, "{text}");
}

/// The same URL, but for the port of one on loopback.
fn may_match(registered: &str, presented: &str) -> bool {
    let [mut one, mut other] = [registered, presented].map(|text| Url::parse(text).expect("both are URLs"));
    if one.scheme() == "http" {
        for url in [&mut one, &mut other] {
            url.set_port(None).expect("it has a host");
        }
    }
    one == other
}

/// Every parameter of ours is in it once, with our value, and nothing of the URI has changed.
fn is_kept_in_an_answer(redirect_uri: RedirectUri, state: Option<&str>) {
    let text = redirect_uri.as_str().to_owned();
    let address = ReturnAddress { redirect_uri, state: state.map(str::to_owned) };
    for (answer, outcome, other) in [
        (address.with_code(ISSUER, "c0de"), "code", "error"),
        (address.with_error(ISSUER, "e", "No."), "error", "code"),
    ] {
        assert!(answer.starts_with(&text) && answer.bytes().all(|byte| byte.is_ascii_graphic()), "{answer:?}");
        let url = Url::parse(&answer).expect("an answer is a URL");
        assert_eq!(
            url.origin().ascii_serialization(),
            Url::parse(&text).expect("it is a URL").origin().ascii_serialization()
        );
        let values = |name: &str| -> Vec<String> {
            url.query_pairs().filter(|(other, _)| other == name).map(|(_, value)| value.into_owned()).collect()
        };
        assert_eq!(values("iss"), [ISSUER], "{answer}");
        assert_eq!(values("state"), state.into_iter().collect::<Vec<_>>(), "{answer}");
        assert_eq!((values(outcome).len(), values(other).len()), (1, 0), "{answer}");
    }
}
