//! That something still goes on, and what: on standard error, once a command takes longer than a second, and only for a person.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// The line that says so, until this is dropped.
pub struct Progress {
    shared: Arc<Mutex<Waiting>>,
    ticking: AbortHandle,
}

struct Waiting {
    since: Instant,
    /// `None`: has come.
    parts: Vec<Option<&'static str>>,
    /// `None` where nobody looks.
    terminal: Option<Box<dyn Write + Send>>,
    is_shown: bool,
}

/// One part that is waited for.
pub struct Part {
    shared: Arc<Mutex<Waiting>>,
    index: usize,
}

impl Progress {
    /// To be called in a runtime.
    pub fn start(parts: impl IntoIterator<Item = &'static str>) -> Self {
        let terminal = io::stderr().is_terminal().then(|| Box::new(io::stderr()) as Box<dyn Write + Send>);
        Self::on(terminal, parts)
    }

    fn on(terminal: Option<Box<dyn Write + Send>>, parts: impl IntoIterator<Item = &'static str>) -> Self {
        let parts = parts.into_iter().map(Some).collect();
        let shared = Arc::new(Mutex::new(Waiting { since: Instant::now(), parts, terminal, is_shown: false }));
        let shown = shared.clone();
        let ticking = tokio::spawn(async move {
            loop {
                sleep(TICK).await;
                locked(&shown).show();
            }
        });
        Self { shared, ticking: ticking.abort_handle() }
    }

    /// What says that the part at `index` has come.
    pub fn part(&self, index: usize) -> Part {
        Part { shared: self.shared.clone(), index }
    }

    /// Writes something else, with no line of ours in its way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut waiting = locked(&self.shared);
        waiting.hide();
        write()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ticking.abort();
        locked(&self.shared).hide();
    }
}

impl Part {
    pub fn has_come(self) {
        locked(&self.shared).parts[self.index] = None;
    }
}

impl Waiting {
    fn show(&mut self) {
        let parts: Vec<_> = self.parts.iter().flatten().copied().collect();
        let line = format!("{} s, waiting for {}", self.since.elapsed().as_secs(), parts.join(", "));
        self.say(&format!("{CLEAR}{line}"));
        self.is_shown = true;
    }

    fn hide(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            self.say(CLEAR);
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(terminal) = &mut self.terminal {
            // Nothing depends on whether anybody sees it.
            let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
        }
    }
}

fn locked(shared: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

const TICK: Duration = Duration::from_secs(1);
/// Back to the beginning of the line, and the line away.
const CLEAR: &str = "\r\x1b[2K";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<Vec<u8>>>);

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Terminal {
        fn taken(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_than_a_second_says_what_it_waits_for() {
        let terminal = Terminal::default();
        let progress = Progress::on(Some(Box::new(terminal.clone())), ["Entra", "the store"]);
        sleep(Duration::from_millis(900)).await;
        assert_eq!(terminal.taken(), "");
        sleep(Duration::from_millis(200)).await;
        assert_eq!(terminal.taken(), "\r\x1b[2K1 s, waiting for Entra, the store");
        progress.part(0).has_come();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(terminal.taken(), "\r\x1b[2K2 s, waiting for the store");
        progress.aside(|| terminal.clone().write_all(b"a finding\n")).unwrap();
        assert_eq!(terminal.taken(), "\r\x1b[2Ka finding\n");
        drop(progress);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(terminal.taken(), "");
    }
}
