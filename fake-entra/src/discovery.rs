//! Documents: OpenID configuration of both versions, instance discovery, keys.
//!
//! What is absent is as much part of them as what is there: no `code_challenge_methods_supported`, no
//! `registration_endpoint`, no RFC 8414 path, and keys without `alg`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::authorize::known_tenant;
use crate::call::Call;
use crate::directory::Realm;
use crate::errors::EntraError;
use crate::world::World;

/// GET `/{tenant}/v2.0/.well-known/openid-configuration`.
pub(crate) async fn version_2(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Response {
    document(&world, &tenant, &call, |named, issuer_tenant| {
        let base = &world.base;
        let mut document = shared(base, named, "/oauth2/v2.0");
        document["issuer"] = json!(format!("{base}/{issuer_tenant}/v2.0"));
        document["jwks_uri"] = json!(format!("{base}/{named}/discovery/v2.0/keys"));
        document["device_authorization_endpoint"] = json!(format!("{base}/{named}/oauth2/v2.0/devicecode"));
        document["userinfo_endpoint"] = json!(format!("{base}/graph/oidc/userinfo"));
        document["scopes_supported"] = json!(["openid", "profile", "email", "offline_access"]);
        document["request_uri_parameter_supported"] = json!(false);
        document
    })
}

/// GET `/{tenant}/.well-known/openid-configuration`.
pub(crate) async fn version_1(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Response {
    document(&world, &tenant, &call, |named, issuer_tenant| {
        let base = &world.base;
        let mut document = shared(base, named, "/oauth2");
        document["issuer"] = json!(format!("{base}/{issuer_tenant}/"));
        document["jwks_uri"] = json!(format!("{base}/{named}/discovery/keys"));
        document["microsoft_multi_refresh_token"] = json!(true);
        document
    })
}

/// GET `/{tenant}/discovery/v2.0/keys` and `/{tenant}/discovery/keys`.
pub(crate) async fn keys(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Response {
    let known = known_tenant(&world.directory(), &tenant);
    match known {
        Ok(_) => Json(world.keys.document(Some(&format!("{}/{{tenantid}}/v2.0", world.base)))).into_response(),
        Err(error) => error.answer(&world, &call),
    }
}

/// GET `/common/discovery/instance`: this process is the only cloud there is.
pub(crate) async fn instance(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    let Some(asked) = call.query.get("authorization_endpoint") else {
        return EntraError::missing("authorization_endpoint").answer(&world, &call);
    };
    let (Ok(asked), Some(own)) = (asked.parse::<Uri>(), authority(&world.base)) else {
        return EntraError::new(50049).answer(&world, &call);
    };
    // MSAL drops the port of its authority when it asks: Entra has none.
    let names = [own.as_str(), own.host()];
    if !asked.authority().is_some_and(|asked| names.contains(&asked.as_str())) {
        return EntraError::new(50049).answer(&world, &call);
    }
    let tenant = asked.path().split('/').nth(1).unwrap_or("common").to_owned();
    Json(json!({
        "tenant_discovery_endpoint": format!("{}/{tenant}/v2.0/.well-known/openid-configuration", world.base),
        "api-version": call.query.get("api-version").unwrap_or("1.1"),
        "metadata": [{ "preferred_network": names[0], "preferred_cache": names[0], "aliases": names }],
    }))
    .into_response()
}

/// Everything Entra has at a path this stand-in leaves out: an error that says so, not a silent 404.
pub(crate) async fn left_out(State(world): State<Arc<World>>, Extension(call): Extension<Arc<Call>>) -> Response {
    EntraError::new(70003)
        .saying("This stand-in does not offer that endpoint: it knows the code, refresh, on-behalf-of and client credentials grants.")
        .answer(&world, &call)
}

fn document(world: &World, tenant: &str, call: &Call, build: impl Fn(&str, &str) -> Value) -> Response {
    let known = known_tenant(&world.directory(), tenant);
    match known {
        Ok(Realm::Tenant(id)) => Json(build(&id, &id)).into_response(),
        // The literal template: who validates against it has to put the token's tid in.
        Ok(Realm::Shared) => Json(build(tenant, "{tenantid}")).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.with_error("invalid_tenant").answer(world, call)).into_response(),
    }
}

fn shared(base: &str, tenant: &str, oauth: &str) -> Value {
    let at = |path: &str| json!(format!("{base}/{tenant}{oauth}/{path}"));
    json!({
        "token_endpoint": at("token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "authorization_endpoint": at("authorize"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": at("logout"),
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host", "aud",
            "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email",
        ],
        "kerberos_endpoint": format!("{base}/{tenant}/kerberos"),
        "tenant_region_scope": null,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    })
}

fn authority(base: &str) -> Option<Authority> {
    base.parse::<Uri>().ok()?.authority().cloned()
}
