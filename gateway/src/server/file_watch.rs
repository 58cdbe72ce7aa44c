//! Files that a running server takes anew: at SIGHUP and when they change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// What is made of files, and can be made anew.
pub trait Reload: Send + Sync + 'static {
    /// Reads the files, and takes what is in them or keeps what it has. It may block: files may lie on a network.
    fn reload(&self);
}

/// Asking for the metadata of files works wherever they come from, also where a link is turned to another folder, as
/// Kubernetes does with a mounted Secret.
pub struct FileWatch<R> {
    files: Vec<PathBuf>,
    /// Of what the server started with.
    started: Vec<Option<Stamp>>,
    reload: std::sync::Arc<R>,
}

/// Tells one state of a file from the next. Where a link leads counts, not the link. The time of the last change of its
/// permissions is part: a file that could not be read is tried again when it can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<R: Reload> FileWatch<R> {
    /// `started`: the stamps of the files, taken before they were first read. What changed in between is read once more, and
    /// not missed.
    pub fn new(files: Vec<PathBuf>, started: Vec<Option<Stamp>>, reload: R) -> Self {
        Self { files, started, reload: std::sync::Arc::new(reload) }
    }

    /// `None` when the runtime is going away.
    async fn stamps(&self) -> Option<Vec<Option<Stamp>>> {
        let files = self.files.clone();
        spawn_blocking(move || Stamp::of_all(&files)).await.ok()
    }
}

#[async_trait]
impl<R: Reload> BackgroundService for FileWatch<R> {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangup = signal(SignalKind::hangup()).expect("SIGHUP can be watched");
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.started.clone();
        loop {
            let asked = tokio::select! {
                received = hangup.recv() => received.is_some(),
                _ = ticks.tick() => false,
                _ = shutdown.changed() => return,
            };
            let Some(stamps) = self.stamps().await else { return };
            if asked || stamps != seen {
                seen = stamps;
                let reload = self.reload.clone();
                if spawn_blocking(move || reload.reload()).await.is_err() {
                    tracing::error!("taking files anew panicked");
                }
            }
        }
    }
}

impl Stamp {
    /// `None` when there is no such file, or none that may be seen.
    pub fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self {
            file: (about.dev(), about.ino()),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }

    pub fn of_all(files: &[PathBuf]) -> Vec<Option<Self>> {
        files.iter().map(|file| Self::of(file)).collect()
    }
}

/// What was revoked or replaced counts within ten seconds, wherever the files come from.
const POLL: Duration = Duration::from_secs(2);
