//! When something must happen on an event stream though nothing comes from upstream: a comment that keeps it alive, or its
//! end. Pure: it is told the time.

use std::time::Duration;

use tokio::time::Instant;

/// What streams are configured with.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// After this long without a byte a comment is sent: other proxies cut streams that are silent for a minute, and the
    /// servers of some SDKs send none themselves.
    pub keep_alive: Duration,
    /// After this long without a byte from upstream a stream ends.
    pub idle_timeout: Duration,
    /// How long a stream lives at most; each a little more or less, so that those which began together end apart.
    pub max_lifetime: Duration,
    /// How many streams a session may have open at once.
    pub per_session: u32,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(3600),
            max_lifetime: Duration::from_secs(3600),
            per_session: 32,
        }
    }
}

/// The moments of one stream.
#[derive(Debug)]
pub struct Pace {
    keep_alive: Duration,
    idle_timeout: Duration,
    /// When the client was last sent something.
    sent: Instant,
    /// When the upstream last sent something.
    received: Instant,
    /// The end of its life, or its moment in a drain.
    ends: Instant,
    cause: Cause,
    kind: Kind,
    /// Where in the range of what is left to chance this stream is: 0 to 1.
    chance: f64,
}

/// What a stream is for decides how long a drain lets it be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `GET`: it waits for whatever comes, and can as well wait at another replica.
    Listening,
    /// The answer to a `POST`: a call is being worked on.
    Answer,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this moment.
    Until(Instant),
    Comment,
    /// End the stream cleanly.
    End(Cause),
    /// It should have ended, and an event is not coming to its own end.
    GiveUp,
}

/// Why a stream ends before its upstream ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Lifetime,
    Idle,
    Drain,
}

impl Cause {
    /// A label for the metric.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Lifetime => "lifetime",
            Cause::Idle => "idle",
            Cause::Drain => "drain",
        }
    }
}

/// How long the end waits for an event that has begun.
const PATIENCE: Duration = Duration::from_secs(5);
/// Streams leave in the first part of a drain's window, so that none is cut at its end.
const LAST_TO_LEAVE: f64 = 0.9;
/// Calls that are being worked on may use this part of the window to come to their own end.
const ANSWERS_STAY: f64 = 0.6;

impl Pace {
    pub fn new(settings: &StreamSettings, kind: Kind, now: Instant, chance: f64) -> Self {
        Self {
            keep_alive: settings.keep_alive,
            idle_timeout: settings.idle_timeout,
            sent: now,
            received: now,
            ends: now + settings.max_lifetime.mul_f64(0.9 + 0.2 * chance),
            cause: Cause::Lifetime,
            kind,
            chance,
        }
    }

    /// Bytes came from upstream and went to the client.
    pub fn passed(&mut self, now: Instant) {
        (self.received, self.sent) = (now, now);
    }

    pub fn commented(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Everyone must have gone by `deadline`: this stream takes its own moment before that.
    pub fn leave(&mut self, now: Instant, deadline: Instant) {
        let from = match self.kind {
            Kind::Listening => 0.0,
            Kind::Answer => ANSWERS_STAY,
        };
        let share = from + (LAST_TO_LEAVE - from) * self.chance;
        let ends = now + deadline.saturating_duration_since(now).mul_f64(share);
        if ends < self.ends {
            (self.ends, self.cause) = (ends, Cause::Drain);
        }
    }

    /// `at_border`: the client has been sent whole events only.
    pub fn due(&self, now: Instant, at_border: bool) -> Due {
        let idle = self.received + self.idle_timeout;
        let (ends, cause) = if idle < self.ends { (idle, Cause::Idle) } else { (self.ends, self.cause) };
        if now >= ends {
            return match at_border {
                true => Due::End(cause),
                false if now >= ends + PATIENCE => Due::GiveUp,
                false => Due::Until(ends + PATIENCE),
            };
        }
        let comment = self.sent + self.keep_alive;
        match at_border {
            true if now >= comment => Due::Comment,
            true => Due::Until(ends.min(comment)),
            false => Due::Until(ends),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(kind: Kind, chance: f64) -> (Pace, Instant) {
        let now = Instant::now();
        (Pace::new(&StreamSettings::default(), kind, now, chance), now)
    }

    #[test]
    fn silence_is_broken_every_fifteen_seconds_but_never_inside_an_event() {
        let (mut pace, start) = pace(Kind::Listening, 0.5);
        assert_eq!(pace.due(start, true), Due::Until(start + 15 * SECOND));
        assert_eq!(pace.due(start + 15 * SECOND, true), Due::Comment);
        assert_eq!(pace.due(start + 15 * SECOND, false), Due::Until(start + 3600 * SECOND));
        pace.commented(start + 15 * SECOND);
        assert_eq!(pace.due(start + 16 * SECOND, true), Due::Until(start + 30 * SECOND));
        pace.passed(start + 20 * SECOND);
        assert_eq!(pace.due(start + 30 * SECOND, true), Due::Until(start + 35 * SECOND));
    }

    #[test]
    fn lives_differ_by_a_tenth_and_end_between_events() {
        for (chance, seconds) in [(0.0, 3240), (0.25, 3420)] {
            let (mut pace, start) = pace(Kind::Listening, chance);
            pace.passed(start + 3000 * SECOND);
            let end = start + seconds * SECOND;
            assert_eq!(pace.due(end, true), Due::End(Cause::Lifetime));
            assert_eq!(pace.due(end, false), Due::Until(end + PATIENCE));
            assert_eq!(pace.due(end + PATIENCE, false), Due::GiveUp);
        }
        let (pace, start) = pace(Kind::Listening, 1.0);
        assert_eq!(
            pace.due(start + 3600 * SECOND, true),
            Due::End(Cause::Idle),
            "a comment of ours is no sign of life"
        );
    }

    #[test]
    fn a_drain_spreads_streams_and_lets_answers_stay_longer() {
        for (kind, chance, seconds) in [
            (Kind::Listening, 0.0, 0),
            (Kind::Listening, 0.5, 45),
            (Kind::Listening, 1.0, 90),
            (Kind::Answer, 0.0, 60),
            (Kind::Answer, 1.0, 90),
        ] {
            let (mut pace, start) = pace(kind, chance);
            pace.leave(start, start + 100 * SECOND);
            pace.commented(start + seconds * SECOND);
            assert_eq!(pace.due(start + seconds * SECOND, true), Due::End(Cause::Drain), "{kind:?} {chance}");
            if seconds > 0 {
                let before = start + seconds * SECOND - SECOND / 2;
                assert!(matches!(pace.due(before, true), Due::Until(_)), "{kind:?} {chance}");
            }
        }
    }
}
