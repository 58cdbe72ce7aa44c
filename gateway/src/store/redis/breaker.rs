//! A circuit breaker: what was waited for in vain a few times in a row is not waited for again and again.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::settings::BreakerSettings;

pub struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a row.
    timeouts: u32,
    /// While it is open: when the next request is let through.
    next_try: Option<Instant>,
}

impl Breaker {
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    /// Whether a request may ask. While it is open one may for each pause; that one need not end, for the next is let
    /// through all the same.
    pub fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.next_try {
            None => true,
            Some(next_try) if now < next_try => false,
            Some(_) => {
                state.next_try = Some(now + self.settings.pause);
                true
            }
        }
    }

    /// Whether requests are kept away.
    pub fn is_open(&self) -> bool {
        self.state().next_try.is_some()
    }

    /// Any prompt outcome, a refusal too: it costs nobody time.
    pub fn was_prompt(&self) {
        *self.state() = State::default();
    }

    /// Whether this opened it.
    pub fn timed_out(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.timeouts = state.timeouts.saturating_add(1);
        let opens = state.next_try.is_none() && state.timeouts >= self.settings.failures;
        if opens {
            state.next_try = Some(now + self.settings.pause);
        }
        opens
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings { failures: 3, pause: PAUSE })
    }

    #[test]
    fn it_opens_after_so_many_in_a_row_and_lets_one_through_for_each_pause() {
        let (breaker, start) = (breaker(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!([0, 1, 2].map(|millis| breaker.timed_out(at(millis))), [false, false, true]);
        assert!(breaker.is_open());
        assert!(!breaker.timed_out(at(900)), "asked before it opened; it does not open again or later");
        let let_through: Vec<_> =
            (0..=4).map(|quarter| 2 + quarter * 250).filter(|ms| breaker.admits(at(*ms))).collect();
        assert_eq!(let_through, [1002]);
        // The one that was let through was cancelled: another is, a pause later.
        assert!(!breaker.admits(at(2001)) && breaker.admits(at(2002)) && !breaker.admits(at(2002)));
        breaker.timed_out(at(2100));
        assert!(!breaker.admits(at(3001)) && breaker.admits(at(3002)));
        breaker.was_prompt();
        assert!(!breaker.is_open());
        assert!(breaker.admits(at(3003)) && breaker.admits(at(3003)));
    }

    #[test]
    fn a_prompt_outcome_begins_the_count_anew() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..5 {
            assert!(!breaker.timed_out(now) && !breaker.timed_out(now));
            breaker.was_prompt();
        }
        assert!(breaker.admits(now));
    }
}
