//! How often somebody may do something: so much at once, and then so much in a time (GCRA).

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// So many at once, and one more each `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: NonZeroU32,
}

/// Counts for each `K`, in bounded memory: of very many, those who have not come for long are forgotten, which does them
/// nothing but good.
pub struct Rates<K, C: Clock = DefaultClock> {
    rate: Rate,
    counts: quick_cache::sync::Cache<K, Arc<Count<C>>>,
    clock: C,
}

type Count<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// For how many counts are kept.
const KEPT: usize = 65_536;

impl Rate {
    /// What nobody ever reaches: for development, where everybody has one address.
    pub const UNBOUNDED: Self = Self { interval: Duration::from_nanos(1), burst: NonZeroU32::MAX };

    pub fn per_second(number: NonZeroU32) -> Self {
        Self { interval: Duration::from_secs(1) / number.get(), burst: number }
    }

    pub fn per_minute(number: NonZeroU32) -> Self {
        Self { interval: Duration::from_secs(60) / number.get(), burst: number }
    }

    /// How many at once.
    pub fn at_once(self) -> u32 {
        self.burst.get()
    }

    /// How many at once, instead of as many as in its time.
    pub fn burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }
}

impl<K: Clone + Eq + Hash> Rates<K> {
    pub fn new(rate: Rate) -> Self {
        Self::with_clock(rate, DefaultClock::default())
    }

    /// What was counted `before` if the rate is the same, else `fresh`.
    pub fn after(fresh: Arc<Self>, before: &Arc<Self>) -> Arc<Self> {
        if fresh.rate == before.rate { before.clone() } else { fresh }
    }
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> Rates<K, C> {
    fn with_clock(rate: Rate, clock: C) -> Self {
        Self { rate, counts: quick_cache::sync::Cache::new(KEPT), clock }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// When it is one too many: in how much time it would not be. It is not counted then.
    pub fn count(&self, key: &K) -> Result<(), Duration> {
        let count = self.counts.get(key).unwrap_or_else(|| {
            let fresh = Arc::new(self.fresh());
            // Of two who come first at the same time, one may find the other's count gone: one more than is allowed, once.
            self.counts.insert(key.clone(), fresh.clone());
            fresh
        });
        count.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    fn fresh(&self) -> Count<C> {
        let quota = Quota::with_period(self.rate.interval).expect("an interval is no zero");
        RateLimiter::direct_with_clock(quota.allow_burst(self.rate.burst), self.clock.clone())
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn so_many_at_once_and_then_one_after_the_other() {
        let clock = FakeRelativeClock::default();
        let rates = Rates::with_clock(Rate::per_minute(number(6)).burst(number(3)), clock.clone());
        for _ in 0..3 {
            assert_eq!(rates.count(&"a"), Ok(()));
        }
        assert_eq!(rates.count(&"a"), Err(Duration::from_secs(10)));
        assert_eq!(rates.count(&"b"), Ok(()), "each for itself");
        clock.advance(Duration::from_secs(9));
        assert_eq!(rates.count(&"a"), Err(Duration::from_secs(1)), "who was turned away was not counted");
        clock.advance(Duration::from_secs(1));
        assert_eq!(rates.count(&"a"), Ok(()));
        assert!(rates.count(&"a").is_err());
        clock.advance(Duration::from_secs(3600));
        for _ in 0..3 {
            assert_eq!(rates.count(&"a"), Ok(()));
        }
        assert!(rates.count(&"a").is_err(), "nobody saves up");
    }

    #[test]
    fn very_many_take_no_more_memory_than_many() {
        let rates = Rates::with_clock(Rate::per_second(number(1)), FakeRelativeClock::default());
        for key in 0..3 * KEPT as u64 {
            assert_eq!(rates.count(&key), Ok(()));
        }
        assert!(rates.counts.len() <= KEPT);
    }
}
