//! The time of day, which two programs of one machine share. How long something took is measured by `Instant` instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Since 1970. Zero on a machine whose clock is before that.
#[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the time of day")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Microseconds since 1970, as event streams carry them.
pub fn wall_microseconds() -> u64 {
    u64::try_from(wall().as_micros()).unwrap_or(u64::MAX)
}
