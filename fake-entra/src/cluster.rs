//! The issuer of a Kubernetes cluster: its documents. Its tokens come from `World::service_account_token`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::world::World;

/// GET `/k8s/.well-known/openid-configuration`.
pub(crate) async fn configuration(State(world): State<Arc<World>>) -> Json<Value> {
    let issuer = world.cluster_issuer();
    Json(json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/openid/v1/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

/// GET `/k8s/openid/v1/jwks`.
pub(crate) async fn keys(State(world): State<Arc<World>>) -> Json<Value> {
    let mut document = world.cluster_keys().document(None);
    // A cluster's keys, unlike Entra's, name their algorithm and have no certificate.
    for key in document["keys"].as_array_mut().into_iter().flatten() {
        key["alg"] = json!("RS256");
        if let Some(key) = key.as_object_mut() {
            key.remove("x5c");
            key.remove("x5t");
        }
    }
    Json(document)
}
