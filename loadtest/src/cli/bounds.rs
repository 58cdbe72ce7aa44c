//! How much can be asked for: what is beyond is a mistake, and must not overflow a clock.

use clap::builder::RangedU64ValueParser;
use clap::value_parser;

/// Seconds of a run: a day at most.
pub fn seconds() -> RangedU64ValueParser {
    value_parser!(u64).range(1..=DAY)
}

/// Requests in a second.
///
/// # Errors
/// When it is no such number.
pub fn rate(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|rate| (0.1..=1e6).contains(rate)).ok_or("a number from 0.1 to 1000000")
}

const DAY: u64 = 24 * 60 * 60;
