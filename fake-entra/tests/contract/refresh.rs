use serde_json::json;

use crate::support::{ADELE, ALEX, SINGLE, bench, claims};

#[tokio::test]
async fn every_use_gives_a_new_token_and_the_old_one_stays_good() {
    let bench = bench().await;
    let first = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    let answer = bench.refresh(&first, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    let second = body["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(body["scope"], json!(bench.entra.scope()));
    assert_eq!(claims(body["access_token"].as_str().unwrap())["preferred_username"], json!(ADELE));
    assert!(body.get("id_token").is_some());
    for token in [&first, &second] {
        assert_eq!(bench.refresh(token, &[]).await.status, 200);
    }
    assert_eq!(bench.refresh(&first, &[("scope", "")]).await.status, 200, "the scope may be left out");
}

#[tokio::test]
async fn reuse_can_be_made_fatal() {
    let bench = bench().await;
    bench.control("PUT", "/policies", json!({"revoke_old_refresh_tokens": true})).await;
    let first = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.refresh(&first, &[]).await.status, 200);
    assert_eq!(bench.refresh(&first, &[]).await.error(), ("invalid_grant".into(), 50173));
}

#[tokio::test]
async fn bound_to_client_not_to_resource() {
    let bench = bench().await;
    let token = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.refresh(&token, &[("client_id", SINGLE)]).await.error(), ("invalid_grant".into(), 70000));
    assert_eq!(bench.refresh("1.AXnonsense", &[]).await.error(), ("invalid_grant".into(), 70000));
    assert_eq!(bench.refresh(&token, &[("client_assertion", "")]).await.error(), ("invalid_client".into(), 7000218));

    let graph = [("scope", crate::support::GRAPH_SCOPE)];
    assert_eq!(bench.refresh(&token, &graph).await.error(), ("invalid_grant".into(), 65001));
    let grant = json!({"client": bench.entra.gateway_client_id(), "resource": "00000003-0000-0000-c000-000000000000",
        "scopes": ["User.Read"]});
    bench.order("/consents", grant).await;
    let body = bench.refresh(&token, &graph).await.json();
    assert_eq!(claims(body["access_token"].as_str().unwrap())["aud"], json!("https://graph.microsoft.com"));
}

#[tokio::test]
async fn it_dies_of_idleness_revocation_and_disabling() {
    let bench = bench().await;
    let token = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    bench.entra.set_clock_offset(90 * 24 * 3600);
    let dead = bench.refresh(&token, &[]).await;
    assert_eq!(dead.error(), ("invalid_grant".into(), 700082));
    assert_eq!(dead.json()["suberror"], json!("token_expired"));
    bench.entra.set_clock_offset(0);

    bench.order(&format!("/users/{ADELE}/disable"), json!(null)).await;
    assert_eq!(bench.refresh(&token, &[]).await.error(), ("invalid_grant".into(), 50057));
    bench.order(&format!("/users/{ADELE}/enable"), json!(null)).await;
    assert_eq!(bench.refresh(&token, &[]).await.status, 200);

    let other = bench.tokens(ALEX).await["refresh_token"].as_str().unwrap().to_owned();
    bench.order(&format!("/users/{ADELE}/revoke"), json!(null)).await;
    let revoked = bench.refresh(&token, &[]).await;
    assert_eq!(revoked.error(), ("invalid_grant".into(), 50173));
    assert_eq!(revoked.json()["suberror"], json!("bad_token"));
    assert_eq!(bench.refresh(&other, &[]).await.status, 200, "somebody else's is untouched");
    let fresh = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.refresh(&fresh, &[]).await.status, 200, "a new sign-in works");
}

#[tokio::test]
async fn a_second_factor_is_a_challenge_with_claims() {
    let bench = bench().await;
    let token = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    bench.order(&format!("/users/{ADELE}/require-mfa"), json!(null)).await;
    let answer = bench.refresh(&token, &[]).await;
    assert_eq!(answer.error(), ("invalid_grant".into(), 50076));
    let body = answer.json();
    assert_eq!(body["suberror"], json!("basic_action"));
    let challenge: serde_json::Value = serde_json::from_str(body["claims"].as_str().unwrap()).unwrap();
    assert_eq!(challenge["access_token"]["capolids"]["essential"], json!(true));

    // Replaying the challenge and approving gives tokens that work; the old ones stay single-factor.
    let page = bench.authorize(&[("claims", body["claims"].as_str().unwrap())]).await;
    let factor = bench.click(&page, ("user", ADELE)).await;
    let code = bench.click(&factor, ("mfa", "approve")).await.redirect()["code"].clone();
    let fresh = bench.redeem(&code, &[]).await.json();
    assert_eq!(bench.refresh(fresh["refresh_token"].as_str().unwrap(), &[]).await.status, 200);
    assert_eq!(bench.refresh(&token, &[]).await.error().1, 50076);
    bench.order(&format!("/users/{ADELE}/satisfy-mfa"), json!(null)).await;
    assert_eq!(bench.refresh(&token, &[]).await.status, 200);
}
