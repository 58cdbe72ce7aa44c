//! The look at Entra that a replica takes at its start (GU-11): the right authority, keys to verify with, and that Entra believes
//! who we are. Until it succeeds `/readyz` says what is in the way, so that a rollout with a mistake in it stops at its first
//! replica; all else is served meanwhile. Afterwards nobody looks again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use entra::{Error, advice};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::sleep;

use crate::readiness::Readiness;
use crate::secret::random_fraction;

pub struct StartCheck {
    pub entra: Arc<entra::Client>,
    pub readiness: Readiness,
}

#[async_trait]
impl BackgroundService for StartCheck {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.until_it_succeeds() => {}
            _ = shutdown.changed() => {}
        }
    }
}

impl StartCheck {
    async fn until_it_succeeds(&self) {
        let mut failures = 0;
        loop {
            let error = match self.entra.check().await {
                Ok(()) => break,
                Err(error) => error,
            };
            failures += 1;
            self.readiness.hindered(in_words(&error));
            let pause = pause(&error, failures, random_fraction());
            let pause_s = pause.as_secs();
            match error {
                Error::TryLater { .. } => tracing::warn!(%error, pause_s, "not ready: Entra does not answer"),
                _ => {
                    let fix = error.number().and_then(advice);
                    tracing::error!(%error, pause_s, fix, "not ready: Entra does not let this gateway sign anybody in");
                }
            }
            sleep(pause).await;
        }
        self.readiness.ready();
        tracing::info!(failures, "ready: Entra knows this gateway");
    }
}

/// For people, with what mends it.
fn in_words(error: &Error) -> String {
    match error.number().and_then(advice) {
        Some(fix) => format!("Entra: {error}: {fix}"),
        None => format!("Entra: {error}"),
    }
}

/// Twice as long after each failure, up to half a minute, or as long as Entra asks for; `chance`, from 0 to 1, keeps replicas
/// from asking together. A federated credential may take minutes to be known everywhere at Entra.
fn pause(error: &Error, failures: u32, chance: f64) -> Duration {
    let own = (SHORTEST_PAUSE * 2_u32.saturating_pow(failures - 1)).min(LONGEST_PAUSE);
    let own = own.mul_f64(1.0 - SPREAD * chance);
    match error {
        Error::TryLater { retry_after: Some(wanted), .. } => own.max(*wanted).min(LONGEST_ASKED),
        _ => own,
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_ASKED: Duration = Duration::from_secs(300);
const SPREAD: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_number_comes_with_what_mends_it() {
        assert_eq!(
            in_words(&Error::SetUp("AADSTS7000112".to_owned())),
            "Entra: set-up: AADSTS7000112: the application is disabled: enable it under Enterprise applications, Properties"
        );
        assert_eq!(in_words(&Error::SetUp("AADSTS1".to_owned())), "Entra: set-up: AADSTS1");
    }

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ_among_replicas() {
        let broken = Error::SetUp("AADSTS700213".to_owned());
        let pauses = |chance| (1..8).map(|failures| pause(&broken, failures, chance).as_millis()).collect::<Vec<_>>();
        assert_eq!(pauses(0.0), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(pauses(1.0)[..3], [800, 1600, 3200]);
        let asked = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            pause(&Error::TryLater { retry_after, cause: String::new() }, 1, 0.0).as_secs()
        };
        assert_eq!((asked(0), asked(60), asked(9999)), (1, 60, 300));
    }
}
