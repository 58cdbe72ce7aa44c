//! The file: appended to under a lock, followed when it is renamed, and taken up again where it ends.
//!
//! Several processes may share it: two gateways while one takes over from the other, and an operator's command. Whoever has the
//! lock looks whether the file has grown, and goes on from its last line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::line::{Chain, Link, hash};

pub struct AuditFile {
    path: PathBuf,
    file: File,
    chain: Chain,
    /// How long the file was when we left it; `None` when that is not known.
    length: Option<u64>,
    /// Lines that were begun and never finished, by us or another process.
    torn: u64,
    is_dirty: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct FileError {
    path: String,
    cause: io::Error,
}

impl AuditFile {
    /// Opens or makes it, for its owner only.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::open_with(path, options().create(true))
    }

    /// # Errors
    /// When there is none, too.
    pub fn open_existing(path: &Path) -> Result<Self, FileError> {
        Self::open_with(path, &mut options())
    }

    /// Whether [`AuditFile::open`] would do, as far as that can be told without making the file.
    pub fn check(path: &Path) -> Result<(), FileError> {
        let failed = |cause| FileError { path: path.display().to_string(), cause };
        match options().open(path) {
            Ok(_) => Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if folder.is_dir() { Ok(()) } else { Err(failed(cause)) }
            }
            Err(cause) => Err(failed(cause)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends what `make` makes of where the chain is, and of how many lines were torn before it. Either all of it is there
    /// afterwards, or the chain stays where it was.
    pub fn append(&mut self, make: impl FnOnce(Chain, u64) -> (String, Chain)) -> io::Result<Chain> {
        self.follow()?;
        self.file.lock()?;
        let done = self.append_locked(make);
        let unlocked = self.file.unlock();
        let chain = done?;
        unlocked.map(|()| chain)
    }

    /// To the disk, not only to the system.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_dirty) { self.file.sync_data() } else { Ok(()) }
    }

    fn open_with(path: &Path, options: &mut OpenOptions) -> Result<Self, FileError> {
        let failed = |cause| FileError { path: path.display().to_string(), cause };
        let file = options.open(path).map_err(failed)?;
        let mut opened =
            Self { path: path.to_owned(), file, chain: Chain::START, length: None, torn: 0, is_dirty: false };
        opened.file.lock().map_err(failed)?;
        let caught_up = opened.catch_up();
        opened.file.unlock().map_err(failed)?;
        caught_up.map_err(failed)?;
        Ok(opened)
    }

    /// Goes on in a new file when ours was renamed or removed, as those who rotate logs do. The chain goes on too.
    fn follow(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(()),
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
        self.sync()?;
        self.file = options().create(true).open(&self.path)?;
        self.length = None;
        Ok(())
    }

    fn append_locked(&mut self, make: impl FnOnce(Chain, u64) -> (String, Chain)) -> io::Result<Chain> {
        let length = self.file.metadata()?.len();
        if self.length != Some(length) {
            self.catch_up()?;
        }
        let before = self.file.metadata()?.len();
        let (text, chain) = make(self.chain, self.torn);
        if let Err(cause) = self.file.write_all(text.as_bytes()) {
            // Half a line must not stay. If it does, whoever comes next sees to it.
            self.length = self.file.set_len(before).ok().map(|()| before);
            return Err(cause);
        }
        (self.chain, self.torn, self.is_dirty) = (chain, 0, true);
        self.length = Some(before + text.len() as u64);
        Ok(chain)
    }

    /// Reads the end of the file. What another process wrote is gone on from; a line that was torn is cut off.
    ///
    /// If the last line is older than ours, somebody has cut the file: the chain then goes on from our own last line, so that
    /// the cut shows.
    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let start = length.saturating_sub(TAIL);
        self.file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        (&self.file).take(length - start).read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < tail.len() {
            tracing::warn!(file = %self.path.display(), "the last line of the audit log is not whole: it is cut off");
            self.file.set_len(start + whole as u64)?;
            self.torn += 1;
        }
        let lines = tail[..whole].strip_suffix(b"\n").unwrap_or_default();
        let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let there = match Link::parse(last) {
            Some(link) => Chain { sequence: link.sequence, last: hash(last) },
            None if last.is_empty() => Chain::START,
            None => {
                tracing::error!(file = %self.path.display(), "the last line of the audit log is none of ours");
                Chain { sequence: self.chain.sequence, last: hash(last) }
            }
        };
        if there.sequence >= self.chain.sequence {
            self.chain = there;
        }
        self.length = Some(start + whole as u64);
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    options
}

/// Longer than any line.
const TAIL: u64 = 64 * 1024;
