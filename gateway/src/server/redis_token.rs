//! The token of Entra's by which we sign in to Redis: whose it is, and that there always is one.

use std::sync::Arc;

use async_trait::async_trait;
use entra::{ApplicationTokens, SetUpError};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::Credential;
use crate::store::{self, AZURE_REDIS, EntraUser};

/// Renews the token while the server runs, also while it drains.
pub struct RedisToken {
    user: EntraUser,
    tokens: ApplicationTokens,
}

impl RedisToken {
    /// `None` when Redis is signed in to otherwise, or there is none. Asks for nothing yet. The principal is what proves us to
    /// Entra: the managed identity itself, or with a workload's token the app registration.
    ///
    /// # Errors
    /// As for the credential that the sign-ins use.
    pub fn new(
        store: &store::Settings,
        credential: &Credential,
        entra: &Arc<entra::Client>,
    ) -> Result<Option<Self>, SetUpError> {
        let store::Settings::Redis(redis) = store else { return Ok(None) };
        let Some(user) = redis.entra_user.clone() else { return Ok(None) };
        let tokens = match credential {
            Credential::WorkloadIdentity { .. } => ApplicationTokens::of_registration(entra.clone(), AZURE_REDIS),
            Credential::ManagedIdentity { client_id, endpoint } => {
                ApplicationTokens::of_identity(client_id.clone(), endpoint, AZURE_REDIS)?
            }
        };
        Ok(Some(Self { user, tokens }))
    }
}

#[async_trait]
impl BackgroundService for RedisToken {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            never = self.user.stay_signed_in(|| self.tokens.token()) => match never {},
            _ = shutdown.changed() => {}
        }
    }
}
