//! The token of Entra's by which we sign in to Redis: whose it is, and that there always is one.

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use entra::credential::Now;
use entra::{ApplicationTokens, Credential, SetUpError};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::store::{self, AZURE_REDIS, EntraUser};

/// Renews the token while the server runs, also while it drains.
pub struct RedisToken {
    user: EntraUser,
    tokens: ApplicationTokens,
}

impl RedisToken {
    /// `None` when Redis is signed in to otherwise, or there is none. Asks for nothing yet. The principal is what proves us to
    /// Entra: the managed identity itself, or with any other kind the app registration.
    ///
    /// # Errors
    /// As for the credential that the sign-ins use.
    pub fn new(
        store: &store::Settings,
        credential: &Credential,
        entra: &Arc<entra::Client>,
        now: Now,
    ) -> Result<Option<Self>, SetUpError> {
        let store::Settings::Redis(redis) = store else { return Ok(None) };
        let Some(user) = redis.entra_user.clone() else { return Ok(None) };
        let tokens = match credential {
            Credential::ManagedIdentity { client_id, host } => {
                ApplicationTokens::of_identity(client_id.clone(), host, AZURE_REDIS, now)?
            }
            _ => ApplicationTokens::of_registration(entra.clone(), AZURE_REDIS),
        };
        Ok(Some(Self { user, tokens }))
    }

    /// Sees to it that there is one, for as long as it runs.
    pub async fn keep(&self) -> Infallible {
        self.user.stay_signed_in(|| self.tokens.token()).await
    }
}

#[async_trait]
impl BackgroundService for RedisToken {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            never = self.keep() => match never {},
            _ = shutdown.changed() => {}
        }
    }
}
