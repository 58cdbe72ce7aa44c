//! A service-account token that Kubernetes projects into a file and rewrites before it expires.

use std::path::PathBuf;

use async_trait::async_trait;
use url::Url;

use super::{ClientCredential, CredentialError, Proof, word};
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

    /// What the file holds now.
    pub async fn assertion(&self) -> Result<Secret, CredentialError> {
        word::read(&self.token_file, "token file", LARGEST).await
    }
}

#[async_trait]
impl ClientCredential for WorkloadIdentity {
    async fn proof(&self, _: &Url) -> Result<Proof, CredentialError> {
        self.assertion().await.map(Proof::Assertion)
    }
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
