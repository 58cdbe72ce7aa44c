//! The audit log: who did what, for whoever must know later, and so that nobody can change it unseen.
//!
//! [`Audit`] takes an [`Event`] from anywhere and never waits: a thread of its own (`writer`) makes a `line` of it and puts it
//! into the `file`. What does not fit into the queue, or onto the disk, is counted, and the next line says so. `verify` reads
//! files back. Without a file events go to the log, under the target `audit`, but for the calls of tools, of which the access
//! log has a line already.
//!
//! Nothing of a token, an argument or an answer gets here: events are made of closed words, digests and names.

mod context;
mod event;
mod file;
mod line;
mod log;
mod subject;
mod verify;
mod writer;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use prometheus::{IntCounter, IntGauge};

pub use context::Context;
pub use event::{Event, Field, Kind, Outcome};
pub use file::{AuditFile, FileError};
pub use subject::Subject;
pub use verify::{Break, Verified, Verifier};

use crate::clock::{Clock, Moment};
use crate::sealed::Sealer;
use writer::{Message, Writer};

/// Takes events. Clones share one log.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
}

/// What is counted.
#[derive(Clone)]
pub struct Counts {
    /// Lines that were not written.
    pub dropped: IntCounter,
    /// Of the last line that was written.
    pub sequence: IntGauge,
}

struct Shared {
    sealer: Sealer,
    clock: Clock,
    /// `None`: to the log.
    queue: Option<SyncSender<Message>>,
    losses: Arc<Losses>,
    allowances: [Allowance; Kind::ALL.len()],
}

/// Lines that are missing, until the next one says so.
struct Losses {
    pending: AtomicU64,
    counts: Counts,
}

/// Of what strangers can cause at will.
struct Allowance {
    rate: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

/// An event and what came with it.
struct Entry {
    at: Moment,
    event: Event,
    /// So many like it before it have no line.
    left_out: u64,
}

impl Audit {
    /// To the log, where there is no file.
    pub fn to_log(sealer: Sealer, clock: Clock) -> Self {
        Self::new(sealer, clock, None, Counts::of_nobody())
    }

    /// To a file that may be shared with other processes.
    pub fn to_file(file: AuditFile, sealer: Sealer, clock: Clock, counts: Counts) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        let audit = Self::new(sealer.clone(), clock, Some(queue), counts);
        let writer = Writer { file, sealer, losses: audit.shared.losses.clone() };
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&messages))
            .expect("the system has room for a thread");
        audit
    }

    /// Notes what happened. Never waits, and never fails: what is lost is counted.
    pub fn record(&self, event: Event) {
        self.record_made(event.kind, |_| event);
    }

    /// Likewise. The event is made only if it gets a line: of what strangers cause most is only counted.
    pub fn record_made(&self, kind: Kind, make: impl FnOnce(Kind) -> Event) {
        let allowance = &self.shared.allowances[kind as usize];
        let Some(left_out) = allowance.take(kind) else { return };
        let entry = Entry { at: self.shared.clock.moment(), event: make(kind), left_out };
        match &self.shared.queue {
            None => log::write(&entry, &self.shared.sealer.audit_key()),
            Some(queue) => match queue.try_send(Message::Entry(Box::new(entry))) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    // What was left out before it still waits to be told.
                    allowance.left_out.fetch_add(left_out, Ordering::Relaxed);
                    self.shared.losses.add(1);
                }
            },
        }
    }

    /// Whether the calls of tools are wanted: they are many.
    pub fn wants_calls(&self) -> bool {
        self.shared.queue.is_some()
    }

    /// Waits until everything is on the disk, or for as long as may be waited at the end of a process.
    pub fn finish(&self) {
        let Some(queue) = &self.shared.queue else { return };
        let (done, finished) = sync_channel(1);
        // A full queue is emptied by and by, unless the disk hangs.
        let deadline = std::time::Instant::now() + AT_THE_END;
        let mut message = Message::Finish(done);
        while let Err(TrySendError::Full(back)) = queue.try_send(message) {
            if std::time::Instant::now() >= deadline {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(10));
        }
        if finished.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now())).is_err() {
            tracing::error!("the audit log was not finished in time");
        }
    }

    fn new(sealer: Sealer, clock: Clock, queue: Option<SyncSender<Message>>, counts: Counts) -> Self {
        let losses = Arc::new(Losses { pending: AtomicU64::default(), counts });
        let allowances = std::array::from_fn(|_| Allowance::new());
        Self { shared: Arc::new(Shared { sealer, clock, queue, losses, allowances }) }
    }
}

/// Opens the log for an operator's command, beside a gateway that may be writing to it. The file must be there: one that an
/// operator made would not be the gateway's to write.
///
/// # Errors
/// When it is not there, or not to be written.
pub fn open_beside(path: &Path, sealer: Sealer, clock: Clock) -> Result<Audit, FileError> {
    Ok(Audit::to_file(AuditFile::open_existing(path)?, sealer, clock, Counts::of_nobody()))
}

impl Counts {
    /// In a process that nobody asks for metrics.
    pub fn of_nobody() -> Self {
        let counter = IntCounter::new("dropped", "Nobody reads this one.").expect("the counter is well-formed");
        let gauge = IntGauge::new("sequence", "Nobody reads this one.").expect("the gauge is well-formed");
        Self { dropped: counter, sequence: gauge }
    }
}

impl Losses {
    fn add(&self, lines: u64) {
        self.pending.fetch_add(lines, Ordering::Relaxed);
        self.counts.dropped.inc_by(lines);
    }

    /// Those that a line is about to tell of.
    fn take(&self) -> u64 {
        self.pending.swap(0, Ordering::Relaxed)
    }

    /// The line that would have told of them was lost itself.
    fn give_back(&self, lines: u64) {
        self.pending.fetch_add(lines, Ordering::Relaxed);
    }
}

impl Allowance {
    fn new() -> Self {
        Self { rate: RateLimiter::direct(Quota::per_minute(BY_STRANGERS)), left_out: AtomicU64::default() }
    }

    /// How many were left out before this one; `None` if this one is too.
    fn take(&self, kind: Kind) -> Option<u64> {
        if !kind.is_strangers() {
            return Some(0);
        }
        if self.rate.check().is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

/// Events that wait for the disk: a few megabytes, and a second of a busy edge.
const QUEUE: usize = 8192;
/// Lines of one kind in a minute. A flood of bad tokens must fill neither the disk nor the queue.
const BY_STRANGERS: NonZeroU32 = NonZeroU32::new(60).expect("it is not zero");
const AT_THE_END: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
