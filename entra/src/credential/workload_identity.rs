//! A service-account token that Kubernetes projects into a file and rewrites before it expires.

use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{AssertionSource, CredentialError};
use crate::Secret;

/// The projected token, read for every assertion: the kubelet swaps the file without telling anyone.
#[derive(Clone, Debug)]
pub struct WorkloadIdentity {
    token_file: PathBuf,
}

impl WorkloadIdentity {
    pub fn new(token_file: PathBuf) -> Self {
        Self { token_file }
    }
}

#[async_trait]
impl AssertionSource for WorkloadIdentity {
    async fn assertion(&self) -> Result<Secret, CredentialError> {
        let path = self.token_file.clone();
        tokio::task::spawn_blocking(move || read(&path))
            .await
            .map_err(|_| CredentialError::Unavailable("reading the token file was cut short".into()))?
    }
}

fn read(path: &Path) -> Result<Secret, CredentialError> {
    let broken = |what: &str| CredentialError::Broken(format!("token file {}: {what}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| broken(&error.to_string()))?;
    let mut text = String::new();
    // One byte more than allowed, so that a file of any size costs no more than the cap.
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| broken(&error.to_string()))?;
    let whole = Secret::new(text);
    if whole.expose().len() as u64 > LARGEST {
        return Err(broken("larger than 16 KiB, so not a token"));
    }
    let token = whole.expose().trim();
    if token.is_empty() {
        return Err(broken("empty"));
    }
    if token.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        return Err(broken("holds more than one word, so not a token"));
    }
    Ok(Secret::new(token.to_owned()))
}

/// Bytes. Projected tokens are 1 to 2 KiB.
const LARGEST: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("entra-{}-{name}", std::process::id()))
    }

    #[tokio::test]
    async fn reads_anew_each_time_and_trims() {
        let path = file("rotated");
        let source = WorkloadIdentity::new(path.clone());
        for token in ["first", "second"] {
            std::fs::write(&path, format!("  {token}\n")).unwrap();
            assert_eq!(source.assertion().await.unwrap().expose(), token);
        }
        std::fs::remove_file(&path).unwrap();
        let error = source.assertion().await.unwrap_err();
        assert!(matches!(error, CredentialError::Broken(_)));
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }

    #[tokio::test]
    async fn refuses_what_is_no_token_without_showing_it() {
        let path = file("odd");
        for content in [String::new(), " \n".into(), "canary canary".into(), "canary".repeat(4000)] {
            std::fs::write(&path, &content).unwrap();
            let error = WorkloadIdentity::new(path.clone()).assertion().await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
