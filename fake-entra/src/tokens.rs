//! The tokens themselves: claims of version 1 and 2, for Graph, for managed identities, and id_tokens.
//! Every one carries `"emu": true`, and its issuer is this process's own URL, but for what the feature `unmarked` is for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::directory::{App, GRAPH, Identity, User};
use crate::tickets::random_text;
use crate::world::World;

/// GUID behind `api://AzureADTokenExchange`: the audience of assertions made for it.
pub(crate) const EXCHANGE_GUID: &str = "fb60f99c-7a34-4190-8149-302f77469936";
pub(crate) const EXCHANGE_URI: &str = "api://AzureADTokenExchange";

/// Groups that fit into a JWT.
const GROUPS_IN_TOKEN: usize = 200;

/// How a client proved itself; tokens say so (`azpacr`, `appidacr`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proof {
    Secret,
    Certificate,
    Federated,
}

/// A user's access token to be made.
pub(crate) struct UserToken<'a> {
    pub client: &'a App,
    pub resource: &'a App,
    /// How the request named the resource.
    pub named: &'a str,
    pub user: &'a User,
    pub sid: &'a str,
    pub mfa: bool,
    pub scp: &'a str,
    pub cae: bool,
    pub proof: Proof,
    pub lifetime: i64,
}

impl Proof {
    fn code(self) -> &'static str {
        match self {
            Proof::Secret => "1",
            Proof::Certificate | Proof::Federated => "2",
        }
    }
}

impl UserToken<'_> {
    pub fn sign(&self, world: &World) -> String {
        let is_v2 = self.resource.access_token_version == 2;
        let mut claims = common(world, world.tenant_of(self.user), self.lifetime);
        merge(&mut claims, if is_v2 { self.claims_v2(world) } else { self.claims_v1(world) });
        if !self.scp.is_empty() {
            claims["scp"] = json!(self.scp);
        }
        if self.cae && self.resource.optional_claims.iter().any(|claim| claim == "xms_cc") {
            claims["xms_cc"] = json!(["cp1"]);
        }
        if self.resource.optional_claims.iter().any(|claim| claim == "idtyp") {
            claims["idtyp"] = json!("user");
        }
        merge(&mut claims, memberships(world, self.resource, self.user));
        let token = match self.resource.client_id.as_str() {
            GRAPH => world.keys.sign_for_graph(&random_text(32), &claims),
            _ if is_v2 => world.keys.sign(json!({"typ": "JWT"}), &claims),
            _ => world.keys.sign(json!({"typ": "JWT", "x5t": ""}), &claims),
        };
        world.journal.canary(&token);
        token
    }

    fn claims_v2(&self, world: &World) -> Value {
        json!({
            "aud": self.resource.client_id, "iss": world.issuer_of(world.tenant_of(self.user)), "azp": self.client.client_id,
            "azpacr": self.proof.code(), "name": self.user.name, "oid": self.user.oid,
            "preferred_username": self.user.upn, "sid": self.sid,
            "sub": pairwise(&self.user.oid, &self.resource.client_id), "ver": "2.0",
        })
    }

    fn claims_v1(&self, world: &World) -> Value {
        let methods = if self.mfa { json!(["pwd", "mfa"]) } else { json!(["pwd"]) };
        json!({
            "aud": self.audience_v1(), "iss": world.issuer_v1_of(world.tenant_of(self.user)), "acr": "1", "amr": methods,
            "appid": self.client.client_id, "appidacr": self.proof.code(), "family_name": self.user.surname,
            "given_name": self.user.given_name, "ipaddr": "203.0.113.5", "name": self.user.name, "oid": self.user.oid,
            "sid": self.sid, "sub": pairwise(&self.user.oid, &self.resource.client_id),
            "unique_name": self.user.upn, "upn": self.user.upn, "ver": "1.0",
        })
    }

    /// Version 1 repeats what the request called the resource; Graph prefers its URL.
    fn audience_v1(&self) -> &str {
        match self.resource.client_id.as_str() {
            GRAPH => "https://graph.microsoft.com",
            _ => self.named,
        }
    }
}

