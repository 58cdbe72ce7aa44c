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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use entra::Secret;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn token(text: &str, expires_in: Duration) -> AccessToken {
        AccessToken { token: Secret::new(text.to_owned()), expires_in, scope: String::new() }
    }

    fn trouble(retry_after: Option<u64>) -> Error {
        Error::TryLater { retry_after: retry_after.map(Duration::from_secs), cause: "trouble".to_owned() }
    }

    #[test]
    fn a_token_is_renewed_when_three_quarters_of_its_life_are_over_and_well_before_its_end() {
        assert_eq!(renewed_after(HOUR, [0]), HOUR * 75 / 100);
        assert_eq!(renewed_after(HOUR, [255]), HOUR * 85 / 100);
        assert!((0..255).all(|chance| renewed_after(HOUR, [chance]) < renewed_after(HOUR, [chance + 1])));
    }

    #[test]
    fn after_a_failure_entra_is_asked_less_and_less_or_when_it_says() {
        let pauses = |error: Error| [1, 2, 3, 4, 5, 6, 40, u32::MAX].map(|failures| pause(&error, failures).as_secs());
        assert_eq!(pauses(trouble(None)), [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pauses(trouble(Some(7))), [7, 7, 7, 8, 16, 30, 30, 30]);
        assert_eq!(pauses(trouble(Some(3600))), [30; 8]);
        assert_eq!(pauses(Error::SetUp("wrong".to_owned())), [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn whose_token_it_is_is_read_from_it_or_from_nothing() {
        let of = |claims: &str| principal(&token(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)), HOUR));
        let id = "55555555-5555-5555-5555-55555555555A";
        assert_eq!(of(&format!(r#"{{"oid":"{id}"}}"#)), Some(id.to_ascii_lowercase()));
        for claims in [r#"{"oid":7}"#, "{}", "", r#"{"oid":"not-one\nnext line"}"#] {
            assert_eq!(of(claims), None, "{claims}");
        }
        assert_eq!(principal(&token("opaque", HOUR)), None);
    }

    /// What a user is told of, second by second, and how often Entra was asked.
    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_and_the_last_token_to_its_end() {
        let (user, started) = (EntraUser::new("somebody".to_owned()), Instant::now());
        // Seconds of life, or a failure.
        let script =
            RefCell::new(vec![Some(100), Some(100), None, None, None, None, None, None, Some(100)].into_iter());
        let calls = RefCell::new(Vec::new());
        let fetch = async || {
            calls.borrow_mut().push(started.elapsed().as_secs());
            sleep(Duration::from_secs(1)).await;
            let life = script.borrow_mut().next().unwrap();
            life.map(|life| token("token", Duration::from_secs(life))).ok_or_else(|| trouble(None))
        };
        let mut absent = None;
        let watched = async {
            loop {
                sleep(Duration::from_millis(250)).await;
                if started.elapsed() > Duration::from_secs(2) && absent.is_none() && !user.is_good() {
                    absent = Some(started.elapsed().as_secs());
                } else if absent.is_some() && user.is_good() {
                    return started.elapsed().as_secs();
                }
            }
        };
        let again = tokio::select! {
            again = watched => again,
            never = user.stay_signed_in(fetch) => match never {},
        };
        let calls = calls.into_inner();
        assert_eq!(calls[0], 0);
        assert!((75..=86).contains(&calls[1]), "{calls:?}");
        let (second, absent) = (calls[1], absent.unwrap());
        // It lives from when it was asked for.
        assert!((second + 100..=second + 102).contains(&absent), "absent at {absent}, {calls:?}");
        assert!(again > absent && calls.len() == 9, "again at {again}, {calls:?}");
        assert!(calls.windows(2).all(|two| two[1] >= two[0] + 2), "a pause after each answer: {calls:?}");
    }
}
