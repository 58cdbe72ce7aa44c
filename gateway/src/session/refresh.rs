//! A client's refresh token becomes new tokens, and counts once (D7, T13).

use std::time::Duration;

use super::renewal::Occasion;
use super::{Ending, IssuedTokens, RefreshToken, Sessions, Whose, reference};
use crate::audit::{Context, Event, Field, Kind, Outcome};
use crate::sealed::OpenError;
use crate::store::{Advance, Step, StoreError};

/// Why a refresh token gave no tokens. None of these consumed it, with one exception: a store that went silent while the counter
/// moved may have moved it. Within the grace the token then gives its successor.
#[derive(Debug, thiserror::Error)]
pub enum NotRefreshed {
    /// The user must sign in again.
    #[error("{0}")]
    Over(Over),
    /// Entra does not renew its own tokens now. The session is as good as it was.
    #[error("Entra's tokens could not be renewed")]
    Later { retry_after: Option<Duration> },
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Why a session does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    #[error("its key has left the ring")]
    KeyGone,
    #[error("the rules on who may use what do not let it go on")]
    NoAccess,
    #[error("the user must sign in again for the upstream")]
    StepUp,
    /// The token was used, and so was its successor, or long ago (T13).
    #[error("used before")]
    Reused,
    #[error("there is no such generation")]
    NoGeneration,
    #[error("Entra does not renew it")]
    Entra,
    #[error("the session has ended")]
    Ended,
    #[error("the session was ended meanwhile")]
    EndedMeanwhile,
}

impl Over {
    /// A label for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Over::KeyGone => "key_gone",
            Over::NoAccess => "no_access",
            Over::StepUp => "step_up",
            Over::Reused => "reused",
            Over::Entra => "entra_refused",
            Over::NoGeneration | Over::Ended | Over::EndedMeanwhile => "ended",
        }
    }
}

impl Sessions {
    /// Opens a refresh token for the client (SHA-256 of its id) that presents it: any other's is a forgery.
    pub fn open_refresh_token(&self, client: [u8; 32], text: &str) -> Result<RefreshToken, OpenError> {
        RefreshToken::open(&self.sealer, client, text)
    }

    /// New tokens, and the end of the one presented: within the grace it gives the same successor again, after that its use
    /// ends the session, for either the client or a thief has an old copy. Moving the counter comes last, when nothing can
    /// fail any more (A24).
    pub async fn refresh(&self, token: &RefreshToken, context: &Context) -> Result<IssuedTokens, NotRefreshed> {
        let session = self.sealer.index(&token.handle.id).ok_or(NotRefreshed::Over(Over::KeyGone))?;
        let record = self.up_to_date(&token.handle, session, Occasion::Refresh).await?;
        if let Err(cause) = self.access.admits(&record.membership, &token.grant.resource) {
            // New tokens would be refused like the ones before, and the client would come back for others.
            let whose = Whose { who: record.listing.user.subject(), client: token.grant.client, session };
            let refused = Event::new(Kind::AccessRefused, Outcome::Refused).at(context).text(Field::Reason, "refresh");
            let refused = refused.text(Field::Cause, &cause.to_string()).text(Field::Resource, &token.grant.resource);
            self.audit.record(whose.of(refused));
            return Err(NotRefreshed::Over(Over::NoAccess));
        }
        let now = self.clock.now();
        if record.waits_for_step_up(now) {
            // New tokens would be refused like the ones before, and the client would come back for others.
            return Err(NotRefreshed::Over(Over::StepUp));
        }
        // Another replica may be about to write that the session goes on. A counter that is gone before its record would end it; one
        // that is left of it counts for nothing.
        let kept_until = record.kept_until.max(record.goes_on_until(now, self.settings.session_idle));
        let step = Step {
            presented: token.generation,
            now,
            grace: self.settings.refresh_grace,
            lifetime: kept_until.remaining(now),
        };
        let advance = match self.generations.advance(session, step).await {
            // A silent store may have moved the counter. Asking again is safe: it then says what it did.
            Err(StoreError::Unavailable(_)) => self.generations.advance(session, step).await?,
            answer => answer?,
        };
        let issue = |next| self.issue_until(record.expires(), &token.handle, Some(next), &token.grant);
        match advance {
            Advance::Rotated(next) => Ok(issue(next)),
            Advance::Repeated(next) => {
                // Two threads of a client, a lost answer, or a thief beside the owner: whoever reads the log can tell.
                tracing::info!(session = reference(session), generation = token.generation, "a refresh was repeated");
                Ok(issue(next))
            }
            Advance::Reused => {
                self.end(session, Ending::RefreshTokenReused, context).await?;
                Err(NotRefreshed::Over(Over::Reused))
            }
            Advance::Missing => Err(NotRefreshed::Over(Over::NoGeneration)),
        }
    }
}
