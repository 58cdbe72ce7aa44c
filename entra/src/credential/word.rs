//! A credential in a file: one word, of bounded length, that no error ever shows.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::CredentialError;
use crate::Secret;

/// Reads a file of at most `largest` bytes that holds one word, which an error never shows.
pub(super) async fn read(file: &Path, kind: &'static str, largest: u64) -> Result<Secret, CredentialError> {
    let path = file.to_path_buf();
    tokio::task::spawn_blocking(move || read_now(&path, kind, largest))
        .await
        .map_err(|_| CredentialError::Unavailable(format!("reading the {kind} was cut short")))?
}

fn read_now(path: &Path, kind: &str, largest: u64) -> Result<Secret, CredentialError> {
    let broken = |what: &str| CredentialError::Broken(format!("{kind} {}: {what}", path.display()));
    let file = File::open(path).map_err(|error| broken(&error.to_string()))?;
    let mut text = String::new();
    // One byte more than allowed, so that a file of any size costs no more than the cap.
    file.take(largest + 1).read_to_string(&mut text).map_err(|error| broken(&error.to_string()))?;
    let whole = Secret::new(text);
    if whole.expose().len() as u64 > largest {
        return Err(broken(&format!("larger than {} KiB, so not what belongs here", largest / 1024)));
    }
    let word = whole.expose().trim();
    if word.is_empty() {
        return Err(broken("empty"));
    }
    if word.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        return Err(broken("holds more than one word"));
    }
    Ok(Secret::new(word.to_owned()))
}
