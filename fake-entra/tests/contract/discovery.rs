use serde_json::json;

use crate::support::bench;

#[tokio::test]
async fn version_2_document_is_entras_with_its_gaps() {
    let bench = bench().await;
    let (base, tid) = (bench.entra.authority(), bench.entra.tenant_id().to_owned());
    for name in [tid.as_str(), "contoso.example"] {
        let answer = bench.get(&format!("{base}/{name}/v2.0/.well-known/openid-configuration")).await;
        assert_eq!(answer.status, 200);
        let document = answer.json();
        assert_eq!(document["issuer"], json!(format!("{base}/{tid}/v2.0")));
        assert_eq!(document["authorization_endpoint"], json!(format!("{base}/{tid}/oauth2/v2.0/authorize")));
        assert_eq!(document["token_endpoint"], json!(format!("{base}/{tid}/oauth2/v2.0/token")));
        assert_eq!(document["end_session_endpoint"], json!(format!("{base}/{tid}/oauth2/v2.0/logout")));
        assert_eq!(document["jwks_uri"], json!(format!("{base}/{tid}/discovery/v2.0/keys")));
        assert_eq!(document["response_modes_supported"], json!(["query", "fragment", "form_post"]));
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["RS256"]));
        assert_eq!(document["scopes_supported"], json!(["openid", "profile", "email", "offline_access"]));
        assert_eq!(document["request_uri_parameter_supported"], json!(false));
        for absent in [
            "code_challenge_methods_supported",
            "registration_endpoint",
            "grant_types_supported",
            "client_id_metadata_document_supported",
            "authorization_response_iss_parameter_supported",
            "revocation_endpoint",
            "introspection_endpoint",
        ] {
            assert!(document.get(absent).is_none(), "{absent}");
        }
    }
}

#[tokio::test]
async fn shared_tenants_have_a_template_for_issuer() {
    let bench = bench().await;
    let base = bench.entra.authority();
    for name in ["common", "organizations"] {
        let document = bench.get(&format!("{base}/{name}/v2.0/.well-known/openid-configuration")).await.json();
        assert_eq!(document["issuer"], json!(format!("{base}/{{tenantid}}/v2.0")));
        assert_eq!(document["token_endpoint"], json!(format!("{base}/{name}/oauth2/v2.0/token")));
    }
}

#[tokio::test]
async fn unknown_tenants_and_consumers_are_refused() {
    let bench = bench().await;
    for name in ["consumers", "fabrikam.example", "00000000-0000-0000-0000-000000000000"] {
        for path in ["v2.0/.well-known/openid-configuration", ".well-known/openid-configuration"] {
            let answer = bench.get(&format!("{}/{name}/{path}", bench.entra.authority())).await;
            assert_eq!(answer.error(), ("invalid_tenant".into(), 90002), "{name}");
        }
        let keys = bench.get(&format!("{}/{name}/discovery/v2.0/keys", bench.entra.authority())).await;
        assert_eq!(keys.error().1, 90002);
    }
}

#[tokio::test]
async fn version_1_document_has_its_own_issuer_and_keys() {
    let bench = bench().await;
    let document = bench.get(&bench.url("/.well-known/openid-configuration")).await.json();
    assert_eq!(document["issuer"], json!(bench.url("/")));
    assert_eq!(document["jwks_uri"], json!(bench.url("/discovery/keys")));
    let first = bench.get(&bench.url("/discovery/keys")).await.json();
    assert_eq!(first, bench.get(&bench.url("/discovery/v2.0/keys")).await.json());
}

#[tokio::test]
async fn keys_look_like_entras() {
    let bench = bench().await;
    let document = bench.get(&bench.url("/discovery/v2.0/keys")).await.json();
    let keys = document["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0]["kid"], keys[1]["kid"]);
    for key in keys {
        assert_eq!((&key["kty"], &key["use"]), (&json!("RSA"), &json!("sig")));
        assert_eq!(key["kid"], key["x5t"]);
        assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
        assert_eq!(key["issuer"], json!(format!("{}/{{tenantid}}/v2.0", bench.entra.authority())));
        assert!(key.get("alg").is_none());
        // 2048 bits in base64url without padding.
        assert_eq!(key["n"].as_str().unwrap().len(), 342);
        assert_eq!(key["e"], json!("AQAB"));
    }
}

#[tokio::test]
async fn instance_discovery_knows_this_host_only() {
    let bench = bench().await;
    let base = bench.entra.authority();
    let host = base.strip_prefix("http://").unwrap();
    let ask = async |endpoint: String| {
        let query = format!("api-version=1.1&authorization_endpoint={endpoint}");
        bench.get(&format!("{base}/common/discovery/instance?{query}")).await
    };
    let known = ask(bench.url("/oauth2/v2.0/authorize")).await.json();
    assert_eq!(known["tenant_discovery_endpoint"], json!(bench.url("/v2.0/.well-known/openid-configuration")));
    let aliases = json!([host, "127.0.0.1"]);
    assert_eq!(known["metadata"], json!([{"preferred_network": host, "preferred_cache": host, "aliases": aliases}]));
    // MSAL for Python leaves the port out.
    assert_eq!(ask("https://127.0.0.1/common/oauth2/v2.0/authorize".into()).await.status, 200);
    assert_eq!(ask("https://127.0.0.1:1/common/oauth2/v2.0/authorize".into()).await.status, 400);
    let foreign = ask("https://login.example/common/oauth2/v2.0/authorize".into()).await;
    assert_eq!(foreign.error(), ("invalid_instance".into(), 50049));
}

#[tokio::test]
async fn there_is_no_authorization_server_metadata() {
    let bench = bench().await;
    let (base, tid) = (bench.entra.authority(), bench.entra.tenant_id());
    for path in [
        "/.well-known/oauth-authorization-server".to_owned(),
        format!("/.well-known/oauth-authorization-server/{tid}/v2.0"),
        format!("/{tid}/v2.0/.well-known/oauth-authorization-server"),
        format!("/{tid}/.well-known/oauth-authorization-server"),
    ] {
        assert_eq!(bench.get(&format!("{base}{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn endpoints_left_out_say_so() {
    let bench = bench().await;
    assert_eq!(bench.get(&bench.url("/oauth2/v2.0/devicecode")).await.error().1, 70003);
    assert_eq!(bench.get(&bench.url("/oauth2/token")).await.error().1, 70003);
}

#[tokio::test]
async fn the_cluster_publishes_its_issuer() {
    let bench = bench().await;
    let issuer = bench.entra.cluster_issuer();
    let document = bench.get(&format!("{issuer}/.well-known/openid-configuration")).await.json();
    assert_eq!(document["issuer"], json!(issuer));
    let keys = bench.get(document["jwks_uri"].as_str().unwrap()).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(keys["keys"][0]["alg"], json!("RS256"));
}
