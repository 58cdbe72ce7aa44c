//! The directory: tenants, users, applications, managed identities and grants of consent.
//!
//! A [`Seed`] is both what a caller hands in and what the running stand-in changes (a user disabled, a consent given);
//! `reset` puts the caller's copy back. Nothing is written to disk.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

mod defaults;
mod tenants;

pub(crate) use defaults::GRAPH;
pub(crate) use tenants::Realm;
pub use tenants::Tenant;

/// What the stand-in knows when it starts. `Seed::default()` is a tenant with two apps (gateway and MCP server), the
/// single app of the one-registration shape, Microsoft's Graph and Redis, four users and two managed identities. A file
/// (JSON or TOML) that leaves a part out gets the default's.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    pub tenant_id: String,
    pub tenant_name: String,
    /// The tenant's verified domain; URLs may name the tenant by it.
    pub domain: String,
    /// Others beside it. Apps, identities and policies are the first one's.
    pub tenants: Vec<Tenant>,
    /// The app whose client id `gateway_client_id` answers.
    pub gateway: String,
    /// The app whose client id `server_client_id` answers.
    pub server: String,
    pub users: Vec<User>,
    pub apps: Vec<App>,
    pub identities: Vec<Identity>,
    pub grants: Vec<Grant>,
    pub policies: Policies,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub oid: String,
    /// Id of the tenant; without it the seed's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub upn: String,
    pub name: String,
    pub given_name: String,
    pub surname: String,
    pub mail: Option<String>,
    pub job_title: Option<String>,
    #[serde(default)]
    pub disabled: bool,
    #[serde(default)]
    pub business_phones: Vec<String>,
    #[serde(default)]
    pub mobile_phone: Option<String>,
    /// Conditional access asks for a second factor before any token is issued.
    #[serde(default)]
    pub mfa_required: bool,
    /// Object ids of the groups this user is in; apps with `group_claims` see them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// App roles the user is assigned, by the client id of the app that has them.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// One line for people who choose a user.
    #[serde(default)]
    pub note: String,
}

/// An app registration together with its service principal.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    pub client_id: String,
    pub name: String,
    #[serde(default)]
    pub identifier_uris: Vec<String>,
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// `requestedAccessTokenVersion`: 1 or 2. It decides the shape of tokens **for** this app.
    pub access_token_version: u8,
    /// Delegated permissions this app exposes.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Optional claims of tokens for this app; `xms_cc` and `idtyp` have an effect.
    #[serde(default)]
    pub optional_claims: Vec<String>,
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// Certificates in PEM, by whose keys the app may sign assertions.
    #[serde(default)]
    pub certificates: Vec<String>,
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredential>,
    /// Tokens for this app say which groups the user is in, or, from 201 on, only where to ask.
    #[serde(default)]
    pub group_claims: bool,
    /// Only users with one of the app's roles may sign in to it (AADSTS50105).
    #[serde(default)]
    pub assignment_required: bool,
    /// Users of other tenants may sign in, where it is installed.
    #[serde(default)]
    pub multi_tenant: bool,
    /// Clients that may use every scope of this app without consent.
    #[serde(default)]
    pub preauthorized: Vec<String>,
    /// Clients whose users consent to `required_permissions` along with `.default` of this app.
    #[serde(default)]
    pub known_clients: Vec<String>,
    /// What this app needs of others, as its registration lists it.
    #[serde(default)]
    pub required_permissions: Vec<RequiredPermission>,
}

/// Scopes of one resource.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RequiredPermission {
    /// Client id of the resource.
    pub resource: String,
    pub scopes: BTreeSet<String>,
}

/// A client secret: its value, or the value and when it expires (seconds since the epoch).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Secret {
    Lasting(String),
    Expiring { value: String, expires: i64 },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedirectUri {
    pub uri: String,
    #[serde(default)]
    pub platform: Platform,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    #[default]
    Web,
    Spa,
}

/// Trust of an app in somebody else's tokens. All three values are compared exactly.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    pub issuer: TrustedIssuer,
    pub subject: String,
    pub audience: String,
}

/// The stand-in's own issuers have no fixed URL (the port is chosen at start), so a seed names them by role.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustedIssuer {
    /// This tenant: tokens of managed identities.
    Tenant,
    /// The stand-in's cluster: service-account tokens.
    Cluster,
    /// Any other issuer. The stand-in fetches nothing from outside, so its keys are never obtainable.
    Url(String),
}

/// A managed identity of the machine whose IMDS this is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub name: String,
    pub client_id: String,
    pub principal_id: String,
    pub resource_id: String,
    /// The machine's own: what a request that names no identity gets. The others are user-assigned.
    #[serde(default)]
    pub system_assigned: bool,
    /// Workload identity on the identity itself: what AADSTS700231 is about.
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredential>,
}

/// Consent: `client` may use `scopes` of `resource`, for one user or (no `user`) for all of a tenant by an administrator.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub client: String,
    pub resource: String,
    #[serde(default)]
    pub user: Option<String>,
    /// Id of the tenant whose administrator gave it; without it the seed's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub scopes: BTreeSet<String>,
}

/// The switches of the tenant.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    pub resource: ResourceMode,
    /// Refuse code verifiers outside RFC 7636's 43 to 128 characters.
    pub strict_pkce: bool,
    /// Kill a refresh token once it was used. Entra does not; for negative tests.
    pub revoke_old_refresh_tokens: bool,
    /// Seconds; absent: random between 60 and 90 minutes, as Entra does.
    pub expires_in: Option<i64>,
    /// Seed of that randomness.
    pub random_seed: u64,
    /// Codes of 60 instead of about 1200 characters.
    pub short_codes: bool,
    /// Separate the parts of an error description by CRLF, as older Entra did.
    pub crlf_errors: bool,
    /// Sign this user in without a page, always.
    pub auto_login: Option<String>,
    pub conditional_access: Vec<ConditionalAccess>,
}

