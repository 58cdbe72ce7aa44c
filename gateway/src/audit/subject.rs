//! Whom a line is about.

use sha2::{Digest, Sha256};

/// A user: tenant and object id, as one digest. It can be guessed from them, so no format shows it; lines have a keyed hash of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subject([u8; 32]);

impl Subject {
    /// No digest of anybody, until it is known whose something is.
    pub const NOBODY: Self = Self([0; 32]);

    /// Case does not matter, as it does not to Entra.
    pub fn of(tenant_id: &str, object_id: &str) -> Self {
        let identity = format!("{}/{}", tenant_id.to_ascii_lowercase(), object_id.to_ascii_lowercase());
        Self(Sha256::digest(identity).into())
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.0
    }

    /// As lines under this key call the user.
    pub fn pseudonym(&self, key: &crate::sealed::AuditKey) -> String {
        key.pseudonym(self.digest())
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Subject(..)")
    }
}
