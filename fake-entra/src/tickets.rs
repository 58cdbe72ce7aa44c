//! What was handed out and must be recognised when it comes back: codes, refresh tokens, sessions, half-done sign-ins.

use std::collections::{BTreeSet, HashMap};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::authorize::{Challenge, Flow};
use crate::directory::Realm;

/// Seconds a code lives, and a page of a sign-in waits.
pub(crate) const CODE_LIFETIME: i64 = 600;
/// Seconds a refresh token may lie unused: 90 days.
pub(crate) const REFRESH_IDLE: i64 = 90 * 24 * 3600;
/// Half-done sign-ins and codes kept before expired ones are swept out.
const SWEEP_ABOVE: usize = 1_000;

/// Codes and refresh tokens are found by their hash, so that what is kept is small.
#[derive(Default)]
pub(crate) struct Tickets {
    codes: HashMap<[u8; 32], Code>,
    refresh_tokens: HashMap<[u8; 32], RefreshToken>,
    sessions: HashMap<String, Session>,
    /// Cookie of a browser to the sessions it holds, newest last.
    browsers: HashMap<String, Vec<String>>,
    flows: HashMap<String, Flow>,
}

/// One person's sign-in in one browser; `sid` of every token that came of it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub oid: String,
    pub mfa: bool,
    /// Policies of conditional access that this sign-in answered.
    pub satisfied: BTreeSet<String>,
    pub revoked: bool,
    /// A policy on how often people sign in wants them to do so again.
    pub stale: bool,
}

/// What a code or refresh token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Authorization {
    pub client_id: String,
    pub oid: String,
    pub sid: String,
    /// OpenID Connect scopes of the sign-in (`openid`, `offline_access` …).
    pub oidc: Vec<String>,
    /// The scope asked for, as it was written.
    pub scope: String,
    /// The client can handle claims challenges (`cp1`).
    pub cae: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub authorization: Authorization,
    /// Where it was given, and must be redeemed.
    pub realm: Realm,
    pub redirect_uri: String,
    /// The redirect URI is registered for a single-page app.
    pub spa: bool,
    pub challenge: Option<Challenge>,
    pub nonce: Option<String>,
    pub client_info: bool,
    pub issued: i64,
    pub redeemed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct RefreshToken {
    pub authorization: Authorization,
    pub issued: i64,
    pub dead: bool,
}

impl Tickets {
    /// Keeps a code and answers its text: opaque, long as Entra's, or `short`.
    pub fn issue_code(&mut self, code: Code, short: bool) -> String {
        let text = format!("1.AX{}", random_text(if short { 42 } else { 900 }));
        if self.codes.len() > SWEEP_ABOVE {
            let now = code.issued;
            self.codes.retain(|_, kept| kept.issued + 2 * CODE_LIFETIME > now);
        }
        self.codes.insert(hash(&text), code);
        text
    }

    pub fn code(&self, text: &str) -> Option<&Code> {
        self.codes.get(&hash(text))
    }

    /// Marks the code as used up. `false`: somebody was faster.
    pub fn redeem(&mut self, text: &str) -> bool {
        self.codes.get_mut(&hash(text)).is_some_and(|code| !std::mem::replace(&mut code.redeemed, true))
    }

    pub fn issue_refresh_token(&mut self, authorization: Authorization, now: i64) -> String {
        let text = format!("1.AX{}", random_text(750));
        self.refresh_tokens.insert(hash(&text), RefreshToken { authorization, issued: now, dead: false });
        text
    }

    pub fn refresh_token(&self, text: &str) -> Option<&RefreshToken> {
        self.refresh_tokens.get(&hash(text))
    }

    pub fn kill_refresh_token(&mut self, text: &str) {
        if let Some(token) = self.refresh_tokens.get_mut(&hash(text)) {
            token.dead = true;
        }
    }

    pub fn begin_session(&mut self, browser: &str, session: Session) -> String {
        let sid = Uuid::new_v4().to_string();
        let oid = session.oid.clone();
        let held = self.browsers.entry(browser.into()).or_default();
        // One session per person and browser: a new sign-in replaces the old one.
        held.retain(|old| self.sessions.get(old).is_some_and(|old| old.oid != oid));
        held.push(sid.clone());
        self.sessions.insert(sid.clone(), session);
        sid
    }

    pub fn session(&self, sid: &str) -> Option<&Session> {
        self.sessions.get(sid)
    }

    /// Live sessions of a browser: (sid, session).
    pub fn sessions_of(&self, browser: &str) -> Vec<(String, Session)> {
        let held = self.browsers.get(browser).into_iter().flatten();
        held.filter_map(|sid| self.sessions.get(sid).map(|session| (sid.clone(), session.clone())))
            .filter(|(_, session)| !session.revoked && !session.stale)
            .collect()
    }

    pub fn sign_out(&mut self, browser: &str) {
        self.browsers.remove(browser);
    }

    /// `revokeSignInSessions`: every session so far is over, and with it its refresh tokens.
    pub fn revoke_sessions(&mut self, oid: &str) {
        for session in self.sessions.values_mut().filter(|session| session.oid == oid) {
            session.revoked = true;
        }
    }

    /// Every session so far has become too old for a policy; its refresh tokens answer so.
    pub fn require_sign_in(&mut self, oid: &str) {
        for session in self.sessions.values_mut().filter(|session| session.oid == oid) {
            session.stale = true;
        }
    }

    /// The second factor of every session so far counts as given.
    pub fn satisfy_mfa(&mut self, oid: &str) {
        for session in self.sessions.values_mut().filter(|session| session.oid == oid) {
            session.mfa = true;
        }
    }

    pub fn keep_flow(&mut self, id: &str, flow: Flow, now: i64) {
        if self.flows.len() > SWEEP_ABOVE {
            self.flows.retain(|_, kept| kept.begun + CODE_LIFETIME > now);
        }
        self.flows.insert(id.into(), flow);
    }

    /// Takes a flow out; whoever continues it puts it back. Expired ones are gone.
    pub fn take_flow(&mut self, id: &str, now: i64) -> Option<Flow> {
        self.flows.remove(id).filter(|flow| flow.begun + CODE_LIFETIME > now)
    }
}

/// `bytes` random bytes in base64url.
pub(crate) fn random_text(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    rand::rng().fill_bytes(&mut buffer);
    URL_SAFE_NO_PAD.encode(buffer)
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
