//! Tokens for a resource by which the gateway itself signs in there, of no user: Redis in Azure takes one for a password.

use std::sync::Arc;

use crate::credential::{IdentityHost, Now, ResourceTokens};
use crate::{AccessToken, Client, CredentialError, Error, SetUpError};

/// Where such tokens come from. Nothing is kept: whoever asks renews.
pub struct ApplicationTokens(Source);

enum Source {
    Registration { client: Arc<Client>, scope: String },
    Identity(Box<ResourceTokens>),
}

impl ApplicationTokens {
    /// Of the app registration, by its credential (RFC 6749 section 4.4). Their principal is the
    /// registration's service principal. `resource` is such as `https://redis.azure.com`.
    pub fn of_registration(client: Arc<Client>, resource: &str) -> Self {
        Self(Source::Registration { client, scope: format!("{resource}/.default") })
    }

    /// Of a managed identity, by its host (entra.md 6.1, 6.2). Their principal is the identity.
    pub fn of_identity(
        client_id: Option<String>,
        host: &IdentityHost,
        resource: &str,
        now: Now,
    ) -> Result<Self, SetUpError> {
        ResourceTokens::new(client_id, host, resource, now).map(|tokens| Self(Source::Identity(Box::new(tokens))))
    }

    /// A token that is good now.
    ///
    /// # Errors
    /// [`Error::TryLater`] mends itself with time; whatever else needs an operator.
    pub async fn token(&self) -> Result<AccessToken, Error> {
        match &self.0 {
            Source::Registration { client, scope } => client.on_its_own_behalf(scope).await,
            Source::Identity(tokens) => tokens.token().await.map_err(CredentialError::into),
        }
    }
}
