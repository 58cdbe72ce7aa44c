//! Tokens on behalf of users, kept as long as they are good (MO-5, entra.md 5.4).

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::{AccessToken, ClaimsRequest, Client, Error, Refusal, Secret, VerifiedUser};

/// An on-behalf-of exchange for one scope, with a bounded memory. The key is the hash of the user's very token, so one
/// user's result can never be another's; at most one call per key is under way.
pub struct Exchange {
    client: Arc<Client>,
    scope: String,
    kept: Mutex<LruCache<Key, Arc<Slot>>>,
}

type Key = [u8; 32];
/// Held during the call for its key; those who wait find the result in it.
type Slot = tokio::sync::Mutex<Option<Kept>>;

struct Kept {
    outcome: Result<(AccessToken, SystemTime), Error>,
    until: SystemTime,
    /// Asked for with the claims of a challenge.
    answers: bool,
}

impl Exchange {
    /// Keeps at most `capacity` results; the least recently used goes first.
    pub fn new(client: Arc<Client>, scope: String, capacity: NonZeroUsize) -> Self {
        Self { client, scope, kept: Mutex::new(LruCache::new(capacity)) }
    }

    /// A token on behalf of the verified owner of `user_token`. A failure is the answer for a while too: Entra counts
    /// repeated failing requests and ends in refusing them all (AADSTS50196).
    pub async fn token(&self, user: &VerifiedUser, user_token: &Secret, now: SystemTime) -> Result<AccessToken, Error> {
        let slot = self.slot(user_token);
        let mut kept = slot.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.until) {
            return kept.outcome.clone().map(|(token, expires_at)| AccessToken {
                expires_in: expires_at.duration_since(now).unwrap_or_default(),
                ..token
            });
        }
        self.ask(&mut kept, user, user_token, None, now).await
    }

    /// A token in place of one that the resource refused with a claims challenge (entra.md section 8). Entra is asked once:
    /// what its answer to a challenge is refused for as well, only the user can mend, and so for a while the failure is the
    /// answer to every call with this token of the user's. Its [`Error::UserMustAct`] always has claims.
    pub async fn answer(
        &self,
        user: &VerifiedUser,
        user_token: &Secret,
        refused: &AccessToken,
        claims: &ClaimsRequest,
        now: SystemTime,
    ) -> Result<AccessToken, Error> {
        let slot = self.slot(user_token);
        let mut kept = slot.lock().await;
        if let Some(kept) = kept.as_mut().filter(|kept| now < kept.until) {
            match &kept.outcome {
                Err(error) => return Err(error.clone()),
                // Somebody else has asked meanwhile.
                Ok((token, expires_at)) if token.token.expose() != refused.token.expose() => {
                    let expires_in = expires_at.duration_since(now).unwrap_or_default();
                    return Ok(AccessToken { expires_in, ..token.clone() });
                }
                Ok(_) if kept.answers => {
                    let error = Error::UserMustAct(Refusal {
                        error: "insufficient_claims".to_owned(),
                        claims: Some(claims.clone()),
                        ..Refusal::default()
                    });
                    *kept = Kept { outcome: Err(error.clone()), until: now + REFUSAL_LASTS, answers: true };
                    return Err(error);
                }
                Ok(_) => {}
            }
        }
        self.ask(&mut kept, user, user_token, Some(claims), now).await
    }

    /// Why there is no token for this one of the user's, if that is known; nobody is asked.
    pub async fn known_failure(&self, user_token: &Secret, now: SystemTime) -> Option<Error> {
        let slot = self.slot(user_token);
        // While a call is under way nothing is known.
        let kept = slot.try_lock().ok()?;
        kept.as_ref().filter(|kept| now < kept.until)?.outcome.as_ref().err().cloned()
    }

    async fn ask(
        &self,
        kept: &mut Option<Kept>,
        user: &VerifiedUser,
        user_token: &Secret,
        claims: Option<&ClaimsRequest>,
        now: SystemTime,
    ) -> Result<AccessToken, Error> {
        let mut outcome = self.client.on_behalf_of(&user.user.tenant_id, user_token, &self.scope, claims).await;
        if let Err(Error::UserMustAct(refusal)) = &mut outcome {
            // Entra's own say more about what it misses.
            refusal.claims = refusal.claims.take().or_else(|| claims.cloned());
        }
        let until = match &outcome {
            Ok(token) => user.expires_at.min(now + token.expires_in.saturating_sub(MARGIN)),
            Err(error) => now + failure_lasts(error),
        };
        let kept_outcome = outcome.clone().map(|token| (token.clone(), now + token.expires_in));
        *kept = Some(Kept { outcome: kept_outcome, until, answers: claims.is_some() });
        outcome
    }

    fn slot(&self, user_token: &Secret) -> Arc<Slot> {
        let key: Key = Sha256::digest(user_token.expose()).into();
        let mut kept = self.kept.lock().expect("no holder of this lock can panic");
        Arc::clone(kept.get_or_insert(key, Arc::default))
    }
}

fn failure_lasts(error: &Error) -> Duration {
    match error {
        Error::UserMustAct(_) | Error::Refused(_) | Error::Untrusted(_) | Error::OtherTenant { .. } => REFUSAL_LASTS,
        Error::TryLater { retry_after, .. } => retry_after.unwrap_or(TROUBLE_LASTS).min(REFUSAL_LASTS),
        Error::SetUp(_) => TROUBLE_LASTS,
    }
}

/// A token is not handed out in its last minutes: it would die on the way.
const MARGIN: Duration = Duration::from_secs(300);
const REFUSAL_LASTS: Duration = Duration::from_secs(30);
const TROUBLE_LASTS: Duration = Duration::from_secs(2);
