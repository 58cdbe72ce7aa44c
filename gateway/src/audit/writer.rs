//! The thread that writes. Nobody waits for it: a disk that is slow or full only fills the queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::{AuditFile, Entry, Losses};
use crate::sealed::Sealer;

pub(super) enum Message {
    Entry(Box<Entry>),
    /// Say so when everything before is on the disk.
    Finish(SyncSender<()>),
}

pub(super) struct Writer {
    pub file: AuditFile,
    pub sealer: Sealer,
    pub losses: Arc<Losses>,
}

impl Writer {
    pub fn run(mut self, messages: &Receiver<Message>) {
        let (mut batch, mut finished) = (Vec::new(), Vec::new());
        let (mut synced, mut is_failing) = (Instant::now(), false);
        loop {
            let first = messages.recv_timeout(SYNC_EVERY);
            let is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            for message in first.into_iter().chain(messages.try_iter()).take(BATCH) {
                match message {
                    Message::Entry(entry) => batch.push(*entry),
                    Message::Finish(done) => finished.push(done),
                }
            }
            let written = self.write(&mut batch);
            let is_due = is_over || !finished.is_empty() || synced.elapsed() >= SYNC_EVERY;
            let done = written.and_then(|()| {
                if is_due {
                    synced = Instant::now();
                    self.file.sync()?;
                }
                Ok(())
            });
            match done {
                Err(cause) if !is_failing => {
                    tracing::error!(file = %self.file.path().display(), %cause, "the audit log cannot be written: lines are lost");
                    is_failing = true;
                }
                Ok(()) if is_failing && self.losses.pending() == 0 => {
                    tracing::info!(file = %self.file.path().display(), "the audit log is written again");
                    is_failing = false;
                }
                _ => {}
            }
            for done in finished.drain(..) {
                // Who asked may have gone.
                let _ = done.send(());
            }
            if is_over {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// All of the batch or, as far as the disk lets us choose, nothing of it.
    fn write(&mut self, batch: &mut Vec<Entry>) -> std::io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let key = self.sealer.audit_key();
        let before = self.losses.take();
        let written = self.file.append(|mut chain, torn| {
            let mut missing = before + torn;
            let mut text = String::with_capacity(batch.len() * 512);
            for entry in &*batch {
                let (line, next) = chain.next(entry, std::mem::take(&mut missing), &key);
                text += &line;
                chain = next;
            }
            (text, chain)
        });
        let lines = batch.len() as u64;
        batch.clear();
        match written {
            Ok(chain) => {
                self.losses.counts.sequence.set(i64::try_from(chain.sequence).unwrap_or(i64::MAX));
                Ok(())
            }
            Err(cause) => {
                self.losses.give_back(before);
                self.losses.add(lines);
                Err(cause)
            }
        }
    }
}

impl Losses {
    fn pending(&self) -> u64 {
        self.pending.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A crash of the machine costs what was written since.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Between two batches: to lock, look at and write the file costs more than a line, and whoever comes meanwhile wakes nobody.
const PAUSE: Duration = Duration::from_millis(10);
/// As many as can wait.
const BATCH: usize = super::QUEUE;
