//! The one place that knows the time: the machine's clock plus an offset that tests may turn.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch, shifted by a test's wish. Everything with a lifetime asks this clock.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    pub fn now(&self) -> i64 {
        wall_milliseconds() / 1000 + self.offset.load(Ordering::SeqCst)
    }

    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }

    pub fn set_offset(&self, seconds: i64) {
        self.offset.store(seconds, Ordering::SeqCst);
    }

    /// `2026-03-11 08:12:45Z`, as error bodies and pages show it.
    pub fn stamp(&self) -> String {
        let (date, time) = self.parts();
        format!("{date} {time}Z")
    }

    /// `2026-03-11T08:12:45`, as Graph's errors show it.
    pub fn graph_stamp(&self) -> String {
        let (date, time) = self.parts();
        format!("{date}T{time}")
    }

    fn parts(&self) -> (String, String) {
        let at = time::OffsetDateTime::from_unix_timestamp(self.now()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second) = at.to_hms();
        (
            format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
            format!("{hour:02}:{minute:02}:{second:02}"),
        )
    }
}

/// The real time, for the journal: a shifted clock must not reorder it.
#[allow(clippy::disallowed_methods, reason = "this is the clock the others ask")]
pub(crate) fn wall_milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
