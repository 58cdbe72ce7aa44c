//! Mischief on request: the next matching requests get a scripted answer, a delay, or no answer.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::lock;

/// What happens to requests that match. With none of `status`, `aadsts`, `html`, `drop_connection` the request is
/// handled as usual, after the delay; `truncate_body` then cuts the usual answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    #[serde(rename = "match")]
    pub matching: Match,
    /// How many requests it hits before it is gone.
    pub times: u32,
    /// Answer with this status, in the shape of the service asked unless `body` or `html` says otherwise.
    pub status: Option<u16>,
    pub body: Option<Value>,
    /// Answer with this AADSTS error; `status` overrides its status.
    pub aadsts: Option<u32>,
    /// `Retry-After` as written: Graph is known to send decimals.
    pub retry_after: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub delay_ms: u64,
    /// Close the connection without an answer. The request is not handled.
    pub drop_connection: bool,
    /// Send half of the body and close. The request **was** handled.
    pub truncate_body: bool,
    /// The body is a page, as an outage's front end sends it.
    pub html: bool,
}

/// All given parts must fit. An empty `Match` fits every request.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Part of the path. Mind that IMDS ends in `/token` too: `/v2.0/token` is Entra's alone.
    pub path: Option<String>,
    pub grant: Option<String>,
    pub client: Option<String>,
    /// Object id or user principal name of the user whose code, refresh token or access token the request carries.
    pub user: Option<String>,
}

impl Default for Fault {
    fn default() -> Fault {
        Fault {
            matching: Match::default(),
            times: 1,
            status: None,
            body: None,
            aadsts: None,
            retry_after: None,
            headers: BTreeMap::new(),
            delay_ms: 0,
            drop_connection: false,
            truncate_body: false,
            html: false,
        }
    }
}

impl Fault {
    /// A fault on the next request whose path contains `path`; fill in the rest with `..`.
    pub fn on(path: &str) -> Fault {
        Fault { matching: Match { path: Some(path.into()), ..Match::default() }, ..Fault::default() }
    }

    /// Does it answer in place of the handler?
    pub(crate) fn answers(&self) -> bool {
        self.status.is_some() || self.aadsts.is_some() || self.html || self.body.is_some()
    }
}

#[derive(Default)]
pub(crate) struct Faults {
    armed: Mutex<Vec<Fault>>,
}

impl Faults {
    pub fn arm(&self, fault: Fault) {
        if fault.times > 0 {
            lock(&self.armed).push(fault);
        }
    }

    pub fn clear(&self) {
        lock(&self.armed).clear();
    }

    pub fn armed(&self) -> Vec<Fault> {
        lock(&self.armed).clone()
    }

    /// The first armed fault that fits, one of its times used up. `names` are the user's object id and name.
    pub fn take(&self, call: &Call, names: &[String]) -> Option<Fault> {
        let mut armed = lock(&self.armed);
        let at = armed.iter().position(|fault| fault.matching.fits(call, names))?;
        armed[at].times -= 1;
        if armed[at].times == 0 { Some(armed.remove(at)) } else { Some(armed[at].clone()) }
    }
}

impl Match {
    fn fits(&self, call: &Call, names: &[String]) -> bool {
        self.path.as_deref().is_none_or(|part| call.path.contains(part))
            && self.grant.as_deref().is_none_or(|grant| call.form.get("grant_type") == Some(grant))
            && self.client.as_deref().is_none_or(|client| call.any("client_id") == Some(client))
            && self.user.as_deref().is_none_or(|user| names.iter().any(|name| name == user))
    }
}
