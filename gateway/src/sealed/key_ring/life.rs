//! How a ring changes on disk: a key is added, becomes active, only opens, and is revoked.

use std::path::Path;
use std::time::Duration;

use super::file::{Editing, FileKey, RingFile};
use super::{KeyId, KeyRing, KeyRingError, KeyState};
use crate::clock::Timestamp;

/// What anyone may know of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    pub id: KeyId,
    pub state: KeyState,
    pub created: Timestamp,
}

/// Which of its two steps a rotation made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    Added { next: KeyId },
    Activated { active: KeyId, before: KeyId },
}

/// Where the active key comes from when the one there is is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Successor {
    /// The next key, which replicas can open with already.
    Next,
    /// A fresh one if there is no next: until a replica has the new file, it refuses what the others seal.
    Fresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    Before,
    Now { active: KeyId },
}

/// Why a ring was not changed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error(transparent)]
    Ring(#[from] KeyRingError),
    #[error(
        "key {} was added too short a while ago: replicas may not have it yet. Wait {} more, or give --now if all of them have it",
        .next.get(), Minutes(*.left)
    )]
    TooSoon { next: KeyId, left: Duration },
    #[error("holds as many keys as it may, {KEYS_AT_MOST} that are not revoked: revoke the oldest")]
    Full,
    #[error("has no key {}; `sallyport keys list` shows those there are", .0.get())]
    NoSuchKey(KeyId),
    #[error(
        "key {} is the active one, and there is no next: add one by `sallyport keys rotate` first, or give --force-new to \
         have a new one active at once",
        .0.get()
    )]
    NoSuccessor(KeyId),
}

impl KeyRing {
    /// The keys of a ring's file, in its order.
    pub fn list(path: &Path) -> Result<Vec<KeyInfo>, KeyRingError> {
        let (ring, _) = RingFile::read(path)?;
        let info = |key: &FileKey| KeyInfo { id: key.id, state: key.state, created: Timestamp::from_unix(key.created) };
        Ok(ring.keys.iter().map(info).collect())
    }

    /// Goes one step of a rotation: adds the next key, or makes it active once it has been there for `patience`. One step
    /// alone would have replicas seal what others cannot open yet.
    pub fn rotate(path: &Path, now: Timestamp, patience: Duration) -> Result<Rotated, EditError> {
        let mut editing = Editing::begin(path)?;
        let rotated = editing.ring.rotate(now, patience)?;
        editing.finish()?;
        Ok(rotated)
    }

    /// Ends a key: what is sealed under it opens no more, wherever the file arrives.
    pub fn revoke(path: &Path, id: KeyId, successor: Successor, now: Timestamp) -> Result<Revoked, EditError> {
        let mut editing = Editing::begin(path)?;
        let revoked = editing.ring.revoke(id, successor, now)?;
        if revoked != Revoked::Before {
            editing.finish()?;
        }
        Ok(revoked)
    }
}

impl RingFile {
    pub(super) fn rotate(&mut self, now: Timestamp, patience: Duration) -> Result<Rotated, EditError> {
        let Some(next) = self.in_state(KeyState::Next).next() else {
            return Ok(Rotated::Added { next: self.add(KeyState::Next, now)? });
        };
        let left = Timestamp::from_unix(next.created).after(patience).remaining(now);
        if !patience.is_zero() && !left.is_zero() {
            return Err(EditError::TooSoon { next: next.id, left });
        }
        let (active, before) = (next.id, self.active()?);
        self.get(before)?.state = KeyState::OpenOnly;
        self.get(active)?.state = KeyState::Active;
        Ok(Rotated::Activated { active, before })
    }

    pub(super) fn revoke(&mut self, id: KeyId, successor: Successor, now: Timestamp) -> Result<Revoked, EditError> {
        match self.get(id)?.state {
            KeyState::Revoked => return Ok(Revoked::Before),
            KeyState::Next | KeyState::OpenOnly => self.get(id)?.revoke(),
            KeyState::Active => {
                let next = self.in_state(KeyState::Next).next().map(|key| key.id);
                if next.is_none() && successor == Successor::Next {
                    return Err(EditError::NoSuccessor(id));
                }
                self.get(id)?.revoke();
                match next {
                    Some(next) => self.get(next)?.state = KeyState::Active,
                    None => drop(self.add(KeyState::Active, now)?),
                }
            }
        }
        Ok(Revoked::Now { active: self.active()? })
    }

    /// A fresh key under an id that no key ever had: what an old one of that id sealed must not look like a forgery.
    fn add(&mut self, state: KeyState, now: Timestamp) -> Result<KeyId, EditError> {
        let opening = self.keys.iter().filter(|key| key.state != KeyState::Revoked).count();
        let last = self.keys.iter().map(|key| key.id.get()).max().unwrap_or_default();
        let id = last.checked_add(1).filter(|_| opening < KEYS_AT_MOST).map(KeyId::new).ok_or(EditError::Full)?;
        self.keys.push(FileKey::fresh(id, state, now));
        Ok(id)
    }

    fn active(&self) -> Result<KeyId, EditError> {
        let active = self.in_state(KeyState::Active).next();
        active.map(|key| key.id).ok_or(EditError::Ring(KeyRingError::Active(0)))
    }

    fn get(&mut self, id: KeyId) -> Result<&mut FileKey, EditError> {
        self.keys.iter_mut().find(|key| key.id == id).ok_or(EditError::NoSuchKey(id))
    }
}

/// Whole minutes, rounded up.
struct Minutes(Duration);

impl std::fmt::Display for Minutes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_secs().div_ceil(60) {
            1 => write!(formatter, "1 minute"),
            minutes => write!(formatter, "{minutes} minutes"),
        }
    }
}

/// Each has a series in the metrics, and everything that opens looks through them.
const KEYS_AT_MOST: usize = 16;
