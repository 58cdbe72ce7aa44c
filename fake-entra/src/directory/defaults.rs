//! The built-in directory. Its ids are fixed, so that documents, tests and people can name them.

use std::collections::BTreeSet;

use super::{App, FederatedCredential, Grant, Identity, Policies, RedirectUri, Seed, TrustedIssuer, User};

/// Microsoft Graph's client id, the same in every tenant.
pub(crate) const GRAPH: &str = "00000003-0000-0000-c000-000000000000";
/// Redis of Azure, likewise.
pub(super) const REDIS: &str = "acca5fbb-b7e4-4009-81f1-37e38fd66d78";
/// The audience of client assertions (public cloud).
const EXCHANGE: &str = "api://AzureADTokenExchange";

const TENANT: &str = "7c0f1e5a-3b52-4c1e-9a57-0d6f2b8e4a10";
const GATEWAY: &str = "1f4b6c2d-90a3-4e77-8c15-5a2e7d3b9c01";
const SERVER: &str = "2a8d3e4f-17b6-4d90-b1c8-6e3f9a5d7b02";
const SINGLE: &str = "3c9e5f60-28c7-4ea1-a2d9-7f40ab6e8c03";

impl Default for Seed {
    fn default() -> Seed {
        Seed {
            tenant_id: TENANT.into(),
            tenant_name: "Contoso".into(),
            domain: "contoso.example".into(),
            tenants: vec![],
            gateway: GATEWAY.into(),
            server: SERVER.into(),
            users: users(),
            apps: vec![gateway(), server(), single(), graph(), redis()],
            identities: identities(),
            grants: vec![everyone(SERVER), everyone(SINGLE)],
            policies: Policies::default(),
        }
    }
}

fn users() -> Vec<User> {
    vec![
        user("a1", "adele", "Adele", "Vance", Some("Retail Manager"), "signs in"),
        user("a2", "alex", "Alex", "Wilber", Some("Marketing Assistant"), "signs in"),
        User {
            upn: "guest_fabrikam.example#EXT#@contoso.example".into(),
            mail: Some("guest@fabrikam.example".into()),
            ..user("a3", "guest", "Gus", "Guest", None, "a guest; signs in")
        },
        User { disabled: true, ..user("a4", "blake", "Blake", "Blocked", None, "account disabled: AADSTS50057") },
    ]
}

fn user(tail: &str, alias: &str, given: &str, surname: &str, job: Option<&str>, note: &str) -> User {
    User {
        oid: format!("5d0c7e91-64fa-4b38-93e2-8b1f4c6a20{tail}"),
        upn: format!("{alias}@contoso.example"),
        name: format!("{given} {surname}"),
        given_name: given.into(),
        surname: surname.into(),
        mail: Some(format!("{alias}@contoso.example")),
        job_title: job.map(Into::into),
        note: note.into(),
        ..User::default()
    }
}

/// The gateway: a confidential web client that owns nothing on Graph.
fn gateway() -> App {
    App {
        redirect_uris: vec![local_callback()],
        federated_credentials: vec![
            identity_credential(GATEWAY_PRINCIPAL),
            cluster_credential("system:serviceaccount:sallyport:sallyport"),
        ],
        ..app(GATEWAY, "Sallyport gateway", 2)
    }
}

/// The MCP server: exposes one scope, lets the gateway use it, and may read the user's profile for everyone.
fn server() -> App {
    App {
        identifier_uris: vec![format!("api://{SERVER}")],
        scopes: vec!["access_as_user".into()],
        optional_claims: vec!["xms_cc".into()],
        federated_credentials: vec![
            identity_credential(SERVER_PRINCIPAL),
            cluster_credential("system:serviceaccount:sallyport:mcp-server"),
        ],
        preauthorized: vec![GATEWAY.into()],
        ..app(SERVER, "Sample MCP server", 2)
    }
}

/// Both in one registration, with tokens of version 1: the shape of the sample.
fn single() -> App {
    App {
        identifier_uris: vec![format!("api://{SINGLE}")],
        redirect_uris: vec![local_callback()],
        federated_credentials: vec![
            identity_credential(GATEWAY_PRINCIPAL),
            cluster_credential("system:serviceaccount:sallyport:sallyport"),
        ],
        ..app(SINGLE, "Gateway and server in one", 1)
    }
}

fn graph() -> App {
    App {
        identifier_uris: vec!["https://graph.microsoft.com".into()],
        scopes: ["User.Read", "User.ReadBasic.All", "Mail.Read"].map(Into::into).into(),
        optional_claims: vec!["xms_cc".into()],
        ..app(GRAPH, "Microsoft Graph", 1)
    }
}

/// Apps and identities sign in there themselves; users are not known to it.
fn redis() -> App {
    App { identifier_uris: vec!["https://redis.azure.com".into()], ..app(REDIS, "Azure Cache for Redis", 2) }
}

fn app(client_id: &str, name: &str, version: u8) -> App {
    App {
        client_id: client_id.into(),
        name: name.into(),
        identifier_uris: vec![],
        redirect_uris: vec![],
        access_token_version: version,
        scopes: vec![],
        optional_claims: vec![],
        secrets: vec![],
        certificates: vec![],
        federated_credentials: vec![],
        group_claims: false,
        assignment_required: false,
        multi_tenant: false,
        preauthorized: vec![],
        known_clients: vec![],
        required_permissions: vec![],
    }
}

const GATEWAY_PRINCIPAL: &str = "6e1d8fa2-750b-4c49-a4f3-9c205d7b3101";
const SERVER_PRINCIPAL: &str = "6e1d8fa2-750b-4c49-a4f3-9c205d7b3102";

fn identities() -> Vec<Identity> {
    let resource = |name: &str| {
        format!(
            "/subscriptions/{TENANT}/resourcegroups/sallyport/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        )
    };
    vec![
        Identity {
            name: "gateway-mi".into(),
            client_id: "7f2e90b3-861c-4d5a-b504-ad316e8c4201".into(),
            principal_id: GATEWAY_PRINCIPAL.into(),
            resource_id: resource("gateway-mi"),
            system_assigned: false,
            federated_credentials: vec![cluster_credential("system:serviceaccount:sallyport:sallyport")],
        },
        Identity {
            name: "mcp-mi".into(),
            client_id: "7f2e90b3-861c-4d5a-b504-ad316e8c4202".into(),
            principal_id: SERVER_PRINCIPAL.into(),
            resource_id: resource("mcp-mi"),
            system_assigned: false,
            federated_credentials: vec![],
        },
    ]
}

fn local_callback() -> RedirectUri {
    RedirectUri { uri: "http://localhost/oauth-callback".into(), platform: Default::default() }
}

fn identity_credential(principal: &str) -> FederatedCredential {
    FederatedCredential { issuer: TrustedIssuer::Tenant, subject: principal.into(), audience: EXCHANGE.into() }
}

fn cluster_credential(subject: &str) -> FederatedCredential {
    FederatedCredential { issuer: TrustedIssuer::Cluster, subject: subject.into(), audience: EXCHANGE.into() }
}

/// An administrator's consent to read the signed-in user's profile.
fn everyone(client: &str) -> Grant {
    Grant {
        client: client.into(),
        resource: GRAPH.into(),
        user: None,
        tenant: None,
        scopes: BTreeSet::from(["User.Read".into()]),
    }
}
