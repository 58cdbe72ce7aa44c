//! What a token must say before anybody believes it (entra.md section 7). The checks are strict in an order that ends
//! early, and never ask a clock: the caller passes `now`.

mod access_token;
mod id_token;
mod jwt;
mod memberships;

pub use access_token::AccessTokenPolicy;
pub(crate) use access_token::check as check_access_token;
pub(crate) use id_token::{Expected, Of, check as check_id_token};
pub(crate) use jwt::{Claims, Signed};
pub use memberships::{Groups, Memberships};

use std::time::SystemTime;

/// Who a token is about. `tenant_id` and `object_id` together are the identity; the names are for people to read and
/// change at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub tenant_id: String,
    pub object_id: String,
    pub name: Option<String>,
    pub username: Option<String>,
}

/// A user whose access token passed every check of an [`AccessTokenPolicy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedUser {
    pub user: User,
    /// The client id of the app that asked for the token (`azp`, or `appid` in v1), in lower case.
    pub caller: String,
    pub expires_at: SystemTime,
}

/// Why a token was not believed. The words are fixed; nothing of the token is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    #[error("not a signed JWT of acceptable size and form")]
    Malformed,
    #[error("not signed with RS256")]
    Algorithm,
    #[error("signed with a key that the authority does not publish")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("the signing key belongs to another issuer")]
    KeyIssuer,
    #[error("a claim is missing or of the wrong type")]
    Shape,
    #[error("from an emulator")]
    Emulator,
    #[error("of a tenant whose users are not let in")]
    Tenant,
    #[error("from another issuer")]
    Issuer,
    #[error("for another audience")]
    Audience,
    #[error("expired")]
    Expired,
    #[error("not valid yet: is this machine's clock behind?")]
    NotYetValid,
    #[error("of another sign-in: the nonce differs")]
    Nonce,
    #[error("about another user than the one whose tokens were renewed")]
    User,
    #[error("no user's access token")]
    NotAUserToken,
    #[error("without the required scope")]
    Scope,
    #[error("asked for by an app that is not an allowed caller")]
    Caller,
    /// Not the token's fault: answer 503, never 401.
    #[error("the authority's signing keys cannot be had: {0}")]
    KeysUnavailable(String),
}
