//! Tokens on behalf of users, kept as long as they are good (MO-5, entra.md 5.4).

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::{AccessToken, Client, Error, Secret, VerifiedUser};

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
        let outcome = self.client.on_behalf_of(user_token, &self.scope, None).await;
        let until = match &outcome {
            Ok(token) => user.expires_at.min(now + token.expires_in.saturating_sub(MARGIN)),
            Err(error) => now + failure_lasts(error),
        };
        *kept = Some(Kept { outcome: outcome.clone().map(|token| (token.clone(), now + token.expires_in)), until });
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
        Error::UserMustAct(_) | Error::Refused(_) | Error::Untrusted(_) => REFUSAL_LASTS,
        Error::TryLater { retry_after, .. } => retry_after.unwrap_or(TROUBLE_LASTS).min(REFUSAL_LASTS),
        Error::SetUp(_) => TROUBLE_LASTS,
    }
}

/// A token is not handed out in its last minutes: it would die on the way.
const MARGIN: Duration = Duration::from_secs(300);
const REFUSAL_LASTS: Duration = Duration::from_secs(30);
const TROUBLE_LASTS: Duration = Duration::from_secs(2);
