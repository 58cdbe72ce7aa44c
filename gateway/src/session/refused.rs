//! What is done for a call whose upstream refused Entra's token (B11).
//!
//! A server may know sooner than the token's own time says that it is worth nothing: its user was revoked, a key was
//! withdrawn. One renewal, shared like any other, finds out; Entra's no ends the session. A server that refuses new tokens
//! too is believed no further: for the rest of that minute nobody asks Entra for it.
//!
//! With a claims challenge the server says what it misses. The renewal asks for that; what only the user can give is kept
//! for the next sign-in (`step_up`).

use entra::ClaimsRequest;
use http::HeaderValue;

use super::admitted::{Admitted, Denied};
use super::cache::{Entry, Verifier};
use super::record::Record;
use super::renewal::Occasion;
use super::{NotRefreshed, Sessions};

/// What an upstream refused.
pub(super) struct Refused {
    /// As it was sent.
    bearer: HeaderValue,
    /// What it wants of the next one.
    pub claims: Option<ClaimsRequest>,
}

impl Refused {
    /// Whether it is still the session's token.
    pub fn is_of(&self, record: &Record) -> bool {
        self.bearer.as_bytes().strip_prefix(b"Bearer ") == Some(record.entra.access_token.as_bytes())
    }
}

impl Sessions {
    /// Puts another token of Entra's into the permit, for one more try: one that somebody else has got meanwhile, or a
    /// new one. With `claims` it is asked for as the upstream wants it.
    ///
    /// # Errors
    /// [`Denied::Refused`] when none is to be had, when the refused one is new, or when the user must answer the claims
    /// first, which are kept then; [`Denied::Later`] when Entra or whoever
    /// asks it does not answer; [`Denied::Ended`] when Entra says no.
    pub async fn renew_refused(&self, admitted: &mut Admitted, claims: Option<ClaimsRequest>) -> Result<(), Denied> {
        let refused = Refused { bearer: admitted.bearer.clone(), claims };
        let occasion = Occasion::Refused(&refused);
        let before = self.moment();
        let record = match self.up_to_date(&admitted.handle, admitted.session(), occasion).await {
            Ok(record) => record,
            Err(NotRefreshed::Over(_)) => return Err(Denied::Ended),
            Err(NotRefreshed::Later { retry_after }) => return Err(Denied::Later { retry_after }),
            Err(NotRefreshed::Store(cause)) => return Err(cause.into()),
        };
        if refused.is_of(&record) {
            return Err(match self.wants_token(&record, occasion) {
                true => Denied::Later { retry_after: record.pause(self.clock.now()) },
                false => Denied::Refused,
            });
        }
        // Another replica may have renewed it: what is at hand here is what was refused.
        self.keep_at_hand(&admitted.handle, admitted.session(), &record, before);
        let verifier = Verifier::of(&admitted.handle.secret);
        let entry = Entry::new(&record, verifier, before.now, before.epoch).ok_or(Denied::Refused)?;
        (admitted.bearer, admitted.ends) = (entry.bearer.clone(), entry.session_ends);
        Ok(())
    }
}
