//! Where the key ring comes from, and how a running server takes its file anew.

use std::path::PathBuf;
use std::sync::Arc;

use super::file_watch::{FileWatch, Reload, Stamp};
use crate::clock::Timestamp;
use crate::metrics::Metrics;
use crate::sealed::{KeyRing, KeyRingError, KeyState, Sealer};

pub enum RingSource {
    Fixed(Box<KeyRing>),
    /// Read at the start, at SIGHUP, and when it changes.
    File(PathBuf),
}

pub struct RingFile {
    path: PathBuf,
    sealer: Sealer,
    metrics: Arc<Metrics>,
}

/// The sealer under the source's ring, and what keeps it up to date.
pub fn open(
    source: RingSource,
    issuer: &str,
    metrics: &Arc<Metrics>,
) -> Result<(Sealer, Option<FileWatch<RingFile>>), KeyRingError> {
    let (ring, path) = match source {
        RingSource::Fixed(ring) => (*ring, None),
        RingSource::File(path) => {
            let started = Stamp::of(&path);
            (KeyRing::load(&path)?, Some((path, started)))
        }
    };
    count(KeyState::ALL.map(|state| (state, ring.count(state))), metrics);
    metrics.key_created(created(&ring));
    warn_of_swap(&ring);
    let sealer = Sealer::counting(ring, issuer, metrics.seals().clone());
    let watch = path.map(|(path, started)| {
        let ring = RingFile { path: path.clone(), sealer: sealer.clone(), metrics: metrics.clone() };
        FileWatch::new(vec![path], vec![started], ring)
    });
    Ok((sealer, watch))
}

impl Reload for RingFile {
    /// A bad file changes nothing: without its keys the server could serve nobody.
    fn reload(&self) {
        let replaced = KeyRing::load(&self.path).and_then(|ring| {
            warn_of_swap(&ring);
            let (active, keys) = (ring.active_id(), KeyState::ALL.map(|state| (state, ring.count(state))));
            let created = created(&ring);
            self.sealer.replace(ring)?;
            self.metrics.key_created(created);
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

fn created(ring: &KeyRing) -> u64 {
    ring.active_created().map_or(0, Timestamp::unix)
}

fn warn_of_swap(ring: &KeyRing) {
    if !ring.is_locked() {
        tracing::warn!("keys may be written to swap: raise the limit of locked memory (RLIMIT_MEMLOCK) to 1 MiB");
    }
}

fn count(keys: [(KeyState, usize); KeyState::ALL.len()], metrics: &Metrics) {
    for (state, count) in keys {
        metrics.ring_keys(state.word(), count);
    }
}
