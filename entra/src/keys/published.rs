//! The published key set (RFC 7517), reduced to the keys that may sign tokens.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use crate::authority::Authority;

pub(super) struct KeySet(HashMap<String, PublishedKey>);

pub(super) struct PublishedKey {
    pub key: DecodingKey,
    /// Entra says which issuer a key signs for: one tenant, or a template for all.
    issuer: Option<String>,
}

impl KeySet {
    /// Keeps RSA keys of at least 2048 bits that are meant for signatures; others are passed over, since Entra may
    /// publish kinds that we do not know. A set without any usable key is an error, so that the last good one stays.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(document).map_err(|_| "not a key set".to_owned())?;
        let keys: HashMap<_, _> = document.keys.into_iter().take(MOST_KEYS).filter_map(usable).collect();
        if keys.is_empty() { Err("no usable key in the set".into()) } else { Ok(Self(keys)) }
    }

    pub fn contains(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    pub fn get(&self, kid: &str) -> Option<&PublishedKey> {
        self.0.get(kid)
    }
}

impl PublishedKey {
    /// Whether the key may sign for this tenant at the authority. v1 tokens are signed by the same keys, whose `issuer` is
    /// written in either form.
    pub fn fits(&self, authority: &Authority, tenant_id: &str) -> bool {
        let Some(issuer) = &self.issuer else { return true };
        let issuer = issuer.replace("{tenantid}", tenant_id);
        issuer == authority.issuer_v2_of(tenant_id) || issuer == authority.issuer_v1_of(tenant_id)
    }
}

fn usable(key: Value) -> Option<(String, PublishedKey)> {
    #[derive(Deserialize)]
    struct Jwk {
        kty: String,
        kid: String,
        r#use: Option<String>,
        alg: Option<String>,
        n: String,
        e: String,
        issuer: Option<String>,
    }
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let for_rs256 = jwk.kty == "RSA"
        && jwk.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
        && jwk.alg.as_deref().is_none_or(|alg| alg == "RS256");
    let modulus = URL_SAFE_NO_PAD.decode(jwk.n.trim_end_matches('=')).ok()?;
    let exponent = URL_SAFE_NO_PAD.decode(jwk.e.trim_end_matches('=')).ok()?;
    let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
    if !for_rs256 || significant < SMALLEST_MODULUS {
        return None;
    }
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    Some((jwk.kid, PublishedKey { key, issuer: jwk.issuer }))
}

const MOST_KEYS: usize = 100;
/// Bytes: 2048 bits.
const SMALLEST_MODULUS: usize = 256;