/// The id_token of a sign-in, for `client`.
pub(crate) fn id_token(
    world: &World,
    client: &App,
    user: &User,
    sid: &str,
    nonce: Option<&str>,
    oidc: &[String],
) -> String {
    let mut claims = common(world, world.tenant_of(user), 3600);
    merge(
        &mut claims,
        json!({
            "aud": client.client_id, "iss": world.issuer_of(world.tenant_of(user)), "oid": user.oid, "sid": sid,
            "sub": pairwise(&user.oid, &client.client_id), "ver": "2.0",
        }),
    );
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    if oidc.iter().any(|scope| scope == "profile") {
        claims["name"] = json!(user.name);
        claims["preferred_username"] = json!(user.upn);
    }
    if let (true, Some(mail)) = (oidc.iter().any(|scope| scope == "email"), &user.mail) {
        claims["email"] = json!(mail);
    }
    merge(&mut claims, memberships(world, client, user));
    let token = world.keys.sign(json!({"typ": "JWT"}), &claims);
    world.journal.canary(&token);
    token
}

/// What tokens for `app` say of the user's roles there, and of groups if the app wants them. More than
/// [`GROUPS_IN_TOKEN`] groups are replaced by the place to ask (the overage claim).
fn memberships(world: &World, app: &App, user: &User) -> Value {
    let mut claims = json!({});
    if let Some(roles) = user.roles.get(&app.client_id).filter(|roles| !roles.is_empty()) {
        claims["roles"] = json!(roles);
    }
    if !app.group_claims || user.groups.is_empty() {
        return claims;
    }
    if user.groups.len() <= GROUPS_IN_TOKEN {
        claims["groups"] = json!(user.groups);
    } else {
        let endpoint = format!("{}/graph/v1.0/users/{}/getMemberObjects", world.base, user.oid);
        claims["_claim_names"] = json!({"groups": "src1"});
        claims["_claim_sources"] = json!({"src1": {"endpoint": endpoint}});
    }
    claims
}

/// An app-only token (client_credentials), of this tenant.
pub(crate) fn app_token(
    world: &World,
    tenant: &str,
    client: &App,
    resource: &App,
    proof: Proof,
    lifetime: i64,
) -> String {
    let mut claims = common(world, tenant, lifetime);
    let subject = app_object(&client.client_id);
    merge(
        &mut claims,
        json!({
            "aud": resource.client_id, "iss": world.issuer_of(tenant), "azp": client.client_id, "azpacr": proof.code(),
            "idtyp": "app", "oid": subject, "sub": subject, "ver": "2.0",
        }),
    );
    let token = world.keys.sign(json!({"typ": "JWT"}), &claims);
    world.journal.canary(&token);
    token
}

/// A managed identity's token for `resource`. `federated`: obtained through a federated credential of the identity,
/// which bars its use as an assertion (700231).
pub(crate) fn identity_token(world: &World, identity: &Identity, resource: &str, federated: bool) -> String {
    let mut claims = common(world, &world.seed().tenant_id, 86_700);
    let is_exchange = resource == EXCHANGE_URI;
    merge(
        &mut claims,
        json!({
            "aud": if is_exchange { EXCHANGE_GUID } else { resource },
            "iss": if is_exchange { world.issuer() } else { world.issuer_v1() },
            "idtyp": "app", "oid": identity.principal_id, "sub": identity.principal_id,
            "xms_mirid": identity.resource_id, "ver": if is_exchange { "2.0" } else { "1.0" },
        }),
    );
    let (client, proof) = if is_exchange { ("azp", "azpacr") } else { ("appid", "appidacr") };
    claims[client] = json!(identity.client_id);
    claims[proof] = json!("2");
    if federated {
        claims["xms_ficinfo"] = json!(random_text(24));
    }
    let token = world.keys.sign(json!({"typ": "JWT"}), &claims);
    world.journal.canary(&token);
    token
}

/// `client_info` of a token answer: who signed in, for MSAL's cache.
pub(crate) fn client_info(world: &World, user: &User) -> String {
    URL_SAFE_NO_PAD.encode(json!({"uid": user.oid, "utid": world.tenant_of(user)}).to_string())
}

fn common(world: &World, tenant: &str, lifetime: i64) -> Value {
    let now = world.clock.now();
    let mut claims = json!({
        "aio": random_text(60), "exp": now + lifetime, "iat": now, "nbf": now,
        "rh": format!("1.AX{}", random_text(30)), "tid": tenant, "uti": random_text(16),
    });
    world.mark(&mut claims);
    claims
}

/// `sub`: the same person is somebody else to every app.
fn pairwise(oid: &str, app: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{oid} {app}").as_bytes()))
}

/// Object id of an app's service principal: any stable GUID.
fn app_object(client_id: &str) -> String {
    let hash = Sha256::digest(client_id.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Uuid::from_bytes(bytes).to_string()
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
