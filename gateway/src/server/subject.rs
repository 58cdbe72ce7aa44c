//! What the doctor looks at: parts like the server's own, made by the same hands, of which none serves.

use std::sync::Arc;

use entra::ClientCredential;

use super::live::oauth_settings;
use super::parts::now_of;
use super::{BuildError, RedisToken, Settings};
use crate::clock::Clock;
use crate::oauth::Metadata;

/// An installation, as its configuration has it.
pub struct Subject {
    pub settings: Settings,
    pub clock: Clock,
    /// The documents that the edge would serve.
    pub metadata: Metadata,
    /// What the client shows to Entra.
    pub credential: Arc<dyn ClientCredential>,
    pub entra: Arc<entra::Client>,
    /// Where Redis is signed in to by Entra's token.
    pub redis_token: Option<RedisToken>,
}

impl Subject {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// As for the server itself.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, BuildError> {
        let metadata = Metadata::new(&oauth_settings(&settings.live(), &settings.public_url));
        let credential = settings.credential.clone().source(&settings.entra, now_of(&clock))?;
        let entra = Arc::new(entra::Client::new(settings.entra.clone(), credential.clone())?);
        let redis_token = RedisToken::new(&settings.store, &settings.credential, &entra, now_of(&clock))?;
        Ok(Self { settings, clock, metadata, credential, entra, redis_token })
    }
}
