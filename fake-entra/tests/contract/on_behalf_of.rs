use fake_entra::Fault;
use serde_json::json;

use crate::support::{
    ADELE, ASSERTION_TYPE, GRAPH_SCOPE, SINGLE, bench, bench_with, changed, claims, jose_header, masked,
};

#[tokio::test]
async fn a_users_token_becomes_one_for_graph() {
    let bench = bench().await;
    let inbound = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    let answer = bench.on_behalf_of(&inbound, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    assert_eq!(
        masked(body.clone(), &["access_token", "expires_in", "ext_expires_in"]),
        json!({
            "token_type": "Bearer", "scope": GRAPH_SCOPE, "access_token": "*", "expires_in": "*", "ext_expires_in": "*",
        }),
        "no refresh token unless asked"
    );
    let token = body["access_token"].as_str().unwrap();
    assert!(jose_header(token)["nonce"].is_string());
    let payload = claims(token);
    assert_eq!(payload["aud"], json!("https://graph.microsoft.com"));
    assert_eq!(payload["appid"], json!(bench.entra.server_client_id()));
    assert_eq!(payload["oid"], claims(&inbound)["oid"]);
    assert_eq!((&payload["scp"], &payload["ver"]), (&json!("User.Read"), &json!("1.0")));
    assert_eq!(payload["emu"], json!(true));

    let me = bench.graph("/v1.0/me", token).await;
    assert_eq!(me.json()["userPrincipalName"], json!(ADELE));
}

#[tokio::test]
async fn graphs_signature_cannot_be_checked_by_others() {
    let bench = bench().await;
    let inbound = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    let body = bench.on_behalf_of(&inbound, &[]).await.json();
    let token = body["access_token"].as_str().unwrap();
    let keys = bench.get(&bench.url("/discovery/v2.0/keys")).await.json();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == jose_header(token)["kid"]).unwrap();
    let key = jsonwebtoken::DecodingKey::from_rsa_components(key["n"].as_str().unwrap(), key["e"].as_str().unwrap());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let algorithm = jsonwebtoken::Algorithm::RS256;
    assert!(!jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.unwrap(), algorithm).unwrap());
}

#[tokio::test]
async fn default_and_offline_access() {
    let bench = bench().await;
    let inbound = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    let all = bench.on_behalf_of(&inbound, &[("scope", "https://graph.microsoft.com/.default offline_access")]).await;
    let body = all.json();
    assert_eq!(claims(body["access_token"].as_str().unwrap())["scp"], json!("User.Read"));
    assert!(body["refresh_token"].is_string());
}

#[tokio::test]
async fn assertions_that_will_not_do() {
    let bench = bench().await;
    let tokens = bench.tokens(ADELE).await;
    let inbound = tokens["access_token"].as_str().unwrap();
    let (message, signature) = inbound.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{message}.{flipped}{}", &signature[1..]);
    for (assertion, number) in
        [("garbage", 50013), (forged.as_str(), 50013), (tokens["id_token"].as_str().unwrap(), 240002)]
    {
        assert_eq!(bench.on_behalf_of(assertion, &[]).await.error(), ("invalid_grant".into(), number));
    }

    // An app-only token.
    let own = bench.imds(bench.entra.gateway_identity()).await;
    let scope = format!("{}/.default", bench.entra.server_client_id());
    let form = changed(
        &[("client_id", bench.entra.gateway_client_id()), ("grant_type", "client_credentials"), ("scope", &scope)],
        &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &own)],
    );
    let app = bench.token(&form).await.json();
    let answer = bench.on_behalf_of(app["access_token"].as_str().unwrap(), &[]).await;
    assert_eq!(answer.error(), ("invalid_grant".into(), 7000114));

    // Somebody else presents it: the gateway itself.
    let gateway = bench.imds(bench.entra.gateway_identity()).await;
    let changes = [("client_id", bench.entra.gateway_client_id()), ("client_assertion", gateway.as_str())];
    let answer = bench.on_behalf_of(inbound, &changes).await;
    assert_eq!(answer.error(), ("invalid_grant".into(), 500131));
    for name in [bench.entra.server_client_id(), bench.entra.gateway_client_id()] {
        assert!(answer.json()["error_description"].as_str().unwrap().contains(&format!("'{name}'")), "{}", answer.body);
    }

    let graph = bench.on_behalf_of(inbound, &[]).await.json();
    let graph = graph["access_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.on_behalf_of(&graph, &[]).await.error().1, 50013, "Graph's signature is not for us");

    let lifetime = tokens["expires_in"].as_i64().unwrap();
    bench.entra.set_clock_offset(lifetime + 301);
    assert_eq!(bench.on_behalf_of(inbound, &[]).await.error(), ("invalid_grant".into(), 500133));
}

