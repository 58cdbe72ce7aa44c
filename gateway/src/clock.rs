//! The one place that knows the time.
//!
//! Everything that compares instants takes them from a [`Clock`], so that a test can move time instead of waiting for it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    pub const fn unix(self) -> u64 {
        self.0
    }

    /// The instant `duration` later; the end of time rather than an overflow.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// What is left from `now` until this instant; zero when it has passed.
    pub fn remaining(self, now: Timestamp) -> Duration {
        Duration::from_secs(self.0.saturating_sub(now.0))
    }

    /// RFC 3339, in UTC; `never` for what is beyond all dates, which only a hand or a stranger can have written.
    pub fn to_text(self) -> String {
        let date = i64::try_from(self.0).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
        let Some(date) = date else { return "never".to_owned() };
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", date.hour(), date.minute(), date.second())
    }

    /// Likewise, without the zone at its end, for more to follow. Thousands of lines are written within one second, so each thread
    /// keeps the last one.
    pub fn append(self, text: &mut String) {
        thread_local! {
            static LAST: RefCell<(Option<Timestamp>, String)> = const { RefCell::new((None, String::new())) };
        }
        LAST.with_borrow_mut(|(last, written)| {
            if *last != Some(self) {
                *last = Some(self);
                *written = self.to_text();
            }
            text.push_str(written.trim_end_matches('Z'));
        });
    }

    pub fn has_passed(self, now: Timestamp) -> bool {
        now >= self
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_secs(timestamp.0)
    }
}

/// Milliseconds since the Unix epoch, for what is written down and compared with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// RFC 3339, in UTC, with milliseconds.
    pub fn append(self, text: &mut String) {
        Timestamp(self.0 / 1000).append(text);
        // With a digit in front, so that zeros stay.
        text.push('.');
        text.push_str(&itoa::Buffer::new().format(1000 + self.0 % 1000)[1..]);
        text.push('Z');
    }
}

/// Tells the time: the system's, or a test's.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it. Clones share the same hands.
    pub fn manual(start: Timestamp) -> Self {
        Self { manual: Some(Arc::new(AtomicU64::new(start.unix()))) }
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// On the system clock, which nobody may move.
    pub fn advance(&self, by: Duration) {
        let hands = self.manual.as_ref().expect("only a manual clock can be moved");
        hands.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// A manual clock has no parts of a second.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's time")]
    pub fn moment(&self) -> Moment {
        match &self.manual {
            Some(hands) => Moment(hands.load(Ordering::SeqCst).saturating_mul(1000)),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's time")]
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(hands) => Timestamp(hands.load(Ordering::SeqCst)),
            None => Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        }
    }
}
