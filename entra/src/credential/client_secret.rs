//! A secret of the app registration, in a file: for development, where there is neither a cluster nor a machine's identity.

use std::path::PathBuf;

use async_trait::async_trait;
use url::Url;

use super::{ClientCredential, CredentialError, Proof, word};

/// The secret, read for every call: a new one counts without a restart.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    secret_file: PathBuf,
}

impl ClientSecret {
    pub fn new(secret_file: PathBuf) -> Self {
        Self { secret_file }
    }
}

#[async_trait]
impl ClientCredential for ClientSecret {
    async fn proof(&self, _: &Url) -> Result<Proof, CredentialError> {
        word::read(&self.secret_file, "secret file", LARGEST).await.map(Proof::Secret)
    }
}

/// Bytes. Secrets that Entra makes are 40 characters.
const LARGEST: u64 = 1024;
