//! The access token of an MCP client: opaque to it, everything to us.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::sealed::{Id, OpenError, Purpose, Sealer};
use crate::secret::SecretKey;

/// What a client was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// SHA-256 of the client id.
    pub client: [u8; 32],
    /// The canonical URL of the resource that the token is for.
    pub resource: String,
}

/// A token as `/token` answers it.
#[derive(Debug)]
pub struct IssuedToken {
    pub token: String,
    /// Whole seconds; zero when the session is over.
    pub expires_in: Duration,
}

/// The plaintext of an access token. Entra's token is not in it: it stays in the store.
#[derive(Serialize, Deserialize)]
pub(super) struct AccessToken {
    pub id: Id,
    pub secret: SecretKey,
    pub expires: Timestamp,
    pub client: [u8; 32],
}

impl AccessToken {
    /// The resource is associated data: at another route the token is a forgery before anything is looked up (T14).
    pub fn seal(&self, sealer: &Sealer, resource: &str) -> String {
        sealer.seal(Purpose::AccessToken, &[resource.as_bytes()], self)
    }

    pub fn open(sealer: &Sealer, resource: &str, text: &str) -> Result<Self, OpenError> {
        sealer.open(Purpose::AccessToken, &[resource.as_bytes()], text)
    }
}
