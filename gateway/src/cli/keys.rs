//! `sallyport keys`: the life of a key ring. A running server takes the changed file by itself.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::FAILED;
use crate::clock::{Clock, Timestamp};
use crate::sealed::{EditError, KeyId, KeyInfo, KeyRing, KeyRingError, Revoked, Rotated, Successor};

#[derive(Args)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key ring with one fresh key. A file that exists is left as it is.
    New {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Show the keys, and nothing of what they are made of.
    List {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Add the next key; run again, once every replica has it, make it the active one.
    Rotate {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Do not wait until the next key has been there for five minutes: every replica has it.
        #[arg(long)]
        now: bool,
    },
    /// End a key: whatever was sealed under it opens no more.
    Revoke {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Its id, as `list` shows it.
        #[arg(long, value_name = "ID")]
        key: u32,
        /// When it is the active key and there is no next one: have a new one active at once.
        #[arg(long)]
        force_new: bool,
    },
}

impl Keys {
    pub fn run(&self) -> ExitCode {
        let now = Clock::system().now();
        let (file, outcome) = match &self.command {
            Command::New { file } => (file, new(file, now)),
            Command::List { file } => (file, KeyRing::list(file).map_err(words).map(|keys| table(&keys, now))),
            Command::Rotate { file, now: at_once } => (file, rotate(file, now, *at_once)),
            Command::Revoke { file, key, force_new } => (file, revoke(file, KeyId::new(*key), *force_new, now)),
        };
        match outcome.and_then(|said| io::stdout().write_all(said.as_bytes()).map_err(|error| error.to_string())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(words) => {
                eprintln!("{}: {words}", file.display());
                ExitCode::from(FAILED)
            }
        }
    }
}

fn new(file: &Path, now: Timestamp) -> Result<String, String> {
    let key = KeyRing::create(file, now).map_err(words)?.get();
    let file = file.display();
    Ok(format!("{file}: a key ring with key {key}, for your eyes only. What it seals opens with it alone.\n"))
}

fn rotate(file: &Path, now: Timestamp, at_once: bool) -> Result<String, String> {
    let patience = if at_once { Duration::ZERO } else { PATIENCE };
    let rotated = KeyRing::rotate(file, now, patience).map_err(edit_words)?;
    Ok(match rotated {
        Rotated::Added { next } => format!(
            "Key {} is the next one: it opens, and does not seal yet.\n\
             When every replica has it (sallyport_keyring_keys{{state=\"next\"}} is 1), but not before {} minutes have \
             passed, run this command again to make it the active one.\n",
            next.get(),
            PATIENCE.as_secs() / 60
        ),
        Rotated::Activated { active, before } => format!(
            "Key {} is active. Key {before} only opens from now on; revoke it when nothing under it is of use any more:\n\
             after tokens.session_max for sessions, but clients that registered under it will have to register again.\n",
            active.get(),
            before = before.get()
        ),
    })
}

fn revoke(file: &Path, key: KeyId, force_new: bool, now: Timestamp) -> Result<String, String> {
    let successor = if force_new { Successor::Fresh } else { Successor::Next };
    let id = key.get();
    Ok(match KeyRing::revoke(file, key, successor, now).map_err(edit_words)? {
        Revoked::Before => format!("Key {id} is revoked already.\n"),
        Revoked::Now { active } => format!(
            "Key {id} is revoked for good, and key {} is active.\n\
             Within ten seconds of a replica's having this file, no token, cookie, record or client id under key {id} opens \
             there.\n",
            active.get()
        ),
    })
}

fn table(keys: &[KeyInfo], now: Timestamp) -> String {
    let mut text = format!("{:>4}  {:<9}  {:>8}  created\n", "key", "state", "age");
    for key in keys {
        let (id, state) = (key.id.get(), key.state.word());
        text += &format!("{id:>4}  {state:<9}  {:>8}  {}\n", age(now.remaining(key.created)), key.created.to_text());
    }
    text
}

/// In the largest unit that it fills.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [("d", 24 * 3600), ("h", 3600), ("min", 60)];
    match units.iter().find(|(_, size)| seconds >= *size) {
        Some((unit, size)) => format!("{} {unit}", seconds / size),
        None => format!("{seconds} s"),
    }
}

fn edit_words(error: EditError) -> String {
    match error {
        EditError::Ring(error) => words(error),
        error => error.to_string(),
    }
}

fn words(error: KeyRingError) -> String {
    match error {
        KeyRingError::Unwritable(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            "is there already, and stays as it is: what it seals opens with it alone".to_owned()
        }
        error => error.to_string(),
    }
}

/// Longer than a file takes to come to every replica: the kubelet takes up to two minutes with a changed Secret.
const PATIENCE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::KeyState;

    #[test]
    fn the_list_shows_id_state_age_and_date_whatever_the_file_claims() {
        let key = |id, state, created| KeyInfo { id: KeyId::new(id), state, created: Timestamp::from_unix(created) };
        let keys = [
            key(1, KeyState::Revoked, 0),
            key(2, KeyState::OpenOnly, 1_700_000_000),
            key(3, KeyState::Active, u64::MAX),
        ];
        insta::assert_snapshot!(table(&keys, Timestamp::from_unix(1_700_007_300)), @r"
        key  state           age  created
          1  revoked     19676 d  1970-01-01T00:00:00Z
          2  open-only       2 h  2023-11-14T22:13:20Z
          3  active          0 s  never
        ");
    }
}
