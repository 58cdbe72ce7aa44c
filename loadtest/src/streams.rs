//! Event streams: opens many, holds them, and counts what comes and what is cut.

pub mod events;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use memchr::memmem;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::answers::{Latencies, latencies, record};
use crate::clock::wall_microseconds;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;
use crate::verdict::Void;
use crate::work::Work;
use events::{Part, Reader};

/// How an event says when it was sent, in microseconds since 1970.
pub const SENT: &str = "\"sent_us\":";

/// The settings of a run with streams.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    pub streams: usize,
    /// How many are opened in a second; more than zero.
    pub opened_per_second: f64,
    /// For how long they are held once all are open.
    pub hold: Duration,
    /// For the header of a stream.
    pub patience: Duration,
}

/// What came.
#[derive(Default)]
pub struct Seen {
    pub opened: u64,
    pub refused: BTreeMap<Failure, u64>,
    /// Ended before they were to.
    pub cut: u64,
    pub events: u64,
    pub heartbeats: u64,
    /// From when an event was sent to when it was here, of those that say when they were sent.
    pub latencies: Option<Latencies>,
    /// From the request to the header of the answer.
    pub opening: Option<Latencies>,
    pub took: Duration,
}

type Shared = Arc<Mutex<Seen>>;

impl Streams {
    /// `held` is called when every stream is open or refused: the moment to look at the target's memory.
    pub async fn run(self, target: &Target, work: &Arc<Work>, progress: &Progress, held: impl FnOnce()) -> Seen {
        let begun = Instant::now();
        let seen = Shared::default();
        let (end, ended) = watch::channel(false);
        let mut streams = JoinSet::new();
        let all = async {
            self.open(target, work, &seen, &ended, &mut streams).await;
            held();
            sleep(self.hold).await;
            // All receivers may be gone: every stream was cut.
            let _ = end.send(true);
            while streams.join_next().await.is_some() {}
        };
        let lasts = self.opening() + self.hold;
        progress.during(lasts, || lock(&seen).events, all).await;
        streams.shutdown().await;
        let mut seen = std::mem::take(&mut *lock(&seen));
        seen.took = begun.elapsed();
        seen
    }

    fn opening(&self) -> Duration {
        Duration::from_secs_f64(self.streams as f64 / self.opened_per_second)
    }

    /// Opens them at the rate, and waits until each is open or refused.
    async fn open(
        &self,
        target: &Target,
        work: &Arc<Work>,
        seen: &Shared,
        ended: &watch::Receiver<bool>,
        streams: &mut JoinSet<()>,
    ) {
        let mut pace = interval(Duration::from_secs_f64(1.0 / self.opened_per_second));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..self.streams {
            pace.tick().await;
            let connection = Connection::new(target.address(), self.patience);
            streams.spawn(hold(connection, self.patience, work.clone(), seen.clone(), ended.clone()));
        }
        let settled = async {
            while lock(seen).settled() < self.streams as u64 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Each gives up by its own patience; this bounds what that leaves.
        let _ = timeout(self.patience + Duration::from_secs(1), settled).await;
    }
}

impl Seen {
    fn settled(&self) -> u64 {
        self.opened + self.refused.values().sum::<u64>()
    }

    /// Why these figures say nothing.
    pub fn voids(&self) -> Vec<Void> {
        let mut voids: Vec<_> = self.refused.iter().map(|(&failure, &count)| Void::Failed { failure, count }).collect();
        if self.cut > 0 {
            voids.push(Void::StreamsCut { count: self.cut });
        }
        if self.opened == 0 {
            voids.push(Void::NoAnswers);
        }
        voids
    }
}

/// One stream, from its request to its end.
async fn hold(
    mut connection: Connection,
    patience: Duration,
    work: Arc<Work>,
    seen: Shared,
    mut ended: watch::Receiver<bool>,
) {
    let mut random: SmallRng = rand::make_rng();
    let begun = Instant::now();
    let answer = timeout(patience, connection.begin(work.request(&mut random))).await;
    let mut body = match answer.unwrap_or(Err(Failure::TimedOut)).and_then(|answer| event_stream(&work, answer)) {
        Ok(body) => body,
        Err(failure) => {
            *lock(&seen).refused.entry(failure).or_default() += 1;
            return;
        }
    };
    {
        let mut seen = lock(&seen);
        seen.opened += 1;
        record(seen.opening.get_or_insert_with(latencies), begun.elapsed());
    }
    let mut reader = Reader::default();
    loop {
        let piece = tokio::select! {
            // The sender gone means the end too.
            _ = ended.changed() => return,
            piece = body.frame() => piece,
        };
        let Some(Ok(piece)) = piece else {
            lock(&seen).cut += 1;
            return;
        };
        if let Some(data) = piece.data_ref() {
            let now = wall_microseconds();
            let mut seen = lock(&seen);
            reader.feed(data, |part| seen.take(part, now));
        }
    }
}

fn event_stream(work: &Work, answer: http::Response<Incoming>) -> Result<Incoming, Failure> {
    work.judge_status(answer.status())?;
    let kind = answer.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    if !kind.starts_with(b"text/event-stream") {
        return Err(Failure::Content("event stream"));
    }
    Ok(answer.into_body())
}

impl Seen {
    fn take(&mut self, part: Part, now: u64) {
        match part {
            Part::Comment => self.heartbeats += 1,
            Part::Event(data) => {
                self.events += 1;
                if let Some(sent) = sent(data) {
                    let latency = Duration::from_micros(now.saturating_sub(sent));
                    record(self.latencies.get_or_insert_with(latencies), latency);
                }
            }
        }
    }
}

/// When an event says it was sent.
fn sent(data: &[u8]) -> Option<u64> {
    let at = memmem::find(data, SENT.as_bytes())? + SENT.len();
    let digits = data[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.map(|&byte| u64::from(byte - b'0')).fold(None, |number, digit| {
        number.unwrap_or(0_u64).checked_mul(10).and_then(|number| number.checked_add(digit))
    })
}

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_when_it_was_sent() {
        assert_eq!(sent(br#"{"params":{"data":{"sent_us":1234567,"x":1}}}"#), Some(1_234_567));
        assert_eq!(sent(b"/message?sessionId=1"), None);
        assert_eq!(sent(br#"{"sent_us":"#), None);
    }
}
