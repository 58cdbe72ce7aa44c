//! Where the key ring comes from, and how a running server takes its file anew.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::Metrics;
use crate::sealed::{KeyRing, KeyRingError, KeyState, Sealer};

pub enum RingSource {
    Fixed(Box<KeyRing>),
    /// Read at the start, at SIGHUP, and when it changes.
    File(PathBuf),
}

/// Takes the ring's file anew at SIGHUP and when it changes. Asking for its metadata works wherever the file comes from,
/// also where a link is turned to another folder, as Kubernetes does with a mounted Secret.
pub struct RingWatch {
    path: PathBuf,
    /// Of what the server started with.
    started: Option<Stamp>,
    sealer: Sealer,
    metrics: Arc<Metrics>,
}

/// Tells one state of a file from the next. Where a link leads counts, not the link. The time of the last change of its
/// permissions is part: a file that could not be read is tried again when it can be.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The sealer under the source's ring, and what keeps it up to date.
pub fn open(
    source: RingSource,
    issuer: &str,
    metrics: &Arc<Metrics>,
) -> Result<(Sealer, Option<RingWatch>), KeyRingError> {
    let (ring, path) = match source {
        RingSource::Fixed(ring) => (*ring, None),
        // Its stamp before its text: what changes in between is read once more, and not missed.
        RingSource::File(path) => {
            let started = Stamp::of(&path);
            (KeyRing::load(&path)?, Some((path, started)))
        }
    };
    show(&ring, metrics);
    warn_of_swap(&ring);
    let sealer = Sealer::counting(ring, issuer, metrics.seals().clone());
    let watch =
        path.map(|(path, started)| RingWatch { path, started, sealer: sealer.clone(), metrics: metrics.clone() });
    Ok((sealer, watch))
}

#[async_trait]
impl BackgroundService for RingWatch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangup = signal(SignalKind::hangup()).expect("SIGHUP can be watched");
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.started;
        loop {
            let asked = tokio::select! {
                received = hangup.recv() => received.is_some(),
                _ = ticks.tick() => false,
                _ = shutdown.changed() => return,
            };
            let stamp = off_the_runtime(&self.path, Stamp::of).await.flatten();
            if asked || stamp != seen {
                seen = stamp;
                self.reload().await;
            }
        }
    }
}

impl RingWatch {
    /// A bad file changes nothing: without its keys the server could serve nobody.
    async fn reload(&self) {
        let Some(loaded) = off_the_runtime(&self.path, KeyRing::load).await else { return };
        let replaced = loaded.and_then(|ring| {
            warn_of_swap(&ring);
            let (active, keys) = (ring.active_id(), KeyState::ALL.map(|state| (state, ring.count(state))));
            self.sealer.replace(ring)?;
            Ok((active, keys))
        });
        self.metrics.ring_reloaded(replaced.is_ok());
        match replaced {
            Ok((active, keys)) => {
                count(keys, &self.metrics);
                let opening: usize =
                    keys.iter().filter(|(state, _)| *state != KeyState::Revoked).map(|key| key.1).sum();
                tracing::info!(file = %self.path.display(), active = active.get(), opening, "key ring reloaded");
            }
            Err(error) => {
                let cause = error.to_string();
                tracing::error!(file = %self.path.display(), cause, "key ring not reloaded, the one before stays: the file");
            }
        }
    }
}

impl Stamp {
    /// `None` when there is no such file, or none that may be seen.
    fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self {
            file: (about.dev(), about.ino()),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

fn warn_of_swap(ring: &KeyRing) {
    if !ring.is_locked() {
        tracing::warn!("keys may be written to swap: raise the limit of locked memory (RLIMIT_MEMLOCK) to 1 MiB");
    }
}

fn show(ring: &KeyRing, metrics: &Metrics) {
    count(KeyState::ALL.map(|state| (state, ring.count(state))), metrics);
}

fn count(keys: [(KeyState, usize); KeyState::ALL.len()], metrics: &Metrics) {
    for (state, count) in keys {
        metrics.ring_keys(state.word(), count);
    }
}

/// The file may lie on a network. `None` when the runtime is going away.
async fn off_the_runtime<T: Send + 'static>(path: &Path, read: fn(&Path) -> T) -> Option<T> {
    let path = path.to_owned();
    spawn_blocking(move || read(&path)).await.ok()
}

/// A revocation counts within ten seconds, wherever the file comes from.
const POLL: Duration = Duration::from_secs(2);
