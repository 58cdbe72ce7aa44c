//! How an app registration proves to Entra who it is (entra.md 5.5 and 6): a federated assertion, one signed with a
//! certificate, or for development a secret. Each kind reads or fetches; the caller of the token endpoint decides when.

mod certificate;
mod client_secret;
mod managed_identity;
mod word;
mod workload_identity;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use url::Url;

use crate::{Error, Secret, SetUpError, Settings};

pub use certificate::Certificate;
pub use client_secret::ClientSecret;
pub(crate) use managed_identity::ResourceTokens;
pub use managed_identity::{IMDS, IdentityHost, ManagedIdentity};
pub use workload_identity::WorkloadIdentity;

/// Which kind is meant, as a configuration says it.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A token that a cluster's issuer projects into a file.
    WorkloadIdentity { token_file: PathBuf },
    /// A token of the machine's identity. `client_id` chooses among several.
    ManagedIdentity { client_id: Option<String>, host: IdentityHost },
    /// PEM: the certificate, and its RSA key.
    Certificate { certificate_file: PathBuf, key_file: PathBuf },
    /// For development only.
    ClientSecret { secret_file: PathBuf },
}

/// What the token endpoint is shown.
#[derive(Debug)]
pub enum Proof {
    /// `client_assertion` (RFC 7523 section 2.2).
    Assertion(Secret),
    /// `client_secret` (RFC 6749 section 2.3.1).
    Secret(Secret),
}

/// One kind of credential at work.
#[async_trait]
pub trait ClientCredential: Send + Sync {
    /// A proof that is good now, for this token endpoint. What others have issued is good for all of them.
    async fn proof(&self, endpoint: &Url) -> Result<Proof, CredentialError>;

    /// Entra refused the last proof for its age or signature: whatever is kept must be asked for anew.
    fn forget(&self) {}

    /// Since the kept proof was fetched or signed. `None` when there is none, or none is ever kept.
    fn age(&self) -> Option<Duration> {
        None
    }
}

/// The time, from outside: what is signed must say when.
pub type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

impl Credential {
    /// Puts it to work for the registration of `settings`. Nothing is read or asked yet.
    ///
    /// # Errors
    /// [`SetUpError`]: a machine's endpoint that is none.
    pub fn source(self, settings: &Settings, now: Now) -> Result<Arc<dyn ClientCredential>, SetUpError> {
        Ok(match self {
            Self::WorkloadIdentity { token_file } => Arc::new(WorkloadIdentity::new(token_file)),
            Self::ManagedIdentity { client_id, host } => {
                Arc::new(ManagedIdentity::new(settings.authority.cloud(), client_id, &host, now)?)
            }
            Self::Certificate { certificate_file, key_file } => {
                Arc::new(Certificate::new(certificate_file, key_file, settings, now))
            }
            Self::ClientSecret { secret_file } => {
                tracing::warn!(
                    "the credential is a client secret, which is for development only: whoever reads the file is this \
                     application until somebody notices. Use workload-identity, managed-identity or certificate"
                );
                Arc::new(ClientSecret::new(secret_file))
            }
        })
    }
}

/// Why there is no proof, or no token of a managed identity. `Unavailable` mends itself with time, `Broken` needs an operator.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("no credential at the moment: {0}")]
    Unavailable(String),
    #[error("no credential: {0}")]
    Broken(String),
}

impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Unavailable(_) => Self::TryLater { retry_after: None, cause: error.to_string() },
            CredentialError::Broken(_) => Self::SetUp(error.to_string()),
        }
    }
}
