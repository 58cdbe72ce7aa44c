//! The id_token that comes with a redeemed code: proof of who signed in, and that it was this very sign-in (GU-6).

use std::time::SystemTime;

use super::jwt::Claims;
use super::{ClaimsError, Memberships, User};
use crate::authority::Authority;

/// What the id_token of one sign-in must match.
pub(crate) struct Expected<'a> {
    pub authority: &'a Authority,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub accept_emulator: bool,
}

/// Checks claims whose signature is already verified.
pub(crate) fn check(
    claims: Claims,
    expected: &Expected<'_>,
    now: SystemTime,
) -> Result<(User, Memberships), ClaimsError> {
    claims.check_emulator(expected.accept_emulator)?;
    claims.check_tenant(expected.authority)?;
    if claims.iss != expected.authority.issuer_v2() {
        return Err(ClaimsError::Issuer);
    }
    if claims.aud != expected.client_id {
        return Err(ClaimsError::Audience);
    }
    claims.check_time(now)?;
    // Ties the token to the browser that began: without it, a token of another sign-in could be slipped in.
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(ClaimsError::Nonce);
    }
    let memberships = Memberships::of(&claims)?;
    Ok((claims.into_user(), memberships))
}

impl Claims {
    pub(super) fn into_user(self) -> User {
        User {
            tenant_id: self.tid,
            object_id: self.oid,
            name: self.name,
            username: self.preferred_username.or(self.upn).or(self.unique_name),
        }
    }
}
