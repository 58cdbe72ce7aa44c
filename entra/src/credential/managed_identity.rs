//! A user-assigned managed identity, asked at the machine's metadata service (IMDS, entra.md 6.1): for client assertions, or
//! for tokens of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use super::{AssertionSource, CredentialError};
use crate::http::{self, Answer, Peer, Silence};
use crate::token::seconds;
use crate::{AccessToken, Secret, SetUpError};

/// Where IMDS is on every Azure machine.
pub const IMDS: &str = "http://169.254.169.254";

/// A managed identity whose token serves as client assertion. The token is kept and renewed in the background from half
/// of its life on; while IMDS is out the last good one is handed out until it expires.
pub struct ManagedIdentity {
    identity: Arc<Identity>,
}

struct Identity {
    http: reqwest::Client,
    url: Url,
    kept: Mutex<Option<Kept>>,
    /// Held while IMDS is asked. Holds the last failure, for those who waited for it.
    asking: tokio::sync::Mutex<Option<(Instant, CredentialError)>>,
}

struct Kept {
    assertion: Secret,
    fetched_at: Instant,
    renew_at: Instant,
    expires_at: Instant,
}

impl ManagedIdentity {
    /// `client_id` chooses among several identities of a machine. `endpoint` is [`IMDS`] except in tests and development.
    pub fn new(client_id: Option<String>, endpoint: &str) -> Result<Self, SetUpError> {
        Identity::new(client_id, endpoint, EXCHANGE_AUDIENCE).map(|identity| Self { identity: Arc::new(identity) })
    }
}

/// Tokens of a managed identity for one resource. Nothing is kept: whoever asks renews.
pub(crate) struct ResourceTokens {
    identity: Identity,
}

impl ResourceTokens {
    pub fn new(client_id: Option<String>, endpoint: &str, resource: &str) -> Result<Self, SetUpError> {
        Identity::new(client_id, endpoint, resource).map(|identity| Self { identity })
    }

    pub async fn token(&self) -> Result<AccessToken, CredentialError> {
        self.identity.fetch().await
    }
}

#[async_trait]
impl AssertionSource for ManagedIdentity {
    async fn assertion(&self) -> Result<Secret, CredentialError> {
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

    fn forget(&self) {
        let mut kept = self.identity.kept.lock().expect("no holder of this lock can panic");
        // A young one would only be answered with the same again, and IMDS refuses more than a few requests a second.
        if kept.as_ref().is_some_and(|kept| kept.fetched_at.elapsed() > YOUNG) {
            *kept = None;
        }
    }
}

impl Identity {
    fn new(client_id: Option<String>, endpoint: &str, resource: &str) -> Result<Self, SetUpError> {
        let mut url = Url::parse(endpoint).map_err(|_| SetUpError::IdentityEndpoint)?;
        if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || url.query().is_some() {
            return Err(SetUpError::IdentityEndpoint);
        }
        url.set_path("/metadata/identity/oauth2/token");
        url.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", resource);
        if let Some(client_id) = client_id {
            url.query_pairs_mut().append_pair("client_id", &client_id);
        }
        let http = http::client(&Peer::Near { plain: url.scheme() == "http" })?;
        Ok(Self { http, url, kept: Mutex::default(), asking: tokio::sync::Mutex::default() })
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

    /// Asks until IMDS answers, as often as its documentation says.
    async fn fetch(&self) -> Result<AccessToken, CredentialError> {
        let mut pauses = PAUSES.iter();
        let mut updating = UPDATING_TRIES;
        loop {
            let answer = http::send(self.http.get(self.url.clone()).header("Metadata", "true")).await;
            let (cause, pause) = match answer {
                Ok(answer) if answer.status == 200 => return token(&answer),
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

fn token(answer: &Answer) -> Result<AccessToken, CredentialError> {
    #[derive(Deserialize)]
    struct Body {
        access_token: String,
        expires_in: Value,
    }
    let unusable = || CredentialError::Unavailable("the metadata service's answer holds no token".into());
    let body: Body = serde_json::from_slice(&answer.body).map_err(|_| unusable())?;
    let token = Secret::new(body.access_token);
    let expires_in = seconds(&body.expires_in).filter(|life| !life.is_zero()).ok_or_else(unusable)?;
    if token.expose().is_empty() {
        return Err(unusable());
    }
    Ok(AccessToken { token, expires_in, scope: String::new() })
}

/// Half of a long life, all but five minutes of a short one; up to a twentieth less, by the token's own hash, so that
/// machines started together do not renew together.
fn renew_after(life: Duration, assertion: &Secret) -> Duration {
    let whole =
        if life >= Duration::from_secs(7200) { life / 2 } else { life.saturating_sub(Duration::from_secs(300)) };
    let spread: [u8; 32] = Sha256::digest(assertion.expose()).into();
    whole - whole / 20 * u32::from(spread[0]) / 256
}

/// A refusal that time does not mend. IMDS's words name no secret, and an operator needs them ("Identity not found").
fn refused(answer: &Answer) -> CredentialError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let words = body["error_description"].as_str().unwrap_or("no reason given");
    let words: String = words.chars().filter(|letter| !letter.is_control()).take(200).collect();
    CredentialError::Broken(format!("metadata service: status {}: {words}", answer.status.as_u16()))
}

/// What Entra wants a federated assertion to be for, in the public cloud.
const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const UPDATING_PAUSE: Duration = Duration::from_secs(10);
const UPDATING_TRIES: u32 = 7;
/// How long a caller without any good assertion waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failed renewal.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// Age below which [`AssertionSource::forget`] changes nothing.
const YOUNG: Duration = Duration::from_secs(5);
