//! How much is asked of Entra at a time (GU-12): a bound on calls under way, and one pause for all callers when Entra says to
//! wait. Whoever goes on asking while throttled is throttled for longer, and the whole tenant with it.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use crate::Error;

/// One for each client of Entra, shared by all its calls.
pub(crate) struct Throttle {
    turns: Semaphore,
    paused_until: Mutex<Option<Instant>>,
}

impl Throttle {
    pub fn new() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), paused_until: Mutex::default() }
    }

    /// A place among the calls under way, free again when it is dropped. Waits out a pause that ends within two seconds.
    ///
    /// # Errors
    /// [`Error::TryLater`]: Entra said to wait for longer, with what is left of it; or there are too many calls already.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, Error> {
        let left = self.pause();
        if left > WORTH_WAITING {
            let cause = "Entra is throttling this application".to_owned();
            return Err(Error::TryLater { retry_after: Some(left), cause });
        }
        sleep(left).await;
        let turn = timeout(WORTH_WAITING, self.turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| Error::TryLater {
            retry_after: None,
            cause: format!("{AT_ONCE} calls to Entra are under way"),
        })
    }

    /// Nobody asks before `wait` is over. A longer pause that was asked for before stays.
    pub fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_PAUSE);
        let mut paused = self.paused();
        if paused.is_none_or(|other| other < until) {
            *paused = Some(until);
        }
    }

    fn pause(&self) -> Duration {
        self.paused().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn paused(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.paused_until.lock().expect("no holder of this lock can panic")
    }
}

/// Calls under way. A call takes Entra a tenth of a second, so these are some hundreds each second.
const AT_ONCE: usize = 32;
const WORTH_WAITING: Duration = Duration::from_secs(2);
/// As Microsoft's own libraries cap it.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_of(outcome: Result<SemaphorePermit<'_>, Error>) -> Option<Duration> {
        match outcome {
            Err(Error::TryLater { retry_after, .. }) => retry_after,
            Ok(_) => panic!("a turn"),
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_everyone_and_its_end_is_waited_for() {
        let throttle = Throttle::new();
        throttle.hold(Duration::from_secs(30));
        throttle.hold(Duration::from_secs(3));
        assert_eq!(wait_of(throttle.turn().await), Some(Duration::from_secs(30)));
        tokio::time::advance(Duration::from_secs(28)).await;
        let before = Instant::now();
        assert!(throttle.turn().await.is_ok());
        assert_eq!(before.elapsed().as_secs(), 2);
        throttle.hold(Duration::MAX);
        assert_eq!(wait_of(throttle.turn().await), Some(LONGEST_PAUSE));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_under_way_than_there_are_turns() {
        let throttle = Throttle::new();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(throttle.turn().await.unwrap());
        }
        assert_eq!(wait_of(throttle.turn().await), None);
        taken.pop();
        assert!(throttle.turn().await.is_ok());
    }
}
