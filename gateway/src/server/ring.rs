//! Where the key ring comes from, and how a running server takes its file anew.

use std::path::PathBuf;
use std::sync::Arc;

use super::file_watch::{FileWatch, Reload, Stamp};
use crate::audit::{Audit, Event, Field, Kind, Outcome};
use crate::clock::Timestamp;
use crate::metrics::Metrics;
use crate::sealed::{KeyRing, KeyRingError, KeyState, RingState, Sealer};

pub enum RingSource {
    Fixed(Box<KeyRing>),
    /// Read at the start, at SIGHUP, and when it changes.
    File(PathBuf),
}

/// The file that the ring in use is from.
pub struct Watched {
    path: PathBuf,
    started: Option<Stamp>,
}

pub struct RingFile {
    path: PathBuf,
    sealer: Sealer,
    metrics: Arc<Metrics>,
    audit: Audit,
}

/// The sealer under the source's ring, and what keeps it up to date.
pub fn open(
    source: RingSource,
    issuer: &str,
    metrics: &Arc<Metrics>,
) -> Result<(Sealer, Option<Watched>), KeyRingError> {
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
    let watched = path.map(|(path, started)| Watched { path, started });
    Ok((sealer, watched))
}

impl Watched {
    /// What keeps the sealer's ring as the file has it.
    pub fn watch(self, sealer: &Sealer, metrics: &Arc<Metrics>, audit: &Audit) -> FileWatch<RingFile> {
        let Self { path, started } = self;
        let (sealer, metrics, audit) = (sealer.clone(), metrics.clone(), audit.clone());
        FileWatch::new(vec![path.clone()], vec![started], RingFile { path, sealer, metrics, audit })
    }
}

/// Which keys there are, as the audit log has it.
pub fn note_ring(sealer: &Sealer, audit: &Audit) {
    audit.record(of_state(Kind::RingLoaded, &sealer.ring_state()));
}

impl Reload for RingFile {
    /// A bad file changes nothing: without its keys the server could serve nobody.
    fn reload(&self) {
        let before = self.sealer.ring_state();
        let replaced = KeyRing::load(&self.path).and_then(|ring| {
            warn_of_swap(&ring);
            let keys = KeyState::ALL.map(|state| (state, ring.count(state)));
            let created = created(&ring);
            self.sealer.replace(ring)?;
            self.metrics.key_created(created);
            Ok(keys)
        });
        self.metrics.ring_reloaded(replaced.is_ok());
        match replaced {
            Ok(keys) => {
                count(keys, &self.metrics);
                self.note_change(&before);
            }
            Err(error) => {
                let cause = error.to_string();
                tracing::error!(file = %self.path.display(), cause, "key ring not reloaded, the one before stays: the file");
                let refused = Event::new(Kind::RingRejected, Outcome::Refused).text(Field::Cause, &cause);
                self.audit.record(refused);
            }
        }
    }
}

fn created(ring: &KeyRing) -> u64 {
    ring.active_created().map_or(0, Timestamp::unix)
}

impl RingFile {
    fn note_change(&self, before: &RingState) {
        let now = self.sealer.ring_state();
        tracing::info!(file = %self.path.display(), active = now.active.get(), opening = now.opening, "key ring reloaded");
        self.audit.record(of_state(Kind::RingLoaded, &now));
        if now.active != before.active {
            self.audit.record(of_state(Kind::KeyRotated, &now).number(Field::RingKey, before.active.get().into()));
        }
        for key in now.revoked.iter().filter(|key| !before.revoked.contains(key)) {
            self.audit.record(of_state(Kind::KeyRevoked, &now).number(Field::RingKey, key.get().into()));
        }
    }
}

fn of_state(kind: Kind, state: &RingState) -> Event {
    let event = Event::new(kind, Outcome::Ok).number(Field::ActiveKey, state.active.get().into());
    event.number(Field::OpeningKeys, state.opening as u64)
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
