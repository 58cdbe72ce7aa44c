//! The authority's signing keys, cached (entra.md 3.2). Keys roll without notice, so an unknown `kid` is looked up once
//! more; a flood of made-up ones must not become a flood of requests.

mod published;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ClaimsError;
use crate::aadsts::Code;
use crate::authority::Authority;
use crate::claims::{Claims, Signed};
use crate::http;
use crate::observe::{Observed, Observer, Operation, Outcome};
use published::KeySet;

/// The key cache of one authority. One fetch at a time; the last good set stays when a fetch fails, for a day.
pub(crate) struct Keys {
    http: reqwest::Client,
    authority: Authority,
    observer: Arc<dyn Observer>,
    latest: RwLock<Option<Fetched>>,
    /// Held during a fetch. The times in it say when the next one is due.
    fetching: Mutex<Pace>,
}

#[derive(Clone)]
struct Fetched {
    keys: Arc<KeySet>,
    at: Instant,
}

#[derive(Default)]
struct Pace {
    last_failure: Option<(Instant, String)>,
    last_for_unknown_kid: Option<Instant>,
}

impl Keys {
    pub(crate) fn new(http: reqwest::Client, authority: Authority, observer: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self { http, authority, observer, latest: RwLock::new(None), fetching: Mutex::default() })
    }

    /// Since the set in use was fetched; `None` before the first.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.latest().map(|fetched| fetched.at.elapsed())
    }

    /// That there is a set to verify with.
    pub(crate) async fn ready(self: &Arc<Self>) -> Result<(), ClaimsError> {
        self.current().await.map(|_| ())
    }

    /// The claims of a token that one of the authority's own keys signed.
    pub(crate) async fn verify(self: &Arc<Self>, token: &Signed<'_>) -> Result<Claims, ClaimsError> {
        let mut fetched = self.current().await?;
        if !fetched.keys.contains(&token.kid) {
            fetched = self.after_unknown_kid(fetched).await;
        }
        let key = fetched.keys.get(&token.kid).ok_or(ClaimsError::UnknownKey)?;
        let claims = token.verify(&key.key)?;
        // A key pinned to one tenant must not vouch for another.
        if key.fits(&self.authority, &claims.tid) { Ok(claims) } else { Err(ClaimsError::KeyIssuer) }
    }

    /// Keys no older than a day. After an hour they are renewed behind the caller's back.
    async fn current(self: &Arc<Self>) -> Result<Fetched, ClaimsError> {
        if let Some(fetched) = self.latest() {
            let age = fetched.at.elapsed();
            if age < RENEW {
                return Ok(fetched);
            }
            if age < KEEP {
                self.renew_in_background();
                return Ok(fetched);
            }
        }
        let mut pace = self.fetching.lock().await;
        match self.latest() {
            Some(fetched) if fetched.at.elapsed() < KEEP => Ok(fetched),
            _ => self.fetch(&mut pace).await.map_err(ClaimsError::KeysUnavailable),
        }
    }

    fn renew_in_background(self: &Arc<Self>) {
        let keys = Arc::clone(self);
        tokio::spawn(async move {
            // Somebody else is at it already: that fetch will do.
            let Ok(mut pace) = keys.fetching.try_lock() else { return };
            if keys.latest().is_some_and(|fetched| fetched.at.elapsed() >= RENEW)
                && let Err(cause) = keys.fetch(&mut pace).await
            {
                tracing::warn!(cause, "signing keys not renewed; the last good ones stay");
            }
        });
    }

    async fn after_unknown_kid(&self, seen: Fetched) -> Fetched {
        let mut pace = self.fetching.lock().await;
        // While we waited another caller may have fetched a newer set; look there first.
        let latest = self.latest().filter(|latest| latest.at > seen.at);
        if let Some(latest) = latest {
            return latest;
        }
        if pace.last_for_unknown_kid.is_some_and(|last| last.elapsed() < UNKNOWN_KID_PAUSE) {
            return seen;
        }
        match self.fetch(&mut pace).await {
            Ok(fetched) => {
                pace.last_for_unknown_kid = Some(Instant::now());
                fetched
            }
            Err(cause) => {
                tracing::warn!(cause, "signing keys not looked up again for an unknown kid");
                seen
            }
        }
    }

    async fn fetch(&self, pace: &mut Pace) -> Result<Fetched, String> {
        if let Some((at, cause)) = &pace.last_failure
            && at.elapsed() < FAILURE_PAUSE
        {
            return Err(cause.clone());
        }
        let observed = Observed::begin(&self.observer, Operation::Keys);
        let keys = match http::send(self.http.get(self.authority.keys_url())).await {
            Ok(answer) if answer.status == 200 => KeySet::parse(&answer.body),
            Ok(answer) => Err(format!("status {}", answer.status.as_u16())),
            Err(silence) => Err(silence.cause),
        };
        match keys {
            Ok(keys) => {
                observed.end(Outcome::Ok, Code::None);
                pace.last_failure = None;
                let fetched = Fetched { keys: Arc::new(keys), at: Instant::now() };
                *self.latest.write().expect("no holder of this lock can panic") = Some(fetched.clone());
                Ok(fetched)
            }
            Err(cause) => {
                observed.end(Outcome::TryLater, Code::None);
                pace.last_failure = Some((Instant::now(), cause.clone()));
                Err(cause)
            }
        }
    }

    fn latest(&self) -> Option<Fetched> {
        self.latest.read().expect("no holder of this lock can panic").clone()
    }
}

/// Age at which a set is renewed in the background, and at which it is no longer believed.
const RENEW: Duration = Duration::from_secs(3600);
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// At most one extra fetch for unknown kids in this time, so that made-up kids cost us and Entra nothing.
const UNKNOWN_KID_PAUSE: Duration = Duration::from_secs(300);
/// After a failed fetch its failure is the answer for this long.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
