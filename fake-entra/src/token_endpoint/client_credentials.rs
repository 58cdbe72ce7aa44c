//! `grant_type=client_credentials`: tokens of apps and, for the exchange audience, of identities with a workload.
//! The gateway signs in to Redis by the first; negative tests need both (7000114, 700226, 700231).

use serde_json::{Value, json};

use super::Request;
use crate::client_auth::Caller;
use crate::directory::Realm;
use crate::errors::EntraError;
use crate::scopes::unknown_resource;
use crate::tokens::{self, EXCHANGE_URI, Proof};

/// # Errors
/// 1002012: the scope is not `{resource}/.default`. 500011: unknown resource.
pub(super) fn issue(request: &Request, proof: Proof) -> Result<Value, EntraError> {
    let scope = request.call.form.get("scope").ok_or_else(|| EntraError::missing("scope"))?;
    let named = scope.strip_suffix("/.default").filter(|named| !named.contains(char::is_whitespace));
    let named = named.ok_or_else(|| EntraError::new(1002012))?;
    let world = request.world;
    let (token, lifetime) = match &request.caller {
        Caller::Identity(identity) if named == EXCHANGE_URI => {
            (tokens::identity_token(world, identity, named, true), 86_400)
        }
        Caller::Identity(_) => return Err(EntraError::new(500011)),
        Caller::App(client) => {
            let directory = world.directory().clone();
            let Realm::Tenant(tenant) = &request.realm else { return Err(EntraError::new(50059)) };
            let resource = directory.resource(named).filter(|resource| directory.is_installed(resource, tenant));
            let resource = resource.ok_or_else(|| unknown_resource(&directory, tenant, named))?;
            let lifetime = world.lifetime();
            (tokens::app_token(world, tenant, client, resource, proof, lifetime), lifetime)
        }
    };
    Ok(json!({"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token}))
}
