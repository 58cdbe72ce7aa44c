//! The token endpoint: what is asked and what comes back. The calls themselves are made by [`crate::Client`].

mod answer;

use std::time::Duration;

use crate::{ClaimsRequest, Memberships, Secret, User};

pub(crate) use answer::{Failure, Success, failure, first_code, is_for_one_user, seconds, seconds_until, success};

/// An authorization code on its way to Entra (RFC 6749 section 4.1.3, RFC 7636).
#[derive(Clone, Debug)]
pub struct Redemption<'a> {
    pub code: &'a Secret,
    /// Exactly what the authorize URL said.
    pub redirect_uri: &'a str,
    /// Of one resource; Entra refuses a redemption without it.
    pub scope: &'a str,
    pub code_verifier: &'a Secret,
    /// What the authorize URL said; the id_token must repeat it.
    pub nonce: &'a str,
}

/// A user who has signed in, and the access token for the scope that was asked.
#[derive(Clone, Debug)]
pub struct SignIn {
    pub user: User,
    /// As the id_token said when the user signed in.
    pub memberships: Memberships,
    pub access_token: AccessToken,
    /// Only when the scope held `offline_access`.
    pub refresh_token: Option<Secret>,
}

/// A refresh token on its way to Entra (RFC 6749 section 6).
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'a> {
    pub refresh_token: &'a Secret,
    /// Whose it is: Entra is asked at this tenant, and the answer must be about this user.
    pub tenant_id: &'a str,
    pub object_id: &'a str,
    /// Of one resource; `offline_access` in it for a new refresh token, `openid` for what the user is by now.
    pub scope: &'a str,
    /// The answer to a challenge.
    pub claims: Option<&'a ClaimsRequest>,
}

/// What a refresh token gave.
#[derive(Clone, Debug)]
pub struct Renewed {
    pub access_token: AccessToken,
    /// The newest; the one before stays good too (entra.md 5.3). `None`: Entra gave none, and the one before goes on.
    pub refresh_token: Option<Secret>,
    /// What the user is by now; `None`: Entra did not say.
    pub memberships: Option<Memberships>,
}

#[derive(Clone, Debug)]
pub struct AccessToken {
    pub token: Secret,
    /// As Entra said, from the moment of the answer. It varies between an hour and more than a day.
    pub expires_in: Duration,
    /// What was granted, which may be more than was asked.
    pub scope: String,
}
