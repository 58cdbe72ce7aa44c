//! Access lines are written by a thread of their own, many at a time: a request waits for no disk and no reader of a pipe. What
//! cannot be written in time is lost, and its number told.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that wait; some thousand lines.
const AT_MOST: usize = 1024 * 1024;
/// Between two writes: whoever comes meanwhile wakes nobody.
const PAUSE: Duration = Duration::from_millis(10);
/// At the end of the process nobody waits for longer.
const LAST: Duration = Duration::from_secs(1);

/// Lines on their way to one place. Clones share it.
#[derive(Clone, Default)]
pub struct Background(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, or it has been written.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: String,
    lost: u64,
    /// The thread is at work, or about to look.
    busy: bool,
}

impl Background {
    /// With its thread, which lives as long as the process.
    pub fn start(mut to: impl Write + Send + 'static) -> io::Result<Self> {
        let background = Self::default();
        let shared = background.0.clone();
        std::thread::Builder::new().name("access log".to_owned()).spawn(move || shared.write_out(&mut to))?;
        Ok(background)
    }

    /// Adds what `write` appends: one line, or nothing when too much waits.
    pub fn add(&self, write: impl FnOnce(&mut String)) {
        let mut waiting = self.0.lock();
        if waiting.text.len() > AT_MOST {
            waiting.lost += 1;
            return;
        }
        write(&mut waiting.text);
        let asleep = !std::mem::replace(&mut waiting.busy, true);
        drop(waiting);
        if asleep {
            self.0.changed.notify_all();
        }
    }

    /// Waits until everything is written, but not for ever.
    pub fn flush(&self) {
        let waiting = self.0.lock();
        // Who does not read now will not read later either.
        let _ = self.0.changed.wait_timeout_while(waiting, LAST, |waiting| waiting.busy);
    }
}

impl Shared {
    fn write_out(&self, to: &mut impl Write) {
        let mut batch = String::new();
        loop {
            let mut waiting = self.lock();
            while waiting.text.is_empty() {
                waiting.busy = false;
                self.changed.notify_all();
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut waiting.text, &mut batch);
            let lost = std::mem::take(&mut waiting.lost);
            drop(waiting);
            // There is nobody to tell: this is where one would be told.
            let _ = to.write_all(batch.as_bytes());
            batch.clear();
            if lost > 0 {
                tracing::warn!(lost, "access lines were lost: nobody takes them fast enough");
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Every change is whole before it is let go.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    /// Takes a batch only when it is asked for.
    struct Slow(SyncSender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_whole_and_in_order() {
        let (sender, batches) = sync_channel(100);
        let background = Background::start(Slow(sender)).unwrap();
        for number in 0..100 {
            background.add(|text| text.push_str(&format!("{number}\n")));
        }
        background.flush();
        let text: String = batches.try_iter().collect();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(text, expected);
    }

    #[test]
    fn who_does_not_read_costs_lines_and_no_time() {
        let (sender, batches) = sync_channel(0);
        let background = Background::start(Slow(sender)).unwrap();
        let line = "x".repeat(1023) + "\n";
        background.add(|text| text.push_str(&line));
        // From when the thread has this one, it waits for its reader.
        while !background.0.lock().text.is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..3000 {
            background.add(|text| text.push_str(&line));
        }
        let (held, lost) = {
            let waiting = background.0.lock();
            (waiting.text.len(), waiting.lost)
        };
        assert!(held <= AT_MOST + line.len() && lost > 1900, "{held} {lost}");
        drop(batches);
    }
}
