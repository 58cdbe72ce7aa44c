//! Proof Key for Code Exchange (RFC 7636): S256 and nothing else (T9).

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::random_bytes;

/// The SHA-256 of a verifier, as `/authorize` takes it: exactly 43 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeChallenge([u8; 32]);

/// What proves at `/token` that the caller began the authorization (RFC 7636 section 4.1).
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct CodeVerifier(String);

impl CodeChallenge {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn to_text(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl CodeVerifier {
    /// A fresh one, for our own sign-in at Entra.
    pub fn random() -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
    }

    /// 43 to 128 unreserved characters. The empty verifier is the classic hole: it must not even reach a comparison (S7).
    pub fn parse(text: &str) -> Option<Self> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        ((43..=128).contains(&text.len()) && text.bytes().all(unreserved)).then(|| Self(text.to_owned()))
    }

    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(Sha256::digest(&self.0).into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CodeVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CodeVerifier(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        assert_eq!(verifier.challenge().to_text(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_challenge_is_43_characters_of_base64url() {
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(CodeChallenge::parse(good).is_some());
        for bad in ["", "abc", &good[1..], &format!("{good}="), &format!("{good}A"), &good.replace('-', "+")] {
            assert!(CodeChallenge::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_verifier_is_43_to_128_unreserved_characters() {
        assert!(CodeVerifier::parse(&"a".repeat(43)).is_some());
        assert!(CodeVerifier::parse(&"~".repeat(128)).is_some());
        for bad in ["", &"a".repeat(42), &"a".repeat(129), &format!("{}+", "a".repeat(43)), &"é".repeat(30)] {
            assert!(CodeVerifier::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn our_own_verifiers_are_valid_and_hidden() {
        let verifier = CodeVerifier::random();
        assert!(CodeVerifier::parse(verifier.expose()).is_some());
        assert_eq!(format!("{verifier:?}"), "CodeVerifier(..)");
    }
}
