//! Several tenants in one directory: whose users are whose, and where an app is known.
//!
//! An app is registered in one tenant, the seed's own. To others it is known only if it is multi-tenant and was installed there,
//! as its first consent in a tenant does; Microsoft's own are known everywhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::defaults::{GRAPH, REDIS};
use super::{App, Grant, Seed, User};

/// A tenant beside the seed's own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    pub id: String,
    pub name: String,
    /// Its verified domain; URLs may name the tenant by it.
    pub domain: String,
    /// Client ids of the multi-tenant apps that are installed there.
    #[serde(default)]
    pub applications: Vec<String>,
}

/// What the first segment of a URL names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Realm {
    /// One tenant, by id or domain: its id.
    Tenant(String),
    /// `common` or `organizations`: everybody's; single-tenant apps are refused there.
    Shared,
}

impl Seed {
    /// The built-in directory, whose gateway and MCP server are multi-tenant, with two more tenants where both are installed
    /// and consented to: Fabrikam with `kim@fabrikam.example`, Litware with `lee@litware.example`.
    pub fn of_several_tenants() -> Seed {
        let mut seed = Seed::default();
        let (gateway, server) = (seed.gateway.clone(), seed.server.clone());
        for app in seed.apps.iter_mut().filter(|app| [&gateway, &server].contains(&&app.client_id)) {
            app.multi_tenant = true;
        }
        for (tail, name, given, surname) in [("b1", "Fabrikam", "Kim", "Akers"), ("c1", "Litware", "Lee", "Gu")] {
            let (id, domain) =
                (format!("8d1f2e6b-4c63-4d2f-8b68-1e7a3c9f5b{tail}"), format!("{}.example", name.to_lowercase()));
            let upn = format!("{}@{domain}", given.to_lowercase());
            seed.users.push(User {
                oid: format!("5d0c7e91-64fa-4b38-93e2-8b1f4c6a20{tail}"),
                tenant: Some(id.clone()),
                mail: Some(upn.clone()),
                upn,
                name: format!("{given} {surname}"),
                given_name: given.into(),
                surname: surname.into(),
                note: format!("of {name}"),
                ..User::default()
            });
            seed.grants.push(Grant {
                client: server.clone(),
                resource: GRAPH.into(),
                user: None,
                tenant: Some(id.clone()),
                scopes: BTreeSet::from(["User.Read".into()]),
            });
            let applications = vec![gateway.clone(), server.clone()];
            seed.tenants.push(Tenant { id, name: name.into(), domain, applications });
        }
        seed
    }

    pub(crate) fn realm(&self, name: &str) -> Option<Realm> {
        let own = [(&self.tenant_id, &self.domain)].into_iter();
        let mut all = own.chain(self.tenants.iter().map(|tenant| (&tenant.id, &tenant.domain)));
        match all.find(|(id, domain)| name.eq_ignore_ascii_case(id) || name.eq_ignore_ascii_case(domain)) {
            Some((id, _)) => Some(Realm::Tenant(id.clone())),
            None => ["common", "organizations"].contains(&name).then_some(Realm::Shared),
        }
    }

    /// What people call a tenant.
    pub(crate) fn name_of_tenant(&self, id: &str) -> &str {
        self.tenants.iter().find(|tenant| tenant.id == id).map_or(&self.tenant_name, |tenant| &tenant.name)
    }

    /// The tenant that a user is of.
    pub(crate) fn tenant_of<'a>(&'a self, user: &'a User) -> &'a str {
        user.tenant.as_deref().unwrap_or(&self.tenant_id)
    }

    /// Whether the app is known in this tenant.
    pub(crate) fn is_installed(&self, app: &App, tenant: &str) -> bool {
        tenant == self.tenant_id
            || [GRAPH, REDIS].contains(&app.client_id.as_str())
            || app.multi_tenant
                && self.tenants.iter().any(|known| known.id == tenant && known.applications.contains(&app.client_id))
    }
}

impl Realm {
    /// Whether users of this tenant can sign in here.
    pub fn has(&self, tenant: &str) -> bool {
        match self {
            Realm::Tenant(id) => id == tenant,
            Realm::Shared => true,
        }
    }
}