#[tokio::test]
async fn parameters_that_are_missing_or_wrong() {
    let bench = bench().await;
    let inbound = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    for (changes, error, number) in [
        ([("requested_token_use", "")], "invalid_request", 900144),
        ([("requested_token_use", "something")], "invalid_request", 90023),
        ([("assertion", "")], "invalid_request", 900144),
        ([("scope", "")], "invalid_request", 900144),
        ([("scope", "https://graph.microsoft.com/Nope")], "invalid_scope", 650053),
        ([("scope", "api://nobody/x")], "invalid_resource", 500011),
    ] {
        assert_eq!(bench.on_behalf_of(&inbound, &changes).await.error(), (error.to_owned(), number), "{changes:?}");
    }
}

#[tokio::test]
async fn missing_consent_comes_with_a_challenge() {
    let bench = bench().await;
    let inbound = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    let answer = bench.on_behalf_of(&inbound, &[("scope", "https://graph.microsoft.com/Mail.Read")]).await;
    assert_eq!(answer.error(), ("invalid_grant".into(), 65001));
    let body = answer.json();
    assert_eq!(body["suberror"], json!("consent_required"));
    assert!(body["claims"].as_str().unwrap().contains("\"access_token\""));
    let text = format!(
        "The user or administrator has not consented to use the application with ID '{}' named 'Sample MCP server'. Send an \
         interactive authorization request for this user and resource.",
        bench.entra.server_client_id()
    );
    assert!(body["error_description"].as_str().unwrap().contains(&text));
}

#[tokio::test]
async fn policies_and_people_stop_an_exchange() {
    let bench = bench().await;
    let inbound = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    bench.order(&format!("/users/{ADELE}/require-mfa"), json!(null)).await;
    let factor = bench.on_behalf_of(&inbound, &[]).await;
    assert_eq!(factor.error(), ("invalid_grant".into(), 50076));
    assert!(factor.json()["claims"].is_string() && factor.json()["suberror"] == json!("basic_action"));
    bench.order(&format!("/users/{ADELE}/satisfy-mfa"), json!(null)).await;
    assert_eq!(bench.on_behalf_of(&inbound, &[]).await.status, 200);

    bench.entra.fault(Fault { aadsts: Some(53003), ..Fault::on("/v2.0/token") });
    let blocked = bench.on_behalf_of(&inbound, &[]).await;
    assert_eq!(blocked.error(), ("invalid_grant".into(), 53003));
    assert_eq!(blocked.json()["suberror"], json!("message_only"));

    bench.order(&format!("/users/{ADELE}/revoke"), json!(null)).await;
    assert_eq!(bench.on_behalf_of(&inbound, &[]).await.error(), ("invalid_grant".into(), 50173));
    bench.order(&format!("/users/{ADELE}/disable"), json!(null)).await;
    assert_eq!(bench.on_behalf_of(&inbound, &[]).await.error(), ("invalid_grant".into(), 50057));
}

#[tokio::test]
async fn version_1_tokens_work_alike() {
    let bench = bench_with(fake_entra::Seed::default()).await;
    let scope = format!("{SINGLE}/.default openid");
    let page = bench.authorize(&[("client_id", SINGLE), ("scope", &scope)]).await;
    let code = bench.click(&page, ("user", ADELE)).await.redirect()["code"].clone();
    let tokens = bench.redeem(&code, &[("client_id", SINGLE), ("scope", &scope)]).await.json();
    let own = bench.imds(bench.entra.gateway_identity()).await;
    let changes = [("client_id", SINGLE), ("client_assertion", own.as_str())];
    let answer = bench.on_behalf_of(tokens["access_token"].as_str().unwrap(), &changes).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
