//! Sessions: from a bearer token to what may go upstream.
//!
//! A session begins when Entra has signed a user in, and holds Entra's access token under a key that needs both our ring
//! and the secret inside the client's token. [`Sessions::admit`] is the hot path, and the only maker of an [`Admitted`].

mod admitted;
mod token;

use std::sync::Arc;
use std::time::Duration;

use entra::SignIn;
use serde::{Deserialize, Serialize};

pub use admitted::{Admitted, Denied};
pub use token::{Grant, IssuedToken};

use crate::clock::{Clock, Timestamp};
use crate::sealed::{Id, Index, Sealer};
use crate::secret::SecretKey;
use crate::store::{Store, StoreError, Table};
use token::AccessToken;

/// Taken off Entra's lifetime, so that a token of ours never outlives the one it stands for.
const ENTRA_MARGIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a client's access token lives at most.
    pub access_lifetime: Duration,
    /// How long a session lives at most, whatever Entra says.
    pub session_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { access_lifetime: Duration::from_secs(3600), session_max: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// Begins, admits and ends sessions.
pub struct Sessions {
    settings: Settings,
    sealer: Sealer,
    clock: Clock,
    table: Table<Record>,
}

/// What opens a session: its name and the secret that its record is sealed with. Travels only inside sealed values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handle {
    id: Id,
    secret: SecretKey,
    expires: Timestamp,
}

/// A session at rest.
#[derive(Serialize, Deserialize)]
struct Record {
    entra_token: String,
    tenant_id: String,
    object_id: String,
}

impl Drop for Record {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.entra_token);
    }
}

impl Sessions {
    pub fn new(settings: Settings, store: Arc<dyn Store>, sealer: Sealer, clock: Clock) -> Self {
        let table = Table::new(store, sealer.clone(), clock.clone(), "session");
        Self { settings, sealer, clock, table }
    }

    /// Keeps what Entra gave for as long as it is worth something.
    pub async fn begin(&self, sign_in: &SignIn) -> Result<Handle, StoreError> {
        let record = Record {
            entra_token: sign_in.access_token.token.expose().to_owned(),
            tenant_id: sign_in.user.tenant_id.clone(),
            object_id: sign_in.user.object_id.clone(),
        };
        let lifetime = sign_in.access_token.expires_in.saturating_sub(ENTRA_MARGIN).min(self.settings.session_max);
        let expires = self.clock.now().after(lifetime);
        let handle = Handle { id: self.sealer.new_id(), secret: SecretKey::random(), expires };
        self.table.put(&handle.id, &handle.secret, &record, lifetime).await?;
        Ok(handle)
    }

    /// The access token for a client that was granted the use of a session.
    pub fn issue(&self, handle: &Handle, grant: &Grant) -> IssuedToken {
        let now = self.clock.now();
        let expires_in = handle.expires.remaining(now).min(self.settings.access_lifetime);
        let token = AccessToken {
            id: handle.id,
            secret: handle.secret.clone(),
            expires: now.after(expires_in),
            client: grant.client,
        };
        IssuedToken { token: token.seal(&self.sealer, &grant.resource), expires_in }
    }

    /// What the store calls this session; enough to end it, not to open it.
    pub fn index(&self, handle: &Handle) -> Option<Index> {
        self.sealer.index(&handle.id)
    }

    /// Ends a session: the very next request with a token of it is refused.
    pub async fn end(&self, session: Index) -> Result<(), StoreError> {
        self.table.remove(session).await
    }
}

#[cfg(test)]
mod tests;
