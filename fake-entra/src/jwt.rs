//! Reading tokens of others: leniently where real Microsoft clients are sloppy, never about signatures.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;

use crate::keys::{KeyRing, encode_part, hashed_nonce};

/// Clock skew Entra grants, seconds.
const SKEW: i64 = 300;

/// A token taken apart; nothing about it is proven until `signed_by`.
pub(crate) struct Jwt<'a> {
    pub header: Value,
    pub claims: Value,
    message: &'a str,
    signature: &'a str,
}

impl<'a> Jwt<'a> {
    /// `None`: not three parts, not base64url, not JSON objects.
    pub fn parse(token: &'a str) -> Option<Jwt<'a>> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let (header, claims) = (decode_part(header)?, decode_part(claims)?);
        Some(Jwt { header, claims, message, signature })
    }

    /// RS256 by a published key of `ring`. Any other algorithm fails, whatever the key.
    pub fn signed_by(&self, ring: &KeyRing) -> bool {
        self.is_rs256() && ring.verify(self.kid(), self.message, self.signature)
    }

    /// As `signed_by`, for Graph's tokens with their hashed nonce.
    pub fn signed_for_graph(&self, ring: &KeyRing) -> bool {
        let Some(nonce) = self.header["nonce"].as_str() else { return self.signed_by(ring) };
        let mut header = self.header.clone();
        header["nonce"] = hashed_nonce(nonce).into();
        let Some((_, claims)) = self.message.split_once('.') else { return false };
        self.is_rs256() && ring.verify(self.kid(), &format!("{}.{claims}", encode_part(&header)), self.signature)
    }

    /// By the key of a certificate: PS256, or RS256 as older clients have it.
    pub fn signed_with(&self, key: &DecodingKey) -> bool {
        let algorithm = match self.header["alg"].as_str() {
            Some("PS256") => Algorithm::PS256,
            Some("RS256") => Algorithm::RS256,
            _ => return false,
        };
        crypto::verify(self.signature, self.message.as_bytes(), key, algorithm).unwrap_or(false)
    }

    pub fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    /// `aud`, which may be a string or a list.
    pub fn audiences(&self) -> Vec<&str> {
        match &self.claims["aud"] {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        }
    }

    /// Within `nbf` and `exp`. Without a readable `exp` it is not.
    pub fn is_current(&self, now: i64) -> bool {
        self.has_begun(now) && number(&self.claims["exp"]).is_some_and(|exp| now < exp + SKEW)
    }

    /// `nbf` is optional: msal-python leaves it out.
    fn has_begun(&self, now: i64) -> bool {
        match &self.claims["nbf"] {
            Value::Null => true,
            nbf => number(nbf).is_some_and(|nbf| nbf - SKEW <= now),
        }
    }

    fn is_rs256(&self) -> bool {
        self.header["alg"] == "RS256"
    }

    fn kid(&self) -> &str {
        self.header["kid"].as_str().unwrap_or_default()
    }
}

/// Seconds as MSALs write them: integer (Go, JS), float (Python) or string (.NET).
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn decode_part(part: &str) -> Option<Value> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let value: Value = serde_json::from_slice(&LENIENT.decode(part).ok()?).ok()?;
    value.is_object().then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jwt(claims: Value) -> Jwt<'static> {
        Jwt { header: json!({}), claims, message: "", signature: "" }
    }

    #[test]
    fn times_may_be_integers_floats_and_strings() {
        for exp in [json!(2000), json!(2000.25), json!("2000")] {
            assert!(jwt(json!({ "exp": exp })).is_current(2000 + SKEW - 1), "{exp}");
            assert!(!jwt(json!({ "exp": exp })).is_current(2000 + SKEW), "{exp}");
        }
        assert!(!jwt(json!({})).is_current(0));
        assert!(!jwt(json!({"exp": "soon"})).is_current(0));
        assert!(!jwt(json!({"exp": 9000, "nbf": 5000.5})).is_current(4000));
        assert!(jwt(json!({"exp": 9000, "nbf": "5000"})).is_current(5000 - SKEW));
    }
}
