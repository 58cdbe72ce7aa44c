//! Claims challenges that wait for their user (entra.md section 8).
//!
//! An upstream, or Entra itself at a renewal, wants more of a user than a token call can give. The client cannot be told: MCP
//! knows no claims. So they are kept here under who must come and where to, client, user and resource, until that user signs
//! in for both again: what one upstream wants bars the way to no other. Meanwhile the session refuses to be refreshed, or its
//! client would go round in circles.
//!
//! Only the key ring seals them: when they are looked for, nobody holds a secret of the session any more. They open nothing.

use std::time::Duration;

use entra::ClaimsRequest;

use super::roster::Listing;
use super::{Grant, Sessions};
use crate::sealed::Index;
use crate::store::StoreError;

/// How long a challenge waits for its user.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);
/// Of its records in the store.
pub(super) const KIND: &str = "step-up";

impl Sessions {
    /// What must still be asked of this user for this client and resource.
    pub async fn step_up(&self, grant: &Grant, user: &entra::User) -> Result<Option<ClaimsRequest>, StoreError> {
        for index in self.step_up_indexes(&grant.client, &grant.resource, &user.tenant_id, &user.object_id) {
            match self.step_ups.get(index).await {
                Ok(Some(claims)) => return Ok(ClaimsRequest::parse(&claims)),
                Ok(None) => {}
                // It asks for more and gives nothing: who altered it has made us forget a question, which the upstream asks anew.
                Err(cause @ StoreError::Unreadable { .. }) => tracing::error!(%cause, "a claims challenge was altered"),
                Err(cause) => return Err(cause),
            }
        }
        Ok(None)
    }

    /// The user has been asked.
    pub async fn stepped_up(&self, grant: &Grant, user: &entra::User) -> Result<(), StoreError> {
        for index in self.step_up_indexes(&grant.client, &grant.resource, &user.tenant_id, &user.object_id) {
            match self.step_ups.take(index).await {
                Ok(_) | Err(StoreError::Unreadable { .. }) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    pub(super) async fn remember_step_up(&self, listing: &Listing, claims: &ClaimsRequest) -> Result<(), StoreError> {
        let (client, user) = (&listing.client.digest, &listing.user);
        match self.step_up_indexes(client, &listing.resource, &user.tenant_id, &user.object_id).first() {
            Some(index) => self.step_ups.put(*index, &claims.expose().to_owned(), LIFETIME).await,
            None => Err(StoreError::Unavailable("the ring has no key".into())),
        }
    }

    /// Under each key of the ring, the active one's first.
    fn step_up_indexes(&self, client: &[u8; 32], resource: &str, tenant_id: &str, object_id: &str) -> Vec<Index> {
        let (tenant_id, object_id) = (tenant_id.to_ascii_lowercase(), object_id.to_ascii_lowercase());
        self.sealer.indexes_of(KIND, &[client, resource.as_bytes(), tenant_id.as_bytes(), object_id.as_bytes()])
    }
}