/// A policy of conditional access.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalAccess {
    /// What a claims challenge calls it (`capolids`).
    pub id: String,
    /// Object ids or user principal names; none: everybody.
    #[serde(default)]
    pub users: Vec<String>,
    /// Client ids of resources; none: every resource.
    #[serde(default)]
    pub resources: Vec<String>,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// AADSTS53003: nothing the user can do.
    Block,
    /// AADSTS50076 with a claims challenge, until a sign-in answered it.
    StepUp,
}

/// What `resource` on a v2 request leads to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceMode {
    /// AADSTS9010010 as a redirect unless it is an identifier URI of the app all scopes belong to.
    #[default]
    Enforce,
    /// The same, as a page.
    EnforcePage,
    /// AADSTS901002 always.
    Legacy,
    Ignore,
}

impl Default for Policies {
    fn default() -> Policies {
        Policies {
            resource: ResourceMode::Enforce,
            strict_pkce: true,
            revoke_old_refresh_tokens: false,
            expires_in: None,
            random_seed: 1,
            short_codes: false,
            crlf_errors: false,
            auto_login: None,
            conditional_access: vec![],
        }
    }
}

/// What a person needs to choose a user.
#[derive(Clone, Debug, Serialize)]
pub struct UserSummary {
    pub upn: String,
    pub name: String,
    pub note: String,
}

impl Seed {
    pub fn app(&self, client_id: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.client_id.eq_ignore_ascii_case(client_id))
    }

    pub fn user(&self, oid: &str) -> Option<&User> {
        self.users.iter().find(|user| user.oid == oid)
    }

    pub fn user_named(&self, upn: &str) -> Option<&User> {
        self.users.iter().find(|user| user.upn.eq_ignore_ascii_case(upn))
    }

    pub fn user_mut(&mut self, oid_or_upn: &str) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.oid == oid_or_upn || user.upn.eq_ignore_ascii_case(oid_or_upn))
    }

    pub fn identity(&self, client_id: &str) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.client_id.eq_ignore_ascii_case(client_id))
    }

    /// The app a scope's prefix or an audience means: its client id or one of its identifier URIs, exactly.
    pub fn resource(&self, name: &str) -> Option<&App> {
        self.apps
            .iter()
            .find(|app| app.client_id.eq_ignore_ascii_case(name) || app.identifier_uris.iter().any(|uri| uri == name))
    }

    /// The scopes of `resource` that `client` may use for `user`, in the order the resource lists them.
    pub fn granted(&self, client: &App, resource: &App, user: &str) -> Vec<String> {
        if resource.preauthorized.contains(&client.client_id) {
            return resource.scopes.clone();
        }
        let of_tenant = self.user(user).map_or(self.tenant_id.as_str(), |user| self.tenant_of(user));
        let by_administrator = |grant: &Grant| grant.tenant.as_deref().unwrap_or(&self.tenant_id) == of_tenant;
        let granted = |scope: &&String| {
            self.grants.iter().any(|grant| {
                grant.client == client.client_id
                    && grant.resource == resource.client_id
                    && grant.user.as_deref().map_or_else(|| by_administrator(grant), |oid| oid == user)
                    && grant.scopes.contains(*scope)
            })
        };
        resource.scopes.iter().filter(granted).cloned().collect()
    }

    /// May this user sign in to that app at all?
    pub(crate) fn assigned(&self, app: &App, user: &User) -> bool {
        !app.assignment_required || user.roles.get(&app.client_id).is_some_and(|roles| !roles.is_empty())
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Secret {
        Secret::Lasting(value.into())
    }
}

impl Secret {
    pub(crate) fn value(&self) -> &str {
        match self {
            Secret::Lasting(value) | Secret::Expiring { value, .. } => value,
        }
    }

    pub(crate) fn is_expired(&self, now: i64) -> bool {
        matches!(self, Secret::Expiring { expires, .. } if *expires <= now)
    }
}

impl App {
    /// Entra ignores the port of `http://localhost` and compares everything else exactly, case included.
    pub fn redirect(&self, asked: &str) -> Option<&RedirectUri> {
        self.redirect_uris
            .iter()
            .find(|known| known.uri == asked || without_local_port(asked) == Some(known.uri.clone()))
    }
}

fn without_local_port(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("http://localhost:")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, path) = rest.split_at(digits);
    port.parse::<u16>().ok()?;
    (path.is_empty() || path.starts_with('/')).then(|| format!("http://localhost{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_ignores_the_port_and_nothing_else() {
        let seed = Seed::default();
        let app = seed.app(&seed.gateway).unwrap();
        for good in ["http://localhost/oauth-callback", "http://localhost:8080/oauth-callback"] {
            assert!(app.redirect(good).is_some(), "{good}");
        }
        for bad in [
            "http://localhost:8080/OAuth-callback",
            "http://localhost:8080/oauth-callback/",
            "http://localhost:8080@evil.example/oauth-callback",
            "http://localhost:99999/oauth-callback",
            "https://localhost:8080/oauth-callback",
            "http://127.0.0.1:8080/oauth-callback",
            "http://localhost:8080/oauth-callback?x=1",
        ] {
            assert!(app.redirect(bad).is_none(), "{bad}");
        }
    }
}
