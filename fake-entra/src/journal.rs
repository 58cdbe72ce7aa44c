//! What was asked of the stand-in, for tests and people: names and outcomes, never a token, code or secret.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::clock::wall_milliseconds;
use crate::lock;

/// Entries kept; older ones are forgotten (the counters are not).
const KEPT: usize = 10_000;
/// Values kept for leak scans; older ones are forgotten, so that a long load run stays small.
const CANARIES_KEPT: usize = 10_000;
/// Parameters whose value is a credential: of these the journal keeps the first 12 hex digits of the SHA-256.
const SECRETS: [&str; 7] =
    ["assertion", "client_assertion", "client_secret", "code", "code_verifier", "refresh_token", "id_token_hint"];

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// 1, 2, 3 … since start or reset.
    pub sequence: u64,
    /// Real time, milliseconds since the epoch.
    pub at_ms: i64,
    pub duration_ms: i64,
    pub method: String,
    pub path: String,
    /// Names of query and form parameters, sorted.
    pub parameters: BTreeSet<String>,
    pub client_id: Option<String>,
    pub grant_type: Option<String>,
    pub client_assertion: bool,
    pub client_secret: bool,
    pub resource: bool,
    /// The request had an `Origin` header.
    pub origin: bool,
    /// SHA-256 prefixes of credentials, by parameter name (`bearer` for the Authorization header).
    pub digests: BTreeMap<String, String>,
    pub status: u16,
    /// `code issued`, `tokens issued`, `invalid_grant AADSTS54005`, `fault` …
    pub outcome: String,
}

/// How often each part was asked, since start or reset.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counters {
    /// Calls of the token endpoint by grant type (`none` without one).
    pub token: BTreeMap<String, u64>,
    pub authorize: u64,
    pub discovery: u64,
    pub keys: u64,
    /// Managed identity, by either form.
    pub imds: u64,
    pub graph: u64,
    pub other: u64,
    /// Requests a scripted fault touched.
    pub faults: u64,
}

impl Counters {
    /// Calls of the token endpoint, whatever the grant.
    pub fn token_calls(&self) -> u64 {
        self.token.values().sum()
    }
}

#[derive(Default)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
    canaries: Mutex<VecDeque<String>>,
}

#[derive(Default)]
struct Inner {
    entries: VecDeque<Entry>,
    last: u64,
    counters: Counters,
}

impl Journal {
    pub fn record(&self, call: &Call, started_ms: i64, status: u16, outcome: String, faulted: bool) {
        let mut inner = lock(&self.inner);
        inner.last += 1;
        let entry = Entry {
            sequence: inner.last,
            at_ms: started_ms,
            duration_ms: wall_milliseconds() - started_ms,
            method: call.method.to_string(),
            path: call.path.chars().take(256).collect(),
            parameters: call.query.iter().chain(call.form.iter()).map(|(name, _)| shown_name(name)).collect(),
            client_id: call.any("client_id").map(shown_name),
            grant_type: call.form.get("grant_type").map(shown_name),
            client_assertion: call.form.has("client_assertion"),
            client_secret: call.form.has("client_secret") || is_basic(call),
            resource: call.any("resource").is_some(),
            origin: call.header("origin").is_some(),
            digests: digests(call),
            status,
            outcome,
        };
        inner.counters.count(&entry, faulted);
        inner.entries.push_back(entry);
        if inner.entries.len() > KEPT {
            inner.entries.pop_front();
        }
    }

    /// Entries after number `since`.
    pub fn since(&self, since: u64) -> Vec<Entry> {
        lock(&self.inner).entries.iter().filter(|entry| entry.sequence > since).cloned().collect()
    }

    pub fn counters(&self) -> Counters {
        lock(&self.inner).counters.clone()
    }

    pub fn clear(&self) {
        *lock(&self.inner) = Inner::default();
    }

    /// Remembers, in this process only, a value that must appear in nobody's log.
    pub fn canary(&self, value: &str) {
        let mut canaries = lock(&self.canaries);
        canaries.push_back(value.into());
        if canaries.len() > CANARIES_KEPT {
            canaries.pop_front();
        }
    }

    pub fn canaries(&self) -> Vec<String> {
        lock(&self.canaries).iter().cloned().collect()
    }
}

impl Counters {
    fn count(&mut self, entry: &Entry, faulted: bool) {
        self.faults += u64::from(faulted);
        let path = entry.path.as_str();
        let counter = if path.ends_with("/oauth2/v2.0/token") {
            self.token.entry(entry.grant_type.clone().unwrap_or_else(|| "none".into())).or_default()
        } else if path.ends_with("/oauth2/v2.0/authorize") {
            &mut self.authorize
        } else if path.ends_with("/discovery/v2.0/keys") || path.ends_with("/discovery/keys") || path.ends_with("/jwks")
        {
            &mut self.keys
        } else if path.ends_with("/.well-known/openid-configuration") || path.ends_with("/discovery/instance") {
            &mut self.discovery
        } else if path.ends_with("/identity/oauth2/token") || path == "/msi/token" {
            &mut self.imds
        } else if path.starts_with("/graph/") {
            &mut self.graph
        } else {
            &mut self.other
        };
        *counter += 1;
    }
}

/// The first 12 hex digits of a value's SHA-256.
pub(crate) fn digest(value: &str) -> String {
    Sha256::digest(value.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn digests(call: &Call) -> BTreeMap<String, String> {
    let parameters = call.query.iter().chain(call.form.iter());
    let mut digests: BTreeMap<String, String> = parameters
        .filter(|(name, value)| SECRETS.contains(name) && !value.is_empty())
        .map(|(name, value)| (name.to_owned(), digest(value)))
        .collect();
    if let Some(bearer) = call.bearer() {
        digests.insert("bearer".into(), digest(bearer));
    }
    digests
}

/// Client ids, grant types and parameter names are shown only if they look like such: a caller that puts a token in
/// the wrong place must not get it into the journal.
fn shown_name(name: &str) -> String {
    let plain = name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:$".contains(&b));
    if plain { name.into() } else { format!("sha256:{}", digest(name)) }
}

fn is_basic(call: &Call) -> bool {
    call.header("authorization").is_some_and(|value| value.len() > 6 && value[..6].eq_ignore_ascii_case("basic "))
}
