//! The hot path: a bearer token becomes an [`Admitted`], or a [`Denied`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::lookup::Tier;
use super::token::AccessToken;
use super::watch::Watch;
use super::{Handle, Sessions, Whose, reference};
use crate::access::{Membership, NoAccess};
use crate::clock::Timestamp;
use crate::sealed::{Index, OpenError};
use crate::store::StoreError;

/// The permit to go upstream. Only [`Sessions::admit`] makes one.
#[derive(Debug)]
pub struct Admitted {
    pub(super) bearer: HeaderValue,
    /// To ask again while it is in use.
    pub(super) handle: Handle,
    /// When the session ends unless it is refreshed.
    pub(super) ends: Timestamp,
    /// When the store was asked that knew of it.
    pub(super) confirmed: Timestamp,
    watch: Watch,
    tier: Tier,
    stages: Stages,
    membership: Arc<Membership>,
    whose: Whose,
}

/// How long admitting took.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// When the first of them began.
    pub begun: Instant,
    /// Opening the token.
    pub open: Duration,
    /// Finding the session.
    pub lookup: Duration,
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
    /// The store does not know it, or its time is over.
    #[error("the session has ended")]
    Ended,
    /// This replica heard of it a moment ago: somebody signed out, or ended it.
    #[error("the session was ended")]
    Revoked,
    /// The upstream refuses Entra's token, and a better one is not to be had without the user.
    #[error("the upstream refuses Entra's token")]
    Refused,
    /// Likewise, and Entra does not answer now.
    #[error("Entra's token could not be renewed")]
    Later { retry_after: Option<Duration> },
    #[error("{cause}")]
    NoAccess { cause: NoAccess, whose: Whose },
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Opens the bearer token for the resource of the route (its canonical URL), looks the session up, and gives what goes
    /// upstream. A token of Entra's that is close to its end still serves, while it is renewed for the requests to come.
    pub async fn admit(
        self: &Arc<Self>,
        authorization: Option<&HeaderValue>,
        resource: &str,
    ) -> Result<Admitted, Denied> {
        let bearer = bearer(authorization).ok_or(Denied::Missing)?;
        let begun = Instant::now();
        let token = AccessToken::open(&self.sealer, resource, bearer)?;
        if token.expires.has_passed(self.clock.now()) {
            return Err(Denied::Expired);
        }
        let session = self.sealer.index(&token.id).ok_or(Denied::Ended)?;
        let opened = Instant::now();
        let watch = self.streams.watch(session);
        let handle = token.handle();
        let (entry, tier) = self.look_up(&handle, session).await?;
        let stages = Stages { begun, open: opened - begun, lookup: opened.elapsed() };
        // Our token ends before Entra's does; unless a clock was set, this never happens.
        if entry.ends.has_passed(self.clock.now()) {
            return Err(Denied::Expired);
        }
        // A refusal leads to a new sign-in, where Entra says anew what the user is, and where whoever may not is told so.
        let whose = Whose { who: entry.who, client: token.client, session };
        self.access.admits(&entry.membership, resource).map_err(|cause| Denied::NoAccess { cause, whose })?;
        self.renew_in_background(&token, session, &entry);
        Ok(Admitted {
            whose,
            handle,
            ends: entry.session_ends,
            confirmed: entry.confirmed,
            bearer: entry.bearer.clone(),
            tier,
            stages,
            watch,
            membership: entry.membership.clone(),
        })
    }
}

impl Denied {
    /// Whether the caller's token may be as good as ever.
    pub fn is_trouble_behind_us(&self) -> bool {
        matches!(self, Denied::Store(StoreError::Unavailable(_)) | Denied::Refused | Denied::Later { .. })
    }
}

impl Admitted {
    /// Entra's token as the `Authorization` of the upstream hop. Marked sensitive: no format shows it.
    pub fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    /// The session as the store knows it. Stable for its life: what a user's requests have in common.
    pub fn session(&self) -> Index {
        self.whose.session
    }

    /// Tells when the session is ended, and counts its streams.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What logs call the session: enough to find its lines, too little to be its name in the store.
    pub fn reference(&self) -> String {
        reference(self.whose.session)
    }

    /// What the user is, of all that the rules name.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// For the audit log.
    pub fn whose(&self) -> Whose {
        self.whose
    }

    /// How long admitting took.
    pub fn stages(&self) -> Stages {
        self.stages
    }

    /// Where the session was found.
    pub fn tier(&self) -> Tier {
        self.tier
    }
}

/// RFC 9110 section 11.1: the scheme's case does not matter. RFC 6750 section 2.1 for the rest.
fn bearer(authorization: Option<&HeaderValue>) -> Option<&str> {
    let (scheme, token) = authorization?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}
