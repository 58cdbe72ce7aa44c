//! The token endpoint: what is asked and what comes back. The calls themselves are made by [`crate::Client`].

mod answer;

use std::time::Duration;

use crate::{Memberships, Secret, User};

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

/// What a refresh token gave.
#[derive(Clone, Debug)]
pub struct Renewed {
    pub access_token: AccessToken,
    /// The newest; the one before stays good too (entra.md 5.3). `None`: Entra gave none, and the one before goes on.
    pub refresh_token: Option<Secret>,
}

#[derive(Clone, Debug)]
pub struct AccessToken {
    pub token: Secret,
    /// As Entra said, from the moment of the answer. It varies between an hour and more than a day.
    pub expires_in: Duration,
    /// What was granted, which may be more than was asked.
    pub scope: String,
}
