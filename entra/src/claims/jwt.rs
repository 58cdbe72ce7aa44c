//! A JWT in its three parts (RFC 7515 compact form): parsed before, and believed only after, its signature was checked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::ClaimsError;

/// A token whose header is acceptable; nothing else about it is known yet.
pub(crate) struct Signed<'a> {
    pub kid: String,
    /// Header and payload as they were signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// The claims we look at. The types are exact: an `aud` that is an array, or an `exp` that is a string, is refused.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    pub iss: String,
    pub aud: String,
    pub tid: String,
    pub exp: u64,
    pub nbf: Option<u64>,
    pub oid: String,
    pub sub: String,
    pub nonce: Option<String>,
    pub azp: Option<String>,
    pub appid: Option<String>,
    pub scp: Option<String>,
    pub idtyp: Option<String>,
    pub name: Option<String>,
    pub preferred_username: Option<String>,
    pub upn: Option<String>,
    pub unique_name: Option<String>,
    pub(super) roles: Option<Value>,
    pub(super) groups: Option<Value>,
    pub(super) hasgroups: Option<Value>,
    #[serde(rename = "_claim_names")]
    pub(super) claim_names: Option<Value>,
    emu: Option<Value>,
}

impl<'a> Signed<'a> {
    /// Reads the header. Only `alg` and `kid` matter; `jwk`, `jku`, `x5u` and `x5c` would let a token bring its own key
    /// and are never looked at. `crit` (RFC 7515 section 4.1.11) names what we do not know, so it refuses.
    pub fn parse(token: &'a str) -> Result<Self, ClaimsError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: Option<String>,
            typ: Option<String>,
            crit: Option<Value>,
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ClaimsError::Malformed);
        };
        if token.len() > LARGEST {
            return Err(ClaimsError::Malformed);
        }
        let message = &token[..header.len() + 1 + payload.len()];
        let header: Header = part(header).ok_or(ClaimsError::Malformed)?;
        // Pinned before any key is looked up: `none`, or HS256 with our public RSA key as the secret, ends here.
        if header.alg != "RS256" {
            return Err(ClaimsError::Algorithm);
        }
        let jwt = header.typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt"));
        let kid = header.kid.filter(|kid| (1..=256).contains(&kid.len()));
        match kid {
            Some(kid) if jwt && header.crit.is_none() => Ok(Self { kid, message, payload, signature }),
            _ => Err(ClaimsError::Malformed),
        }
    }

    /// The claims, if this key signed them.
    pub fn verify(&self, key: &DecodingKey) -> Result<Claims, ClaimsError> {
        match jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), key, Algorithm::RS256) {
            Ok(true) => part(self.payload).ok_or(ClaimsError::Shape),
            Ok(false) | Err(_) => Err(ClaimsError::Signature),
        }
    }
}

impl Claims {
    /// The emulator's tokens carry `emu`. Whatever its value, only development wants such a token.
    pub fn check_emulator(&self, accept_emulator: bool) -> Result<(), ClaimsError> {
        (accept_emulator || self.emu.is_none()).then_some(()).ok_or(ClaimsError::Emulator)
    }

    /// Clocks may differ by [`SKEW`] either way.
    pub fn check_time(&self, now: SystemTime) -> Result<(), ClaimsError> {
        if now >= self.expires_at()? + SKEW {
            return Err(ClaimsError::Expired);
        }
        match self.nbf {
            Some(nbf) if at(nbf)? > now + SKEW => Err(ClaimsError::NotYetValid),
            _ => Ok(()),
        }
    }

    pub fn expires_at(&self) -> Result<SystemTime, ClaimsError> {
        at(self.exp)
    }
}

fn at(seconds: u64) -> Result<SystemTime, ClaimsError> {
    // A year beyond 9999 is nobody's expiry, and adding it could overflow the clock.
    if seconds > 253_402_300_799 {
        return Err(ClaimsError::Shape);
    }
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn part<T: serde::de::DeserializeOwned>(encoded: &str) -> Option<T> {
    // RFC 7519 section 7.2: UTF-8, also in what is not looked at.
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    serde_json::from_str(&text).ok()
}

/// Bytes. Real tokens are 1.4 to 5 KiB, more with many groups.
const LARGEST: usize = 16 * 1024;
const SKEW: Duration = Duration::from_secs(120);
