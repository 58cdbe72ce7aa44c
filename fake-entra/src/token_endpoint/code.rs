//! `grant_type=authorization_code` (RFC 6749 4.1.3, RFC 7636).

use serde_json::Value;

use super::{Issue, Request};
use crate::authorize::{Challenge, wrong_redirect};
use crate::errors::EntraError;
use crate::tickets::CODE_LIFETIME;
use crate::tokens::Proof;

/// A code is used up only when everything about the call is right: client authentication and a wrong verifier do not
/// burn it.
///
/// # Errors
/// 70000, 54005, 70008, 700005 (another client's, or at another tenant), 50011, 9002326/9002327, 501481, 28003, then those of `Request::issue`.
pub(super) fn redeem(request: &Request, proof: Proof) -> Result<Value, EntraError> {
    let (world, form) = (request.world, &request.call.form);
    let client = request.app()?;
    let text = form.get("code").ok_or_else(|| EntraError::missing("code"))?;
    let code = world.tickets().code(text).cloned();
    let code =
        code.ok_or_else(|| EntraError::new(70000).saying("The provided value for the 'code' parameter is not valid."))?;
    if code.redeemed {
        return Err(EntraError::new(54005));
    }
    if code.issued + CODE_LIFETIME <= world.clock.now() {
        return Err(EntraError::new(70008));
    }
    if code.authorization.client_id != client.client_id {
        return Err(EntraError::new(700005));
    }
    if code.realm != request.realm {
        return Err(EntraError::new(700005).saying(
            "Provided Authorization Code is intended to use against other tenant, thus rejected. OAuth2 Authorization Code must \
             be redeemed against same tenant it was acquired for (/common or /{tenant-ID} as appropriate)",
        ));
    }
    let redirect = form.get("redirect_uri").ok_or_else(|| EntraError::missing("redirect_uri"))?;
    if redirect != code.redirect_uri {
        return Err(wrong_redirect(client, redirect).with_error("invalid_grant"));
    }
    match (request.call.header("origin").is_some(), code.spa) {
        (true, false) => return Err(EntraError::new(9002326)),
        (false, true) => return Err(EntraError::new(9002327)),
        _ => {}
    }
    check_verifier(code.challenge.as_ref(), form.get("code_verifier"), world.policies().strict_pkce)?;
    let scope = form.get("scope").ok_or_else(|| EntraError::new(28003))?;
    let oidc = &code.authorization.oidc;
    let has = |scope: &str| oidc.iter().any(|word| word == scope);
    let body = request.issue(&Issue {
        authorization: &code.authorization,
        scope,
        proof,
        nonce: code.nonce.as_deref(),
        id_token: has("openid"),
        refresh_token: has("offline_access"),
        client_info: code.client_info || form.get("client_info") == Some("1"),
        cae: code.authorization.cae,
    })?;
    if world.tickets().redeem(text) { Ok(body) } else { Err(EntraError::new(54005)) }
}

fn check_verifier(challenge: Option<&Challenge>, verifier: Option<&str>, strict: bool) -> Result<(), EntraError> {
    let Some(challenge) = challenge else { return Ok(()) };
    let verifier = verifier.unwrap_or_default();
    if strict && !(43..=128).contains(&verifier.len()) {
        return Err(EntraError::new(501481).saying(
            "The Code_Verifier does not match the code_challenge supplied in the authorization request: its size is not \
             between 43 and 128 characters.",
        ));
    }
    if challenge.fits(verifier) { Ok(()) } else { Err(EntraError::new(501481)) }
}
