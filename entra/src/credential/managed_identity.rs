//! A managed identity, asked at its host (entra.md 6.1, 6.2): for client assertions, or for tokens of its own.

mod host;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use super::{ClientCredential, CredentialError, Now, Proof};
use crate::http::{self, Answer, Peer, Silence};
use crate::{AccessToken, Cloud, Secret, SetUpError};
use host::Question;
pub use host::{IMDS, IdentityHost};

/// A managed identity whose token serves as client assertion. The token is kept and renewed in the background from half
/// of its life on; while the host is out the last good one is handed out until it expires.
pub struct ManagedIdentity {
    identity: Arc<Identity>,
}

struct Identity {
    http: reqwest::Client,
    question: Question,
    kept: Mutex<Option<Kept>>,
    /// Held while the host is asked. Holds the last failure, for those who waited for it.
    asking: tokio::sync::Mutex<Option<(Instant, CredentialError)>>,
}

struct Kept {
    assertion: Secret,
    fetched_at: Instant,
    renew_at: Instant,
    expires_at: Instant,
}

impl ManagedIdentity {
    /// `client_id` chooses among several identities of a machine; without it the one that the host assigned is asked for.
    pub fn new(cloud: Cloud, client_id: Option<String>, host: &IdentityHost, now: Now) -> Result<Self, SetUpError> {
        let identity = Identity::new(client_id, host, cloud.exchange_audience(), now)?;
        Ok(Self { identity: Arc::new(identity) })
    }

    /// A token of the identity's for [Entra's exchange](Cloud::exchange_audience), good now.
    pub async fn assertion(&self) -> Result<Secret, CredentialError> {
        let now = Instant::now();
        if let Some((assertion, fresh)) = self.identity.kept(now) {
            if !fresh {
                let identity = Arc::clone(&self.identity);
                tokio::spawn(async move { identity.renew_in_background().await });
            }
            return Ok(assertion);
        }
        // In a task of its own: IMDS may need a minute, which is longer than a caller should wait, and a caller that
        // goes away must not end the attempt for the others.
        let identity = Arc::clone(&self.identity);
        let asked = tokio::spawn(async move { identity.ask(now).await });
        let slow = || CredentialError::Unavailable("the metadata service is slow to answer".into());
        tokio::time::timeout(PATIENCE, asked).await.map_err(|_| slow())?.map_err(|_| slow())?
    }
}

/// Tokens of a managed identity for one resource. Nothing is kept: whoever asks renews.
pub(crate) struct ResourceTokens {
    identity: Identity,
}

impl ResourceTokens {
    pub fn new(client_id: Option<String>, host: &IdentityHost, resource: &str, now: Now) -> Result<Self, SetUpError> {
        Identity::new(client_id, host, resource, now).map(|identity| Self { identity })
    }

    pub async fn token(&self) -> Result<AccessToken, CredentialError> {
        self.identity.fetch().await
    }
}

#[async_trait]
impl ClientCredential for ManagedIdentity {
    async fn proof(&self, _: &Url) -> Result<Proof, CredentialError> {
        self.assertion().await.map(Proof::Assertion)
    }

    fn forget(&self) {
        let mut kept = self.identity.kept.lock().expect("no holder of this lock can panic");
        // A young one would only be answered with the same again, and IMDS refuses more than a few requests a second.
        if kept.as_ref().is_some_and(|kept| kept.fetched_at.elapsed() > YOUNG) {
            *kept = None;
        }
    }

    fn age(&self) -> Option<Duration> {
        let kept = self.identity.kept.lock().expect("no holder of this lock can panic");
        kept.as_ref().map(|kept| kept.fetched_at.elapsed())
    }
}

