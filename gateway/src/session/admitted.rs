//! The hot path: a bearer token becomes an [`Admitted`], or a [`Denied`].

use std::time::Instant;

use http::HeaderValue;

use super::token::AccessToken;
use super::{Record, Sessions, Watch, reference};
use crate::sealed::{Index, OpenError};
use crate::store::StoreError;

/// The permit to go upstream. Only [`Sessions::admit`] makes one.
#[derive(Debug)]
pub struct Admitted {
    session: Index,
    bearer: HeaderValue,
    ends: Instant,
    watch: Watch,
}

/// Why a request was not admitted. The caller learns only whether to sign in or to try later.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    #[error("no bearer token")]
    Missing,
    #[error("the token does not open: {0}")]
    Token(#[from] OpenError),
    #[error("the token has expired")]
    Expired,
    #[error("the session has ended")]
    Ended,
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Opens the bearer token for the resource of the route (its canonical URL), looks the session up, and gives what goes upstream.
    pub async fn admit(&self, authorization: Option<&HeaderValue>, resource: &str) -> Result<Admitted, Denied> {
        let bearer = bearer(authorization).ok_or(Denied::Missing)?;
        let token = AccessToken::open(&self.sealer, resource, bearer)?;
        if token.expires.has_passed(self.clock.now()) {
            return Err(Denied::Expired);
        }
        let session = self.sealer.index(&token.id).ok_or(Denied::Ended)?;
        let watch = self.streams.watch(session);
        let record = self.table.get(&token.id, &token.secret).await?.ok_or(Denied::Ended)?;
        // Our token ends before Entra's does; unless a clock was set, this never happens.
        if record.entra.ends.has_passed(self.clock.now()) {
            return Err(Denied::Expired);
        }
        let ends = Instant::now() + record.kept_until.remaining(self.clock.now());
        Ok(Admitted { session, bearer: record.bearer()?, ends, watch })
    }
}

impl Admitted {
    /// Entra's token as the `Authorization` of the upstream hop. Marked sensitive: no format shows it.
    pub fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    /// The session as the store knows it. Stable for its life: what a user's requests have in common.
    pub fn session(&self) -> Index {
        self.session
    }

    /// When the session ends, as far as was known: a refresh moves it.
    pub fn ends(&self) -> Instant {
        self.ends
    }

    /// Tells when the session ends before that.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What logs call the session: enough to find its lines, too little to be its name in the store.
    pub fn reference(&self) -> String {
        reference(self.session)
    }
}

impl Record {
    fn bearer(&self) -> Result<HeaderValue, Denied> {
        let mut value =
            HeaderValue::try_from(format!("Bearer {}", self.entra.access_token)).map_err(|_| Denied::Ended)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// RFC 9110 section 11.1: the scheme's case does not matter. RFC 6750 section 2.1 for the rest.
fn bearer(authorization: Option<&HeaderValue>) -> Option<&str> {
    let (scheme, token) = authorization?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}
