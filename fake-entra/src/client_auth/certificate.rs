//! Assertions a client signs itself, with the key of a certificate its app registration holds
//! (`private_key_jwt`, RFC 7523 section 3, in Entra's dress).
//!
//! Lenient where real clients are sloppy: msal-python pads `x5t#S256` and writes floats, MSAL for Go encodes the
//! thumbprint in standard base64, older clients sign RS256 and send the SHA-1 `x5t`. A `jti` may come twice: Entra is
//! not known to refuse that.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use x509_parser::pem::parse_x509_pem;

use crate::directory::{App, Realm};
use crate::errors::EntraError;
use crate::journal;
use crate::jwt::Jwt;
use crate::tokens::Proof;
use crate::world::World;

/// Signature first, then the time, then whom and where the assertion is for.
///
/// # Errors
/// 700027 unknown or expired key or wrong signature, 700024 outside its time, 700021 another client's, 700023 made for
/// another audience.
pub(super) fn prove(world: &World, endpoint: &str, realm: &Realm, app: &App, token: &Jwt) -> Result<Proof, EntraError> {
    let key = app
        .certificates
        .iter()
        .find_map(|pem| matching_key(pem, token))
        .ok_or_else(|| unproven("The key was not found.", token))?;
    if !token.signed_with(&key.public) {
        return Err(unproven("The signature does not fit the key.", token));
    }
    let now = world.clock.now();
    if !(key.not_before..=key.not_after).contains(&now) {
        return Err(unproven("The key used is expired.", token));
    }
    if !token.is_current(now) {
        return Err(EntraError::new(700024));
    }
    if token.text("sub") != app.client_id {
        return Err(EntraError::new(700021));
    }
    let audiences = token.audiences();
    match audiences.as_slice() {
        [one] if *one == endpoint || is_here(world, realm, one) => Ok(Proof::Certificate),
        _ => Err(EntraError::new(700023)),
    }
}

/// A registered certificate's key and the time it is good for.
struct Key {
    public: DecodingKey,
    not_before: i64,
    not_after: i64,
}

/// The certificate's key, if the assertion names it.
fn matching_key(pem: &str, token: &Jwt) -> Option<Key> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let named = [("x5t#S256", &SHA256), ("x5t", &SHA1_FOR_LEGACY_USE_ONLY)];
    let fits = |(name, algorithm): (&str, &'static Algorithm)| {
        let thumbprint = digest(algorithm, &pem.contents);
        token.header[name].as_str().and_then(decoded).is_some_and(|sent| sent == thumbprint.as_ref())
    };
    if !named.into_iter().any(fits) {
        return None;
    }
    let certificate = pem.parse_x509().ok()?;
    let validity = certificate.validity();
    Some(Key {
        public: DecodingKey::from_rsa_der(&certificate.public_key().subject_public_key.data),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// A thumbprint in either alphabet, padded or not.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

/// The token endpoint of this tenant by any of its names, or one of its issuers, which Entra takes too.
fn is_here(world: &World, realm: &Realm, audience: &str) -> bool {
    let Realm::Tenant(id) = realm else { return false };
    let named =
        audience.strip_prefix(&format!("{}/", world.base)).and_then(|rest| rest.strip_suffix("/oauth2/v2.0/token"));
    named.is_some_and(|name| world.directory().realm(name).as_ref() == Some(realm))
        || audience == world.issuer_of(id)
        || audience == world.issuer_v1_of(id)
}

fn unproven(reason: &str, token: &Jwt) -> EntraError {
    let thumbprint = token.header["x5t#S256"].as_str().or(token.header["x5t"].as_str()).unwrap_or_default();
    EntraError::new(700027).saying(format!(
        "Client assertion failed signature validation. [Reason - {reason}, Thumbprint of key used by client: '{}']",
        journal::digest(thumbprint)
    ))
}