impl Identity {
    fn new(client_id: Option<String>, host: &IdentityHost, resource: &str, now: Now) -> Result<Self, SetUpError> {
        let question = Question::new(host, client_id.as_deref(), resource, now)?;
        let http = http::client(&Peer::Near { plain: question.is_plain() })?;
        Ok(Self { http, question, kept: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// The kept assertion if it has not expired, and whether it need not be renewed yet.
    fn kept(&self, now: Instant) -> Option<(Secret, bool)> {
        let kept = self.kept.lock().expect("no holder of this lock can panic");
        let kept = kept.as_ref().filter(|kept| now < kept.expires_at)?;
        Some((kept.assertion.clone(), now < kept.renew_at))
    }

    async fn ask(&self, since: Instant) -> Result<Secret, CredentialError> {
        let mut failed = self.asking.lock().await;
        if let Some((assertion, _)) = self.kept(Instant::now()) {
            return Ok(assertion);
        }
        if let Some((at, error)) = failed.as_ref()
            && *at >= since
        {
            return Err(error.clone());
        }
        let outcome = self.fetch().await.map(|token| self.keep(token));
        *failed = outcome.as_ref().err().map(|error| (Instant::now(), error.clone()));
        outcome
    }

    async fn renew_in_background(&self) {
        // Somebody else is at it already.
        let Ok(mut failed) = self.asking.try_lock() else { return };
        if self.kept(Instant::now()).is_some_and(|(_, fresh)| fresh) {
            return;
        }
        match self.fetch().await {
            Ok(token) => _ = self.keep(token),
            Err(error) => {
                tracing::warn!(%error, "managed identity not renewed; the last good assertion stays");
                let mut kept = self.kept.lock().expect("no holder of this lock can panic");
                if let Some(kept) = kept.as_mut() {
                    kept.renew_at = Instant::now() + RENEWAL_PAUSE;
                }
                *failed = Some((Instant::now(), error));
            }
        }
    }

    /// Asks until the host answers, as often as the documentation of IMDS says.
    async fn fetch(&self) -> Result<AccessToken, CredentialError> {
        let mut pauses = PAUSES.iter();
        let mut updating = UPDATING_TRIES;
        loop {
            let answer = http::send(self.question.put(&self.http)).await;
            let (cause, pause) = match answer {
                Ok(answer) if answer.status == 200 => return self.question.token(&answer),
                Ok(answer) if answer.status == 410 && updating > 0 => {
                    updating -= 1;
                    ("status 410: the metadata service is being updated".to_owned(), Some(&UPDATING_PAUSE))
                }
                Ok(answer) if matches!(answer.status.as_u16(), 404 | 408 | 410 | 429 | 500..) => {
                    (format!("metadata service: status {}", answer.status.as_u16()), pauses.next())
                }
                Ok(answer) => return Err(refused(&answer)),
                Err(Silence { cause, .. }) => (format!("metadata service: {cause}"), pauses.next()),
            };
            let Some(pause) = pause else { return Err(CredentialError::Unavailable(cause)) };
            tracing::info!(cause, pause_s = pause.as_secs(), "asking the metadata service again");
            tokio::time::sleep(*pause).await;
        }
    }

    fn keep(&self, token: AccessToken) -> Secret {
        let (assertion, life) = (token.token, token.expires_in);
        let now = Instant::now();
        *self.kept.lock().expect("no holder of this lock can panic") = Some(Kept {
            fetched_at: now,
            renew_at: now + renew_after(life, &assertion),
            expires_at: now + life,
            assertion: assertion.clone(),
        });
        assertion
    }
}

/// Half of a long life, all but five minutes of a short one; up to a twentieth less, by the token's own hash, so that
/// machines started together do not renew together.
fn renew_after(life: Duration, assertion: &Secret) -> Duration {
    let whole =
        if life >= Duration::from_secs(7200) { life / 2 } else { life.saturating_sub(Duration::from_secs(300)) };
    let spread: [u8; 32] = Sha256::digest(assertion.expose()).into();
    whole - whole / 20 * u32::from(spread[0]) / 256
}

/// A refusal that time does not mend. The host's words name no secret, and an operator needs them ("Identity not found").
fn refused(answer: &Answer) -> CredentialError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = body["error_description"].as_str().or(body["message"].as_str());
    let words = said.unwrap_or("no reason given");
    let words: String = words.chars().filter(|letter| !letter.is_control()).take(200).collect();
    CredentialError::Broken(format!("metadata service: status {}: {words}", answer.status.as_u16()))
}

const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const UPDATING_PAUSE: Duration = Duration::from_secs(10);
const UPDATING_TRIES: u32 = 7;
/// How long a caller without any good assertion waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failed renewal.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// Age below which [`ClientCredential::forget`] changes nothing.
const YOUNG: Duration = Duration::from_secs(5);
