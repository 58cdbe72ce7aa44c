//! What a confidential client proves itself with.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A client secret, kept as its SHA-256: enough to recognise it, and nothing to leak.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret([u8; 32]);

impl ClientSecret {
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// In constant time, whatever the length of what is presented.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.ct_eq(&Self::of(presented).0).into()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_only_and_is_not_shown() {
        let secret = ClientSecret::of("canary");
        assert!(secret.matches("canary"));
        for other in ["", "canar", "canaryy", "Canary"] {
            assert!(!secret.matches(other));
        }
        assert_eq!(format!("{secret:?}"), "ClientSecret(..)");
    }
}
