//! Cookies as any site or program may send them.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::{ApprovedClients, ConsentState, Cookies, CsrfToken, DeniedClients, EntraState, Jar, OPEN_TRANSACTIONS};
use crate::browser::Transaction;
use crate::clock::{Clock, Timestamp};
use crate::fuzzing::SEALER;

static COOKIES: LazyLock<Cookies> =
    LazyLock::new(|| Cookies::new(SEALER.clone(), Clock::manual(Timestamp::from_unix(1_000_000))));

/// `name=value` of the one transaction that this browser has begun.
static OURS: LazyLock<String> = LazyLock::new(|| {
    let set = COOKIES.set_for(&ConsentState { transaction: Transaction::OF_THE_BROWSER });
    let text = set.to_str().expect("a cookie is text");
    text.split(';').next().expect("there is a first part").to_owned()
});

/// Each line is a `Cookie` header. In front of them stands one with a cookie of ours.
pub fn cookie(input: &[u8]) {
    let mut headers = HeaderMap::from_iter([(COOKIE, OURS.parse().expect("a cookie is a header's value"))]);
    let lines = input.split(|byte| *byte == b'\n').take(8);
    lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).for_each(|line| _ = headers.append(COOKIE, line));
    let jar = Jar::of(&headers);
    let sent = sent(&headers);
    assert_eq!(jar.0, sent);

    // Only what we sealed opens, and only where nobody has put another one beside it.
    let (name, value) = OURS.split_once('=').expect("it has a name");
    let alone = sent[name].as_deref() == Some(value);
    let found: Option<ConsentState> = COOKIES.get_for(&jar, Transaction::OF_THE_BROWSER);
    assert_eq!(found.is_some(), alone);
    assert_eq!(COOKIES.all::<ConsentState>(&jar).count(), usize::from(alone));
    assert!(COOKIES.all::<CsrfToken>(&jar).next().is_none() && COOKIES.all::<EntraState>(&jar).next().is_none());
    assert!(COOKIES.get::<ApprovedClients>(&jar).is_none() && COOKIES.get::<DeniedClients>(&jar).is_none());

    // Only names of ours are answered; enough of them that few are left.
    let all = COOKIES.clear_all(&jar);
    assert!(cleared(&all).all(|name| name.starts_with("__Host-MCP_") && sent.contains_key(name)));
    let surplus = COOKIES.make_room(&jar, Transaction::OF_THE_BROWSER);
    let kept = sent.keys().filter(|name| !cleared(&surplus).any(|gone| gone == *name));
    let open: HashSet<_> = kept.filter_map(|name| transaction(name)).collect();
    assert!(open.len() <= OPEN_TRANSACTIONS && !cleared(&surplus).any(|gone| gone == name));
}

/// What RFC 6265 section 5.4 has in a header, by another road; `None` for a name that is there twice.
fn sent(headers: &HeaderMap) -> HashMap<String, Option<String>> {
    let mut sent = HashMap::new();
    for header in headers.get_all(COOKIE) {
        for pair in header.as_bytes().split(|byte| *byte == b';') {
            let Ok(pair) = std::str::from_utf8(pair) else { continue };
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if !name.is_empty() {
                sent.entry(name.to_owned()).and_modify(|value| *value = None).or_insert(Some(value.to_owned()));
            }
        }
    }
    sent
}

/// What a name of ours ends in.
fn transaction(name: &str) -> Option<&str> {
    let (kind, suffix) = name.strip_prefix("__Host-MCP_")?.split_once('-')?;
    let is_ours = ["CONSENT_STATE", "CSRF_TOKEN", "ENTRA_STATE"].contains(&kind);
    (is_ours && suffix.len() == 8 && suffix.chars().all(|digit| digit.is_ascii_hexdigit())).then_some(suffix)
}

fn cleared(set: &[HeaderValue]) -> impl Iterator<Item = &str> {
    set.iter().map(|set| {
        let text = set.to_str().expect("a cookie is text");
        assert!(text.contains("Max-Age=0") && text.len() < 200, "{text}");
        text.split_once('=').expect("it has a name").0
    })
}
