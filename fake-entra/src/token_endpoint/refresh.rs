//! `grant_type=refresh_token`: a new token every time, and the old one stays good.

use serde_json::Value;

use super::{Issue, Request};
use crate::authorize::claims;
use crate::errors::EntraError;
use crate::tickets::REFRESH_IDLE;
use crate::tokens::Proof;

/// Bound to user and client, not to a resource: any consented scope may be asked for.
///
/// # Errors
/// 70000 unknown or another client's, 50173 dead, 700082 unused for 90 days, then those of `Request::issue`.
pub(super) fn refresh(request: &Request, proof: Proof) -> Result<Value, EntraError> {
    let (world, form) = (request.world, &request.call.form);
    let client = request.app()?;
    let text = form.get("refresh_token").ok_or_else(|| EntraError::missing("refresh_token"))?;
    let known = world.tickets().refresh_token(text).cloned();
    let known = known.filter(|token| token.authorization.client_id == client.client_id).ok_or_else(|| {
        EntraError::new(70000).saying("The provided value for the 'refresh_token' parameter is not valid.")
    })?;
    if known.dead {
        return Err(EntraError::new(50173));
    }
    if known.issued + REFRESH_IDLE <= world.clock.now() {
        return Err(EntraError::new(700082));
    }
    let authorization = known.authorization;
    let body = request.issue(&Issue {
        authorization: &authorization,
        scope: form.get("scope").unwrap_or(&authorization.scope),
        proof,
        nonce: None,
        id_token: authorization.oidc.iter().any(|word| word == "openid"),
        refresh_token: true,
        client_info: form.get("client_info") == Some("1"),
        cae: authorization.cae || claims(form)?.0,
    })?;
    if world.policies().revoke_old_refresh_tokens {
        world.tickets().kill_refresh_token(text);
    }
    Ok(body)
}
