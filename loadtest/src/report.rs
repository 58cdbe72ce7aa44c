//! What a run amounts to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub struct Report {
    /// Ascending.
    latencies: Vec<Duration>,
    failures: BTreeMap<String, usize>,
    took: Duration,
}

impl Report {
    pub fn new(answers: Vec<Result<Duration, String>>, took: Duration) -> Self {
        let mut latencies = Vec::new();
        let mut failures = BTreeMap::new();
        for answer in answers {
            match answer {
                Ok(latency) => latencies.push(latency),
                Err(cause) => *failures.entry(cause).or_default() += 1,
            }
        }
        latencies.sort();
        Self { latencies, failures, took }
    }

    /// A run with failures says nothing about speed.
    pub fn is_valid(&self) -> bool {
        self.failures.is_empty() && !self.latencies.is_empty()
    }

    /// The latency that `share` of the answers did not exceed.
    fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies.get(rank.max(1) - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (cause, count) in &self.failures {
            writeln!(formatter, "{count} failed: {cause}")?;
        }
        if !self.is_valid() {
            return write!(formatter, "void: a run with failures, or without answers, says nothing about speed");
        }
        let rate = self.latencies.len() as f64 / self.took.as_secs_f64();
        write!(
            formatter,
            "{} answers in {:.1} s, {rate:.0} per second; p50 {:.2?}, p99 {:.2?}, longest {:.2?}",
            self.latencies.len(),
            self.took.as_secs_f64(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_answers() {
        let answers = (1..=100).rev().map(|n| Ok(Duration::from_millis(n))).collect();
        let report = Report::new(answers, Duration::from_secs(1));
        assert_eq!(report.quantile(0.5), Duration::from_millis(50));
        assert_eq!(report.quantile(0.99), Duration::from_millis(99));
        assert_eq!(report.quantile(1.0), Duration::from_millis(100));
        assert!(report.is_valid());
    }

    #[test]
    fn failures_and_silence_void_a_run() {
        let failed = Report::new(vec![Ok(Duration::ZERO), Err("status 503".into())], Duration::from_secs(1));
        assert!(!failed.is_valid());
        assert!(failed.to_string().contains("1 failed: status 503"));
        assert!(!Report::new(Vec::new(), Duration::ZERO).is_valid());
    }
}
