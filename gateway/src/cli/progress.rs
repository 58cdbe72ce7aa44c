//! That something still goes on, and what: on standard error, once a command takes longer than a second, and only for a person.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The line that says so, until it is dropped.
pub struct Progress {
    shared: Arc<Mutex<Waiting>>,
    task: Option<JoinHandle<()>>,
}

struct Waiting {
    since: Instant,
    /// `None`: has come.
    parts: Vec<Option<&'static str>>,
    is_shown: bool,
    is_for_a_person: bool,
}

/// One part that is waited for.
pub struct Part {
    shared: Arc<Mutex<Waiting>>,
    index: usize,
}

impl Progress {
    /// To be called in a runtime.
    pub fn start(parts: impl IntoIterator<Item = &'static str>) -> Self {
        let waiting = Waiting {
            since: Instant::now(),
            parts: parts.into_iter().map(Some).collect(),
            is_shown: false,
            is_for_a_person: io::stderr().is_terminal(),
        };
        let shared = Arc::new(Mutex::new(waiting));
        let shown = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                sleep(TICK).await;
                locked(&shown).show();
            }
        });
        Self { shared, task: Some(task) }
    }

    /// What says that the part at `index` has come.
    pub fn done(&self, index: usize) -> Part {
        Part { shared: self.shared.clone(), index }
    }

    /// Writes something else, with no line of ours in its way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut waiting = locked(&self.shared);
        waiting.hide();
        write()
    }

    pub fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            locked(&self.shared).hide();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Part {
    pub fn say(self) {
        locked(&self.shared).parts[self.index] = None;
    }
}

impl Waiting {
    fn show(&mut self) {
        if !self.is_for_a_person {
            return;
        }
        let line = self.line();
        // Nobody depends on it.
        let _ = write!(io::stderr(), "\r\x1b[2K{line}");
        self.is_shown = true;
    }

    fn hide(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[2K");
            self.is_shown = false;
        }
    }

    fn line(&self) -> String {
        let parts: Vec<_> = self.parts.iter().flatten().copied().collect();
        format!("{} s, waiting for {}", self.since.elapsed().as_secs(), parts.join(", "))
    }
}

fn locked(shared: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

const TICK: Duration = Duration::from_secs(1);
