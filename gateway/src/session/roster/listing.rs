//! What operators see of a session.

use serde::{Deserialize, Serialize};

use crate::audit::Subject;
use crate::clock::Timestamp;
use crate::one_line::one_line;
use crate::sealed::KeyId;
use crate::session::Grant;

/// Who uses what, through whom and since when. Nothing in it opens anything: with the key ring it can be read in the
/// store, without a secret of the session's owner. All text in it is one visible line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// With which the session is over too.
    pub key: KeyId,
    pub user: ListedUser,
    pub client: ListedClient,
    /// The canonical URL of the resource.
    pub resource: String,
    pub created: Timestamp,
    /// To a minute or so; what a replica has noted last.
    pub last_used: Timestamp,
    /// When it ends at the latest, if nobody ends it before.
    pub ends: Timestamp,
}

/// Tenant and object id are the identity. The names may change, and are as Entra said them when the user signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedUser {
    pub tenant_id: String,
    pub object_id: String,
    pub name: Option<String>,
    /// What the user signs in as.
    pub login: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedClient {
    /// SHA-256 of the client id.
    pub digest: [u8; 32],
    /// Its own word.
    pub name: String,
}

impl Listing {
    pub(in crate::session) fn new(
        key: KeyId,
        user: &entra::User,
        grant: &Grant,
        client_name: &str,
        created: Timestamp,
        ends: Timestamp,
    ) -> Self {
        Self {
            key,
            user: ListedUser {
                tenant_id: user.tenant_id.to_ascii_lowercase(),
                object_id: user.object_id.to_ascii_lowercase(),
                name: user.name.as_deref().and_then(one_line),
                login: user.username.as_deref().and_then(one_line),
            },
            client: ListedClient { digest: grant.client, name: one_line(client_name).unwrap_or_default() },
            resource: grant.resource.clone(),
            created,
            last_used: created,
            ends,
        }
    }
}

impl ListedUser {
    /// As the audit log knows the user.
    pub fn subject(&self) -> Subject {
        Subject::of(&self.tenant_id, &self.object_id)
    }
}

impl ListedClient {
    /// Of the client id, as operators see it: lower-case hexadecimal.
    pub fn id(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
