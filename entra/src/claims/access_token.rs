//! An access token that arrived at a resource server (entra.md section 7, MO-2).

use std::time::SystemTime;

use super::jwt::Claims;
use super::{ClaimsError, VerifiedUser};
use crate::authority::Authority;

/// Whom a resource server lets in.
#[derive(Clone, Debug)]
pub struct AccessTokenPolicy {
    /// The server's own client id (a GUID in lower case), and for v1 tokens its identifier URIs. Compared exactly.
    pub audiences: Vec<String>,
    /// Client ids of the apps that may call. Empty lets nobody in.
    pub allowed_callers: Vec<String>,
    /// One scope name that `scp` must hold. `None` is for an app that exposes no scopes of its own.
    pub required_scope: Option<String>,
}

/// Checks claims whose signature is already verified.
pub(crate) fn check(
    claims: Claims,
    authority: &Authority,
    policy: &AccessTokenPolicy,
    accept_emulator: bool,
    now: SystemTime,
) -> Result<VerifiedUser, ClaimsError> {
    claims.check_emulator(accept_emulator)?;
    if !authority.allows(&claims.tid) {
        return Err(ClaimsError::Tenant);
    }
    // The two versions name the calling app differently; a token is read as the version its issuer says.
    let caller = if claims.iss == authority.issuer_v2_of(&claims.tid) {
        &claims.azp
    } else if claims.iss == authority.issuer_v1_of(&claims.tid) {
        &claims.appid
    } else {
        return Err(ClaimsError::Issuer);
    };
    if !policy.audiences.contains(&claims.aud) {
        return Err(ClaimsError::Audience);
    }
    claims.check_time(now)?;
    // An app's own token has no user: its subject is the app's object. An id_token has a nonce and no calling app;
    // where server and gateway are one registration it would otherwise pass for an access token.
    if claims.idtyp.as_deref() == Some("app") || claims.sub == claims.oid || claims.nonce.is_some() {
        return Err(ClaimsError::NotAUserToken);
    }
    if let Some(required) = &policy.required_scope {
        let granted = claims.scp.as_deref().ok_or(ClaimsError::NotAUserToken)?;
        if !granted.split(' ').any(|scope| scope == required) {
            return Err(ClaimsError::Scope);
        }
    }
    let caller = caller.as_deref().ok_or(ClaimsError::NotAUserToken)?.to_ascii_lowercase();
    if !policy.allowed_callers.iter().any(|allowed| allowed.eq_ignore_ascii_case(&caller)) {
        return Err(ClaimsError::Caller);
    }
    let expires_at = claims.expires_at()?;
    Ok(VerifiedUser { user: claims.into_user(), caller, expires_at })
}
