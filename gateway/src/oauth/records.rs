//! An authorization, stage by stage, as it is sealed or stored between requests.
//!
//! Until the user has clicked Allow nothing is stored: the validated request travels sealed (no storage to flood, and a
//! request may be repeated at will). Then a [`PendingAuthorization`] waits for Entra's answer, and a [`GrantedCode`] for
//! its client.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::client::{ClientRef, Kind};
use super::client_name::ClientName;
use super::pkce::{CodeChallenge, CodeVerifier};
use super::prompt::Prompt;
use super::redirect_uri::ReturnAddress;
use crate::browser::{Label, Transaction};
use crate::clock::Timestamp;
use crate::sealed::{Id, OpenError, Purpose, Sealer};
use crate::secret::SecretKey;
use crate::session::Begun;
use crate::store::Guard;

/// How long a person may take to read the consent page.
pub const CONSENT_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a person may take to sign in at Entra.
pub const SIGN_IN_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// How long a client may take to redeem its code (A22).
pub const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// What a client asked for, once its registration and redirect URI are proven and every parameter is checked. It exists
/// in no other way, so nobody checks again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    pub client: ClientRef,
    pub client_kind: Kind,
    pub client_name: ClientName,
    pub return_to: ReturnAddress,
    pub challenge: CodeChallenge,
    /// The canonical URL of the resource.
    pub resource: String,
    pub prompt: Option<Prompt>,
    pub login_hint: Option<String>,
    pub transaction: Transaction,
    pub issued: Timestamp,
}

/// A user who said yes and is signing in at Entra. It opens only with the secret in the cookie of the browser that said
/// so: another browser cannot complete it, whatever it was sent (T1).
#[derive(Serialize, Deserialize)]
pub struct PendingAuthorization {
    pub request: AuthorizationRequest,
    pub verifier: CodeVerifier,
    pub nonce: String,
    /// Whether this is the second turn at Entra, which there is at most one of (GU-9).
    pub bounced: bool,
}

/// What a code stands for in the store.
#[derive(Serialize, Deserialize)]
pub struct GrantedCode {
    pub session: Begun,
}

/// The plaintext of a code.
#[derive(Serialize, Deserialize)]
pub struct Code {
    pub id: Id,
    pub secret: SecretKey,
    pub resource: String,
}

/// Everything that a redemption must present alike (A22).
pub struct Binding<'a> {
    pub client: ClientRef,
    pub redirect_uri: &'a str,
    pub challenge: CodeChallenge,
    pub resource: &'a str,
}

impl AuthorizationRequest {
    pub fn seal(&self, sealer: &Sealer) -> String {
        sealer.seal(Purpose::AuthorizationRequest, &[], self)
    }

    pub fn open(sealer: &Sealer, text: &str) -> Result<Self, OpenError> {
        sealer.open(Purpose::AuthorizationRequest, &[], text)
    }

    /// Names what a browser may remember a "yes" for: this client, at this redirect URI, for this resource, and as its
    /// document described it then (D-3).
    pub fn approval(&self) -> [u8; 32] {
        let fingerprint: &[u8] = match &self.client_kind {
            Kind::MetadataDocument { fingerprint, .. } => fingerprint,
            Kind::Registered | Kind::Preregistered => &[],
        };
        let redirect_uri = self.return_to.redirect_uri.as_str();
        digest(&[self.client.as_bytes(), redirect_uri.as_bytes(), self.resource.as_bytes(), fingerprint])
    }

    /// A client id that is public knowledge, with an answer that goes to whichever program takes it on this computer: any
    /// program could ask in that client's name, so somebody must look each time (T20).
    pub fn may_be_remembered(&self) -> bool {
        let known_to_all = !matches!(self.client_kind, Kind::Registered);
        !(known_to_all && self.return_to.redirect_uri.is_local())
    }

    /// By which the user recognises it later.
    pub fn label(&self) -> Label {
        Label::new(&self.client_name.to_string(), self.return_to.redirect_uri.destination())
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.issued.after(CONSENT_LIFETIME).has_passed(now)
    }

    pub fn binding(&self) -> Binding<'_> {
        Binding {
            client: self.client,
            redirect_uri: self.return_to.redirect_uri.as_str(),
            challenge: self.challenge,
            resource: &self.resource,
        }
    }
}

impl Code {
    /// A code is a forgery for every client but its own.
    pub fn seal(&self, sealer: &Sealer, client: ClientRef) -> String {
        sealer.seal(Purpose::AuthorizationCode, &[client.as_bytes()], self)
    }

    pub fn open(sealer: &Sealer, client: ClientRef, text: &str) -> Result<Self, OpenError> {
        sealer.open(Purpose::AuthorizationCode, &[client.as_bytes()], text)
    }
}

impl Binding<'_> {
    pub fn guard(&self) -> Guard {
        digest(&[
            self.client.as_bytes(),
            self.redirect_uri.as_bytes(),
            self.challenge.as_bytes(),
            self.resource.as_bytes(),
        ])
    }
}

/// Every part is preceded by its length, so that no two lists of parts give the same bytes.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
