//! The file of sessions: one JSON object in a line, written by `loadtest sign-in`, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// A session, by its access token. No `Debug`: the token is a secret.
#[derive(Deserialize, Serialize)]
pub struct Session {
    pub access_token: String,
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// The file under way: each session is in it as soon as it has begun. One that got none is taken away again.
pub struct Writer {
    file: File,
    path: PathBuf,
    is_empty: bool,
}

impl Writer {
    /// # Errors
    /// When the file is there already: what it holds may be in use.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), is_empty: true })
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, session: &Session) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(session)?;
        line.push(b'\n');
        self.is_empty = false;
        self.file.write_all(&line)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.is_empty {
            // What cannot be removed is in the way of the next run, which says so.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Every session of the file, in its order.
///
/// # Errors
/// When it cannot be read, or others than its owner can, or a line is no session. The line's number is said, never its text.
pub fn read(path: &Path) -> anyhow::Result<Vec<Session>> {
    use std::os::unix::fs::MetadataExt;
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    if file.metadata()?.mode() & 0o077 != 0 {
        bail!("{} holds tokens, and others than its owner may read it: chmod 600", path.display());
    }
    let mut sessions = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        // The error would quote the line.
        let Ok(session) = serde_json::from_str(&line?) else {
            bail!("{}: line {} is no session", path.display(), index + 1);
        };
        sessions.push(session);
    }
    Ok(sessions)
}

/// Those that live for `margin` after `now`.
pub fn live(sessions: Vec<Session>, now: Duration, margin: Duration) -> Vec<Session> {
    let until = (now + margin).as_secs();
    sessions.into_iter().filter(|session| session.expires_at > until).collect()
}

/// Those whose token has run out, for longer than clocks may be apart.
pub fn expired(sessions: Vec<Session>, now: Duration) -> Vec<Session> {
    sessions.into_iter().filter(|session| session.expires_at.saturating_add(SKEW_SECONDS) < now.as_secs()).collect()
}

const SKEW_SECONDS: u64 = 5;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn session(token: &str, expires_at: u64) -> Session {
        Session { access_token: token.to_owned(), expires_at }
    }

    #[test]
    fn sessions_come_back_and_only_their_owner_reads_them() {
        let path = std::env::temp_dir().join(format!("loadtest-tokens-{}", std::process::id()));
        let mut writer = Writer::create(&path).unwrap();
        writer.add(&session("one", 10)).unwrap();
        writer.add(&session("two", 20)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let tokens: Vec<_> = read(&path).unwrap().into_iter().map(|session| session.access_token).collect();
        assert_eq!(tokens, ["one", "two"]);
        assert!(Writer::create(&path).is_err(), "nothing is overwritten");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).is_err(), "others can read it");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_got_no_session_is_gone() {
        let path = std::env::temp_dir().join(format!("loadtest-no-tokens-{}", std::process::id()));
        drop(Writer::create(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_session_is_live_or_expired_by_the_clock() {
        let sessions = || vec![session("old", 100), session("new", 1000)];
        let now = Duration::from_secs(500);
        assert_eq!(live(sessions(), now, Duration::from_secs(60))[0].access_token, "new");
        assert_eq!(live(sessions(), now, Duration::from_secs(600)).len(), 0, "it would end during the run");
        assert_eq!(expired(sessions(), now)[0].access_token, "old");
    }
}
