//! What came back: latencies in HDR histograms, failures by kind, and how the run went second by second.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// Nanoseconds, three digits, up to what a request may take.
pub type Latencies = Histogram<u64>;

/// Beyond this a latency counts as this long.
const LONGEST: Duration = Duration::from_secs(120);

/// An empty histogram for latencies.
pub fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).expect("the bounds are in order")
}

/// Takes a latency in.
pub fn record(histogram: &mut Latencies, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1));
}

/// What is gathered while requests are under way.
pub struct Answers {
    begun: Instant,
    gathered: Mutex<Gathered>,
}

/// What a run amounts to before it is judged.
pub struct Gathered {
    /// Of the good answers, each from when its request was *due*: what a stalled target keeps waiting is counted as waiting.
    pub latencies: Latencies,
    /// How late the generator itself was, when nothing but itself kept it from sending.
    pub lag: Latencies,
    pub failures: BTreeMap<Failure, u64>,
    pub sent: u64,
    /// When the last request was sent, since the beginning.
    pub last_sent: Duration,
    /// When the last answer was there, since the beginning.
    pub last_answer: Duration,
    pub seconds: Vec<Second>,
    current: Current,
}

/// One second of a run.
#[derive(Clone, Copy, Debug)]
pub struct Second {
    /// Which one, from 0 on.
    pub at: u64,
    pub answers: u64,
    pub p50: Duration,
    pub p99: Duration,
    pub longest: Duration,
}

struct Current {
    at: u64,
    latencies: Latencies,
}

impl Answers {
    /// For a run that begins at `begun`.
    pub fn new(begun: Instant) -> Self {
        let current = Current { at: 0, latencies: latencies() };
        let gathered = Gathered {
            latencies: latencies(),
            lag: latencies(),
            failures: BTreeMap::new(),
            sent: 0,
            last_sent: Duration::ZERO,
            last_answer: Duration::ZERO,
            seconds: Vec::new(),
            current,
        };
        Self { begun, gathered: Mutex::new(gathered) }
    }

    /// A request was sent at `at`, `lag` later than the generator could have.
    pub fn sent(&self, at: Instant, lag: Duration) {
        let mut gathered = self.lock();
        gathered.sent += 1;
        gathered.last_sent = gathered.last_sent.max(at - self.begun);
        record(&mut gathered.lag, lag);
    }

    /// A request that was due at `due` has its answer, or none.
    pub fn answered(&self, due: Instant, result: Result<(), Failure>) {
        let now = Instant::now();
        let since_begin = now.saturating_duration_since(self.begun);
        let mut gathered = self.lock();
        match result {
            Ok(()) => {
                let latency = now.saturating_duration_since(due);
                record(&mut gathered.latencies, latency);
                gathered.last_answer = since_begin;
                gathered.in_second(since_begin.as_secs(), latency);
            }
            Err(failure) => *gathered.failures.entry(failure).or_default() += 1,
        }
    }

    /// How many good answers there are so far.
    pub fn good(&self) -> u64 {
        self.lock().latencies.len()
    }

    pub fn finish(self) -> Gathered {
        let mut gathered = self.gathered.into_inner().unwrap_or_else(PoisonError::into_inner);
        gathered.close_second();
        gathered
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn in_second(&mut self, at: u64, latency: Duration) {
        if at != self.current.at {
            self.close_second();
            self.current.at = at;
        }
        record(&mut self.current.latencies, latency);
    }

    fn close_second(&mut self) {
        let latencies = &mut self.current.latencies;
        if latencies.is_empty() {
            return;
        }
        self.seconds.push(Second {
            at: self.current.at,
            answers: latencies.len(),
            p50: quantile(latencies, 0.5),
            p99: quantile(latencies, 0.99),
            longest: Duration::from_nanos(latencies.max()),
        });
        latencies.reset();
    }
}

/// The latency that `share` of the answers did not exceed.
pub fn quantile(latencies: &Latencies, share: f64) -> Duration {
    Duration::from_nanos(latencies.value_at_quantile(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_answers_within_a_thousandth() {
        let mut histogram = latencies();
        for n in (1..=1000).rev() {
            record(&mut histogram, Duration::from_micros(n * 100));
        }
        for (share, milliseconds) in [(0.5, 50.0), (0.99, 99.0), (0.999, 99.9), (1.0, 100.0)] {
            let seen = quantile(&histogram, share).as_secs_f64() * 1000.0;
            assert!((seen - milliseconds).abs() / milliseconds < 0.002, "{share}: {seen} ms");
        }
        record(&mut histogram, Duration::from_secs(1_000_000));
        assert!(histogram.max() >= LONGEST.as_nanos() as u64, "what is too long counts as long");
    }

    #[test]
    fn seconds_are_kept_apart() {
        let begun = Instant::now() - Duration::from_millis(1500);
        let answers = Answers::new(begun);
        answers.answered(begun, Ok(()));
        answers.answered(begun, Err(Failure::Status { got: 503, expected: 200 }));
        let mut gathered = answers.finish();
        assert_eq!((gathered.seconds.len(), gathered.seconds[0].at, gathered.seconds[0].answers), (1, 1, 1));
        assert_eq!(gathered.failures, BTreeMap::from([(Failure::Status { got: 503, expected: 200 }, 1)]));
        gathered.in_second(3, Duration::from_millis(7));
        gathered.close_second();
        assert_eq!(gathered.seconds.iter().map(|second| second.at).collect::<Vec<_>>(), [1, 3]);
    }
}
