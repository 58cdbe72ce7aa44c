//! The `scope` parameter: which resources and permissions it names, and what of that is granted.

use crate::directory::{App, GRAPH, Grant, Seed, User};
use crate::errors::EntraError;

const OIDC: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// A `scope` that makes sense in this directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requested {
    pub oidc: Vec<String>,
    pub resources: Vec<Permissions>,
}

/// What is asked of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Permissions {
    /// Client id of the resource.
    pub resource: String,
    /// How the request named it: it may decide the token's audience.
    pub named: String,
    /// Empty with `.default`.
    pub scopes: Vec<String>,
    pub default: bool,
}

impl Requested {
    /// # Errors
    /// 70011 malformed or mixed with `.default`, 500011 unknown resource, 650053 unknown scope.
    pub fn parse(directory: &Seed, client: &App, scope: &str) -> Result<Requested, EntraError> {
        let mut requested = Requested::default();
        for word in scope.split_ascii_whitespace() {
            if OIDC.contains(&word) {
                if !requested.oidc.iter().any(|known| known == word) {
                    requested.oidc.push(word.into());
                }
                continue;
            }
            let (named, name) = word.rsplit_once('/').unwrap_or((GRAPH, word));
            let resource =
                directory.resource(named).ok_or_else(|| unknown_resource(directory, &directory.tenant_id, named))?;
            if name != ".default" && !resource.scopes.iter().any(|known| known == name) {
                return Err(EntraError::new(650053).saying(format!(
                    "The application '{}' asked for scope '{name}' that doesn't exist on the resource '{}'. Contact the app vendor.",
                    client.name, resource.client_id
                )));
            }
            requested.add(resource, named, name);
        }
        match requested.resources.iter().find(|asked| asked.default && !asked.scopes.is_empty()) {
            Some(_) => Err(EntraError::new(70011).saying(format!(
                "The provided request must include a 'scope' input parameter. The provided value for the input parameter \
                 'scope' is not valid. The scope {scope} is not valid. .default scope can't be combined with resource-specific scopes."
            ))),
            None => Ok(requested),
        }
    }

    /// The one resource of a token call; none named means Graph.
    ///
    /// # Errors
    /// 28000 with several.
    pub fn single(&self, scope: &str) -> Result<Permissions, EntraError> {
        match self.resources.as_slice() {
            [] => Ok(Permissions { resource: GRAPH.into(), named: GRAPH.into(), scopes: vec![], default: false }),
            [one] => Ok(one.clone()),
            _ => Err(EntraError::new(28000).saying(format!(
                "Provided value for the input parameter scope is not valid because it contains more than one resource. \
                 Scope {scope} is not valid."
            ))),
        }
    }

    fn add(&mut self, resource: &App, named: &str, name: &str) {
        let at = self.resources.iter().position(|known| known.resource == resource.client_id).unwrap_or_else(|| {
            self.resources.push(Permissions {
                resource: resource.client_id.clone(),
                named: named.into(),
                scopes: vec![],
                default: false,
            });
            self.resources.len() - 1
        });
        let asked = &mut self.resources[at];
        match name {
            ".default" => asked.default = true,
            name if !asked.scopes.iter().any(|known| known == name) => asked.scopes.push(name.into()),
            _ => {}
        }
    }
}

impl Permissions {
    /// What of this the user or an administrator has yet to consent to. OIDC scopes need no consent here.
    pub fn unconsented(&self, directory: &Seed, client: &App, user: &str) -> Vec<String> {
        let Some(resource) = directory.app(&self.resource) else { return vec![] };
        if resource.client_id == client.client_id {
            return vec![];
        }
        let granted = directory.granted(client, resource, user);
        match self.default {
            true if granted.is_empty() => resource.scopes.clone(),
            true => vec![],
            false => self.scopes.iter().filter(|scope| !granted.contains(scope)).cloned().collect(),
        }
    }

    /// The consents this needs: of the user to the client, and, where the resource knows the client and `.default` is
    /// asked for, to what the resource itself requires of others (`knownClientApplications`: one page for both).
    pub fn grants_due(&self, directory: &Seed, client: &App, user: &str) -> Vec<Grant> {
        let grant = |client: &App, resource: &str, scopes: Vec<String>| Grant {
            client: client.client_id.clone(),
            resource: resource.into(),
            user: Some(user.into()),
            tenant: None,
            scopes: scopes.into_iter().collect(),
        };
        let mut due = vec![grant(client, &self.resource, self.unconsented(directory, client, user))];
        let resource = directory.app(&self.resource).filter(|app| app.known_clients.contains(&client.client_id));
        if let Some(resource) = resource.filter(|_| self.default) {
            due.extend(resource.required_permissions.iter().filter_map(|required| {
                let granted = directory.granted(resource, directory.app(&required.resource)?, user);
                let missing = required.scopes.iter().filter(|scope| !granted.contains(scope)).cloned().collect();
                Some(grant(resource, &required.resource, missing))
            }));
        }
        due.retain(|grant| !grant.scopes.is_empty());
        due
    }

    /// An app may ask for a token for itself only by its GUID, and only if it may read profiles on Graph.
    ///
    /// # Errors
    /// 90009, 90008.
    pub fn check_self(&self, directory: &Seed, client: &App, user: &str) -> Result<(), EntraError> {
        if self.resource != client.client_id {
            return Ok(());
        }
        if !self.named.eq_ignore_ascii_case(&client.client_id) {
            return Err(EntraError::new(90009).saying(format!(
                "Application '{0}'({1}) is requesting a token for itself. This scenario is supported only if resource is \
                 specified using the GUID based App Identifier.",
                client.client_id, client.name
            )));
        }
        let graph = directory.app(GRAPH).map(|graph| directory.granted(client, graph, user)).unwrap_or_default();
        if graph.iter().any(|scope| scope == "User.Read") { Ok(()) } else { Err(EntraError::new(90008)) }
    }
}

/// 65001, which names the application people have to consent to.
pub(crate) fn not_consented(client: &App) -> EntraError {
    EntraError::new(65001).saying(format!(
        "The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an interactive \
         authorization request for this user and resource.",
        client.client_id, client.name
    ))
}

/// 50020, which names the user, the tenant and the application.
pub(crate) fn foreign(directory: &Seed, issuer: &str, tenant: &str, app: &App, user: &User) -> EntraError {
    EntraError::new(50020).saying(format!(
        "User account '{}' from identity provider '{issuer}' does not exist in tenant '{}' and cannot access the application \
         '{}'({}) in that tenant. The account needs to be added as an external user in the tenant first. Sign out and sign in \
         again with a different Azure Active Directory user account.",
        user.upn,
        directory.name_of_tenant(tenant),
        app.client_id,
        app.name
    ))
}

/// 50105, which names the user and the application.
pub(crate) fn not_assigned(app: &App, user: &User) -> EntraError {
    EntraError::new(50105).saying(format!(
        "Your administrator has configured the application {} ('{}') to block users unless they are specifically granted \
         ('assigned') access to the application. The signed in user '{}' is blocked because they are not a direct member of \
         a group with access, nor had access directly assigned by an administrator.",
        app.name, app.client_id, user.upn
    ))
}

/// 500011, which names the tenant where the resource is not known.
pub(crate) fn unknown_resource(directory: &Seed, tenant: &str, named: &str) -> EntraError {
    EntraError::new(500011).saying(format!(
        "The resource principal named {named} was not found in the tenant named {}. This can happen if the application has \
         not been installed by the administrator of the tenant or consented to by any user in the tenant.",
        directory.name_of_tenant(tenant)
    ))
}
