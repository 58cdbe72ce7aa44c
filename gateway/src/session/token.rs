//! The tokens of an MCP client: opaque to it, everything to us.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Handle;
use crate::clock::Timestamp;
use crate::sealed::{Id, OpenError, Purpose, Sealer};
use crate::secret::SecretKey;

/// What a client was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// SHA-256 of the client id.
    pub client: [u8; 32],
    /// The canonical URL of the resource that the tokens are for.
    pub resource: String,
}

/// Tokens as `/token` answers them.
pub struct IssuedTokens {
    pub access_token: String,
    /// Whole seconds; zero when the session is over.
    pub expires_in: Duration,
    /// `None` when Entra gave nothing to renew the session with.
    pub refresh_token: Option<String>,
}

/// The plaintext of an access token. Entra's token is not in it: it stays in the store.
#[derive(Serialize, Deserialize)]
pub(super) struct AccessToken {
    pub id: Id,
    pub secret: SecretKey,
    pub expires: Timestamp,
    pub client: [u8; 32],
}

/// A refresh token that was opened for the client that presents it. When it ends is not in it: that is for its session and
/// its generation's counter to say.
#[derive(Debug)]
pub struct RefreshToken {
    pub(super) handle: Handle,
    pub(super) generation: u32,
    pub(super) grant: Grant,
}

/// Bytes of an access token as text; ours have 200. What is longer was made up, and nothing is decoded of it: a refusal costs the
/// same whatever is sent.
const LONGEST: usize = 256;

impl AccessToken {
    /// The resource is associated data: at another route the token is a forgery before anything is looked up (T14).
    pub fn seal(&self, sealer: &Sealer, resource: &str) -> String {
        sealer.seal(Purpose::AccessToken, &[resource.as_bytes()], self)
    }

    pub fn open(sealer: &Sealer, resource: &str, text: &str) -> Result<Self, OpenError> {
        if text.len() > LONGEST {
            return Err(OpenError::Malformed);
        }
        sealer.open(Purpose::AccessToken, &[resource.as_bytes()], text)
    }

    pub fn handle(&self) -> Handle {
        Handle { id: self.id, secret: self.secret.clone() }
    }
}

impl RefreshToken {
    /// The canonical URL of the resource that it is for.
    pub fn resource(&self) -> &str {
        &self.grant.resource
    }

    /// Of which session it is, and which of its refresh tokens.
    #[cfg(test)]
    pub fn named(&self) -> (Id, u32) {
        (self.handle.id, self.generation)
    }

    /// The client is associated data. Sealed repeatably: one generation is one text, whichever replica says it (D7).
    pub(super) fn seal(&self, sealer: &Sealer) -> String {
        let plain = (&self.handle, self.generation, &self.grant.resource);
        sealer.seal_repeatably(Purpose::RefreshToken, &[&self.grant.client], &plain)
    }

    pub(super) fn open(sealer: &Sealer, client: [u8; 32], text: &str) -> Result<Self, OpenError> {
        let (handle, generation, resource) = sealer.open(Purpose::RefreshToken, &[&client], text)?;
        Ok(Self { handle, generation, grant: Grant { client, resource } })
    }
}
