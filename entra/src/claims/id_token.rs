//! The id_token that comes with a redeemed code, proof of who signed in and that it was this very sign-in (GU-6), and the one that
//! comes with a renewal, which says anew what the user is.

use std::time::SystemTime;

use super::jwt::Claims;
use super::{ClaimsError, Memberships, User};
use crate::authority::Authority;

/// What an id_token must match.
pub(crate) struct Expected<'a> {
    pub authority: &'a Authority,
    pub client_id: &'a str,
    pub of: Of<'a>,
    pub accept_emulator: bool,
}

/// What an id_token is the answer to.
pub(crate) enum Of<'a> {
    /// A sign-in that began with this nonce. Without it, a token of another sign-in could be slipped in.
    SignIn { nonce: &'a str, now: SystemTime },
    /// A renewal for this user (OpenID Connect Core section 12.2). Its time is not looked at: it is the answer to what was asked
    /// a moment ago, and clocks that have gone apart since the sign-in are no reason to end a session (GU-8).
    Renewal { tenant_id: &'a str, object_id: &'a str },
}

/// Checks claims whose signature is already verified. Who signs in may be of any tenant, whose own issuer it then is: whether that
/// tenant's users are let in is asked by the caller, who has to say so.
pub(crate) fn check(claims: Claims, expected: &Expected<'_>) -> Result<(User, Memberships), ClaimsError> {
    claims.check_emulator(expected.accept_emulator)?;
    if claims.iss != expected.authority.issuer_v2_of(&claims.tid) {
        return Err(ClaimsError::Issuer);
    }
    if claims.aud != expected.client_id {
        return Err(ClaimsError::Audience);
    }
    if let Of::SignIn { now, .. } = expected.of {
        claims.check_time(now)?;
    }
    match expected.of {
        Of::SignIn { nonce, .. } if claims.nonce.as_deref() != Some(nonce) => return Err(ClaimsError::Nonce),
        Of::Renewal { tenant_id, object_id }
            if claims.tid != tenant_id || !claims.oid.eq_ignore_ascii_case(object_id) =>
        {
            return Err(ClaimsError::User);
        }
        Of::SignIn { .. } | Of::Renewal { .. } => {}
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
