//! A key ring on disk: JSON, read with suspicion and replaced whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{KeyId, KeyRing, KeyState, RingKey};
use crate::clock::Timestamp;
use crate::secret::{SecretKey, random_bytes};

/// Why a key ring file cannot be used, and what to do. Shows the file's faults, never a key: not even the parser's own words,
/// which quote what they stumble over.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("cannot be replaced or made: {0}")]
    Unwritable(io::Error),
    #[error("must name a file, and names something else")]
    NotAFile,
    #[error(
        "is no key ring (see line {line}, column {column}): restore it from a backup, or make one by `sallyport keys new`"
    )]
    Malformed { line: usize, column: usize },
    #[error(
        "is a key ring of version {0}, and this program reads version 1: use the program that wrote it, or a backup"
    )]
    Version(u32),
    #[error(
        "may be written by others than its owner (mode {0:o}), who could give it keys of their own: chmod it to 600"
    )]
    Writable(u32),
    #[error("holds no key: restore it from a backup, or make one by `sallyport keys new`")]
    Empty,
    #[error("its key {} is not 32 bytes of base64url: restore the file from a backup", .0.get())]
    BadKey(KeyId),
    #[error("holds key {} twice: restore the file from a backup", .0.get())]
    Duplicate(KeyId),
    #[error(
        "must have exactly one key in state \"active\", and has {0}: restore it from a backup, or correct the states"
    )]
    Active(usize),
    #[error("must have at most one key in state \"next\", and has {0}: set the others to \"open-only\"")]
    Next(usize),
    #[error(
        "is no later state of the ring in use, whose key {} it does not have: put the right file back, or restart if \
         everybody shall sign in again",
        .0.get()
    )]
    Foreign(KeyId),
    #[error("is being changed by another command: try again")]
    Busy,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RingFile {
    version: u32,
    pub keys: Vec<FileKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileKey {
    pub id: KeyId,
    /// Seconds since the Unix epoch.
    pub created: u64,
    pub state: KeyState,
    /// 32 bytes, base64url. A revoked key has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A ring's file while one command changes it.
pub(super) struct Editing {
    path: PathBuf,
    about: Metadata,
    pub ring: RingFile,
    /// Held until the change is done.
    _lock: File,
}

impl KeyRing {
    /// Reads a ring, and warns in the log when more than its owner and group may do so.
    pub fn load(path: &Path) -> Result<Self, KeyRingError> {
        let (ring, about) = RingFile::read(path)?;
        if about.mode() & READ_BY_OTHERS != 0 {
            let mode = format!("{:o}", about.mode() & PERMISSIONS);
            tracing::warn!(file = %path.display(), mode, "everybody on this machine may read the key ring: chmod it to 600");
        }
        ring.derive()
    }

    /// Writes a new ring with one fresh active key, readable by its owner only.
    ///
    /// # Errors
    /// When the file exists: a ring is never overwritten, for every token and record under it would be lost.
    pub fn create(path: &Path, now: Timestamp) -> Result<KeyId, KeyRingError> {
        let id = KeyId(1);
        let ring = RingFile { version: VERSION, keys: vec![FileKey::fresh(id, KeyState::Active, now)] };
        let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
        let written = file.and_then(|file| ring.write(file)).and_then(|()| sync_folder(path));
        written.map(|()| id).map_err(KeyRingError::Unwritable)
    }

    #[cfg(any(test, fuzzing))]
    pub(in crate::sealed) fn parse(text: &str) -> Result<Self, KeyRingError> {
        RingFile::parse(text)?.derive()
    }
}

impl RingFile {
    pub fn read(path: &Path) -> Result<(Self, Metadata), KeyRingError> {
        // Before it is opened: to open a pipe would wait for its writer.
        let about = fs::metadata(path)?;
        if !about.is_file() {
            return Err(KeyRingError::NotAFile);
        }
        if about.mode() & WRITTEN_BY_OTHERS != 0 {
            return Err(KeyRingError::Writable(about.mode() & PERMISSIONS));
        }
        // Of the size that it needs, so that no half of it stays behind where the text grew.
        let mut text = Zeroizing::new(Vec::with_capacity(about.len().min(SIZE_AT_MOST) as usize + 1));
        File::open(path)?.take(SIZE_AT_MOST).read_to_end(&mut text)?;
        let text = std::str::from_utf8(&text).map_err(|_| KeyRingError::Malformed { line: 1, column: 1 })?;
        Ok((Self::parse(text)?, about))
    }

    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        // First and alone: a later version may have fields that this one does not know.
        let Versioned { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(KeyRingError::Version(version));
        }
        let ring: Self = serde_json::from_str(text)?;
        ring.check()?;
        Ok(ring)
    }

    /// The keys of a state.
    pub fn in_state(&self, state: KeyState) -> impl Iterator<Item = &FileKey> {
        self.keys.iter().filter(move |key| key.state == state)
    }

    fn check(&self) -> Result<(), KeyRingError> {
        if self.keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        for (position, key) in self.keys.iter().enumerate() {
            if self.keys[..position].iter().any(|before| before.id == key.id) {
                return Err(KeyRingError::Duplicate(key.id));
            }
        }
        match (self.in_state(KeyState::Active).count(), self.in_state(KeyState::Next).count()) {
            (1, 0 | 1) => Ok(()),
            (1, next) => Err(KeyRingError::Next(next)),
            (active, _) => Err(KeyRingError::Active(active)),
        }
    }

    fn derive(&self) -> Result<KeyRing, KeyRingError> {
        let keys = |state| self.in_state(state).map(FileKey::derive).collect::<Result<Vec<_>, _>>();
        Ok(KeyRing {
            active: keys(KeyState::Active)?.pop().ok_or(KeyRingError::Active(0))?,
            active_created: self.in_state(KeyState::Active).next().map(|key| Timestamp::from_unix(key.created)),
            next: keys(KeyState::Next)?.pop(),
            open_only: keys(KeyState::OpenOnly)?,
            revoked: self.in_state(KeyState::Revoked).map(|key| key.id).collect(),
        })
    }

    fn write(&self, mut file: File) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(self)?);
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()
    }
}

