//! Keeps a token of Entra's at hand to sign in to Redis with: each is renewed well before it ends, and while Entra is out
//! the last one serves until its end.

use std::convert::Infallible;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra::{AccessToken, Error};
use tokio::time::{Instant, sleep};

use super::token::{EntraUser, Token};
use crate::secret::random_bytes;

impl EntraUser {
    /// Gets one token after the other, each by one `fetch` at a time. Never returns; to run in one task, for as long as Redis
    /// is used.
    pub async fn stay_signed_in<F>(&self, fetch: impl Fn() -> F) -> Infallible
    where
        F: Future<Output = Result<AccessToken, Error>>,
    {
        // When the token ends.
        let mut end: Option<Instant> = None;
        let mut failures = 0;
        loop {
            let asked = Instant::now();
            let pause = match fetch().await {
                Ok(token) => {
                    self.report(&token, failures);
                    failures = 0;
                    end = Some(asked + token.expires_in);
                    let pause = renewed_after(token.expires_in, random_bytes()).saturating_sub(asked.elapsed());
                    self.becomes(Token::Good(token.token));
                    pause
                }
                Err(error) => {
                    let left = end.map(|end| end.saturating_duration_since(Instant::now())).unwrap_or_default();
                    if left.is_zero() && (end.take().is_some() || failures == 0) {
                        self.becomes(Token::Absent);
                        tracing::error!(%error, "no token of Entra's to sign in to Redis with; trying on. See store.entra_user");
                    } else if failures == 0 {
                        tracing::warn!(%error, left_s = left.as_secs(), "the token for Redis is not renewed; trying on");
                    }
                    failures += 1;
                    let pause = pause(&error, failures);
                    // At its end, to say so.
                    if left.is_zero() { pause } else { pause.min(left) }
                }
            };
            sleep(pause.max(SHORTEST_PAUSE)).await;
        }
    }

    fn report(&self, token: &AccessToken, failures: u32) {
        let expires_in_s = token.expires_in.as_secs();
        match failures {
            0 => tracing::debug!(expires_in_s, "a token for Redis"),
            _ => tracing::info!(expires_in_s, failures, "a token for Redis again"),
        }
        if let Some(principal) = principal(token)
            && principal != self.object_id()
        {
            let expected = self.object_id();
            tracing::error!(principal, expected, "the token for Redis is another principal's than store.entra_user");
        }
    }
}

/// 75 to 85 hundredths of its life, so that replicas that started together do not renew together.
fn renewed_after(life: Duration, [chance]: [u8; 1]) -> Duration {
    life * 3 / 4 + life / 10 * u32::from(chance) / 255
}

/// Twice as long after each failure, or as long as Entra asks for.
fn pause(error: &Error, failures: u32) -> Duration {
    let own = (SHORTEST_PAUSE * 2_u32.saturating_pow(failures - 1)).min(LONGEST_PAUSE);
    match error {
        Error::TryLater { retry_after: Some(wanted), .. } => own.max(*wanted).min(LONGEST_PAUSE),
        _ => own,
    }
}

/// Whose token it is, to tell an operator who mixed up two ids. Nothing is decided by it: Redis alone verifies the token.
fn principal(token: &AccessToken) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.token.expose().split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let principal = claims["oid"].as_str()?;
    // It goes to the log.
    let is_guid = principal.len() == 36 && principal.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_guid.then(|| principal.to_ascii_lowercase())
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
