//! Where the client assertion comes from that proves who we are (RFC 7523, entra.md 5.5). Sources read or fetch; the
//! token endpoint's caller decides when.

mod managed_identity;
mod workload_identity;

use async_trait::async_trait;

use crate::{Error, Secret};

pub(crate) use managed_identity::ResourceTokens;
pub use managed_identity::{IMDS, ManagedIdentity};
pub use workload_identity::WorkloadIdentity;

/// A source of client assertions.
#[async_trait]
pub trait AssertionSource: Send + Sync {
    /// An assertion that is good now.
    async fn assertion(&self) -> Result<Secret, CredentialError>;

    /// Entra refused the last assertion for its age or signature: whatever is kept must be asked for anew.
    fn forget(&self) {}
}

/// Why there is no assertion, or no token of a managed identity. `Unavailable` mends itself with time, `Broken` needs an operator.
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