impl FileKey {
    pub fn fresh(id: KeyId, state: KeyState, now: Timestamp) -> Self {
        let key = Some(BASE64_URL_SAFE_NO_PAD.encode(SecretKey::random().expose()));
        Self { id, created: now.unix(), state, key }
    }

    /// For good: what could undo it is not kept.
    pub fn revoke(&mut self) {
        self.state = KeyState::Revoked;
        self.key.zeroize();
        self.key = None;
    }

    fn derive(&self) -> Result<RingKey, KeyRingError> {
        let bad = || KeyRingError::BadKey(self.id);
        let text = self.key.as_deref().ok_or_else(bad)?;
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?);
        let bytes = bytes.as_slice().try_into().map_err(|_| bad())?;
        Ok(RingKey::derive(self.id, &SecretKey::new(bytes)))
    }
}

impl Drop for FileKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Editing {
    /// Opens a ring to change it. A second command has to wait its turn, or the later would undo what the earlier did.
    pub fn begin(path: &Path) -> Result<Self, KeyRingError> {
        // The file itself: replacing a link to it would leave the file as it is for whoever else reads it.
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_file() {
            return Err(KeyRingError::NotAFile);
        }
        let lock = File::open(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(KeyRingError::Busy),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let (ring, about) = RingFile::read(&path)?;
        // Replaced between opening and locking: the lock is on what is no more.
        if lock.metadata()?.ino() != about.ino() {
            return Err(KeyRingError::Busy);
        }
        ring.derive()?;
        Ok(Self { path, about, ring, _lock: lock })
    }

    /// Replaces the file at once: who reads it meanwhile has the one before or the one after, even if power fails. It keeps
    /// owner and group, and the group its right to read, without which a server under another user would not see a revocation.
    pub fn finish(self) -> Result<(), KeyRingError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let random = u64::from_be_bytes(random_bytes());
        let temporary = self.path.with_file_name(format!(".{name}.{random:016x}"));
        let replaced = self.write_beside(&temporary).and_then(|()| fs::rename(&temporary, &self.path));
        if replaced.is_err() {
            // It may never have come into being; the error that counts is the one before.
            let _ = fs::remove_file(&temporary);
        }
        replaced.and_then(|()| sync_folder(&self.path)).map_err(KeyRingError::Unwritable)
    }

    fn write_beside(&self, temporary: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(temporary)?;
        let (owner, group) = (self.about.uid(), self.about.gid());
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (owner, group) {
            fchown(&file, Some(owner), Some(group))?;
        }
        let mode = OWNER_ONLY | (self.about.mode() & READ_BY_GROUP);
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        self.ring.write(file)
    }
}

impl From<serde_json::Error> for KeyRingError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed { line: error.line(), column: error.column() }
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A new name in a folder is on disk when the folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

const VERSION: u32 = 1;
const SIZE_AT_MOST: u64 = 256 * 1024;
const PERMISSIONS: u32 = 0o777;
const OWNER_ONLY: u32 = 0o600;
const READ_BY_GROUP: u32 = 0o040;
const READ_BY_OTHERS: u32 = 0o004;
const WRITTEN_BY_OTHERS: u32 = 0o022;
