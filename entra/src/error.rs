//! What went wrong at Entra, sorted by who can mend it (entra.md 5.7).

use std::time::Duration;

use crate::token::first_code;
use crate::{ClaimsError, ClaimsRequest};

/// Why a token call gave no token. `Display` is for the log: it names the error, the AADSTS numbers and the correlation
/// id, and never a token, a code, the content of claims, or Entra's prose (which names tenants and users).
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The user can mend it at Entra's pages: more factors, consent, a new password. Never retry without them.
    #[error("the user must act: {0}")]
    UserMustAct(Refusal),
    /// Entra says no, and interacting does not help: a blocked account, an access policy, a dead code or assertion.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Entra, the network, the signing keys or the credential are out for the moment. Answer 503, never 401.
    #[error("try later: {cause}")]
    TryLater { retry_after: Option<Duration>, cause: String },
    /// An operator must mend the registration, the credential or the configured scope.
    #[error("set-up: {0}")]
    SetUp(String),
    /// A token came, but its id_token did not verify.
    #[error("the id_token is not to be trusted: {0}")]
    Untrusted(#[source] ClaimsError),
    /// Signed in with everything right, at a tenant whose users are not let in (GU-15, T21).
    #[error("a user of a tenant that is not allowed: {object_id} of {tenant_id}")]
    OtherTenant { tenant_id: String, object_id: String },
}

impl Error {
    /// The first AADSTS number that Entra gave, if it gave one.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::UserMustAct(refusal) | Self::Refused(refusal) => refusal.codes.first().copied(),
            // Both were written by `Refusal`, whose numbers begin so.
            Self::SetUp(words) | Self::TryLater { cause: words, .. } => first_code(words),
            Self::Untrusted(_) | Self::OtherTenant { .. } => None,
        }
    }
}

/// The parts of an OAuth error answer (RFC 6749 section 5.2, entra.md 5.6) that are safe to keep.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    pub error: String,
    pub suberror: Option<String>,
    /// AADSTS numbers. For logs; no decision is made by them.
    pub codes: Vec<u32>,
    pub correlation_id: Option<String>,
    /// The claims challenge to send along with the next sign-in.
    pub claims: Option<ClaimsRequest>,
}

impl Refusal {
    /// Whether going through Entra's pages again can bring what was missing (GU-9). A missing consent cannot be given
    /// there unless it is asked for, so that is for an administrator.
    pub fn can_be_answered(&self) -> bool {
        match (self.error.as_str(), self.suberror.as_deref()) {
            ("consent_required", _) | (_, Some("consent_required" | "message_only")) => false,
            ("interaction_required" | "login_required", _) | (_, Some("basic_action" | "additional_action")) => true,
            _ => self.claims.is_some(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error)?;
        if let Some(suberror) = &self.suberror {
            write!(f, "/{suberror}")?;
        }
        for code in &self.codes {
            write!(f, " AADSTS{code}")?;
        }
        if self.claims.is_some() {
            f.write_str(" with claims")?;
        }
        match &self.correlation_id {
            Some(id) => write!(f, " correlation_id={id}"),
            None => Ok(()),
        }
    }
}
