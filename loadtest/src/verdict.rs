//! Whether a run says anything. One that does not has no latencies: a figure that is printed will be quoted.

use std::fmt;
use std::time::Duration;

use crate::answers::{Gathered, quantile};
use crate::closed_loop::ClosedLoop;
use crate::failure::Failure;
use crate::open_loop::{Offered, OpenLoop};

/// Why a run is void.
#[derive(Clone, Debug, PartialEq)]
pub enum Void {
    /// Requests without a good answer.
    Failed {
        failure: Failure,
        count: u64,
    },
    NoAnswers,
    /// When the time was over, so many requests were without an answer.
    Unfinished {
        count: u64,
    },
    /// So many requests in a second were sent, instead of the rate.
    RateNotKept {
        wanted: f64,
        kept: f64,
    },
    /// The generator was so late by itself that its latencies are its own.
    GeneratorLate {
        p99: Duration,
        allowed: Duration,
    },
    /// Streams that ended before they were to.
    StreamsCut {
        count: u64,
    },
}

/// Of the rate; less is not the rate.
const RATE_KEPT: f64 = 0.99;
/// At what share of the requests the generator's own lateness is looked at.
const LAG_QUANTILE: f64 = 0.99;

/// An open loop: all of [`closed`], and the rate was kept.
pub fn open(settings: &OpenLoop, offered: &Offered, allowed_lag: Duration) -> Vec<Void> {
    let gathered = &offered.gathered;
    let mut voids = failures(gathered);
    let answered = gathered.latencies.len() + gathered.failures.values().sum::<u64>();
    if answered < offered.due {
        voids.push(Void::Unfinished { count: offered.due - answered });
    }
    let p99 = quantile(&gathered.lag, LAG_QUANTILE);
    // The last request is due one interval before the end. The generator's own lateness is not the target's.
    let took = gathered.last_sent.saturating_sub(p99.min(allowed_lag)).as_secs_f64() + 1.0 / settings.rate;
    let kept = gathered.sent as f64 / took;
    if kept < settings.rate * RATE_KEPT {
        voids.push(Void::RateNotKept { wanted: settings.rate, kept });
    }
    if p99 > allowed_lag {
        voids.push(Void::GeneratorLate { p99, allowed: allowed_lag });
    }
    voids
}

/// A closed loop: there were answers, and all of them good.
pub fn closed(settings: &ClosedLoop, gathered: &Gathered) -> Vec<Void> {
    let mut voids = failures(gathered);
    let answered = gathered.latencies.len() + gathered.failures.values().sum::<u64>();
    let sent = gathered.sent.min(settings.requests);
    if answered < sent {
        voids.push(Void::Unfinished { count: sent - answered });
    }
    voids
}

fn failures(gathered: &Gathered) -> Vec<Void> {
    let mut voids: Vec<_> =
        gathered.failures.iter().map(|(&failure, &count)| Void::Failed { failure, count }).collect();
    if gathered.latencies.is_empty() {
        voids.push(Void::NoAnswers);
    }
    voids
}

impl fmt::Display for Void {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { failure, count } => write!(formatter, "{count} failed: {failure}"),
            Self::NoAnswers => formatter.write_str("there was no good answer"),
            Self::Unfinished { count } => write!(formatter, "{count} without an answer when the time was over"),
            Self::RateNotKept { wanted, kept } => {
                write!(formatter, "the rate was not kept: {kept:.0} in a second instead of {wanted:.0}")
            }
            Self::GeneratorLate { p99, allowed } => write!(
                formatter,
                "the generator could not keep its own time: late by {p99:.1?} (p99), of which {allowed:.1?} are allowed"
            ),
            Self::StreamsCut { count } => write!(formatter, "{count} streams ended early"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::answers::Answers;

    const SETTINGS: OpenLoop =
        OpenLoop { rate: 100.0, lasts: Duration::from_millis(100), connections: 1, patience: Duration::from_secs(1) };
    const LAG: Duration = Duration::from_millis(5);

    /// Ten requests, ten milliseconds apart, changed by `each`.
    fn offered(each: impl Fn(u32) -> (Duration, Duration, Result<(), Failure>)) -> Offered {
        let begun = Instant::now() - Duration::from_secs(10);
        let answers = Answers::new(begun);
        for n in 0..10 {
            let (late, lag, result) = each(n);
            answers.sent(begun + Duration::from_millis(10) * n + late, lag);
            answers.answered(begun, result);
        }
        Offered { gathered: answers.finish(), due: 10 }
    }

    #[test]
    fn a_good_run_is_not_void() {
        assert_eq!(open(&SETTINGS, &offered(|_| (Duration::ZERO, Duration::ZERO, Ok(()))), LAG), []);
    }

    #[test]
    fn one_failure_voids() {
        let one_failed = offered(|n| {
            let result = if n == 4 { Err(Failure::Status { got: 503, expected: 200 }) } else { Ok(()) };
            (Duration::ZERO, Duration::ZERO, result)
        });
        assert_eq!(
            open(&SETTINGS, &one_failed, LAG),
            [Void::Failed { failure: Failure::Status { got: 503, expected: 200 }, count: 1 }]
        );
    }

    #[test]
    fn a_rate_that_was_not_kept_voids() {
        let slow = offered(|n| (Duration::from_millis(20) * n, Duration::ZERO, Ok(())));
        for allowed in [LAG, Duration::from_secs(5)] {
            // What the generator is allowed is not allowed to the target.
            assert!(matches!(open(&SETTINGS, &slow, allowed)[..], [Void::RateNotKept { kept, .. }] if kept < 50.0));
        }
    }

    #[test]
    fn a_generator_that_is_late_by_itself_voids() {
        let late = offered(|_| (Duration::ZERO, Duration::from_millis(8), Ok(())));
        assert!(matches!(open(&SETTINGS, &late, LAG)[..], [Void::GeneratorLate { .. }]));
    }

    #[test]
    fn what_is_not_answered_voids() {
        let mut half = offered(|_| (Duration::ZERO, Duration::ZERO, Ok(())));
        half.due = 20;
        assert_eq!(open(&SETTINGS, &half, LAG), [Void::Unfinished { count: 10 }]);
        let silent = Offered { gathered: Answers::new(Instant::now()).finish(), due: 10 };
        assert!(open(&SETTINGS, &silent, LAG).contains(&Void::NoAnswers));
    }
}
