//! Signing out.

use http::header::ALLOW;

use super::support::*;

async fn revoke(fixture: &Fixture, client_id: &str, token: &str) -> http::Response<bytes::Bytes> {
    fixture.post_form("/revoke", &[("client_id", client_id), ("token", token), ("token_type_hint", "unknown")]).await
}

#[tokio::test]
async fn either_token_ends_the_session_and_only_for_its_own_client() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let other = fixture.register("Other", REDIRECT_URI).await;
    for kind in ["access_token", "refresh_token"] {
        let tokens = fixture.tokens(&client).await;
        let token = tokens[kind].as_str().unwrap();
        let foreign = revoke(&fixture, &other.id, token).await;
        assert_eq!(foreign.status(), 200, "nobody learns whose it is");
        assert!(fixture.admits(&tokens).await);
        let own = revoke(&fixture, &client.id, token).await;
        assert_eq!((own.status(), own.body()), (foreign.status(), foreign.body()));
        assert_eq!(own.headers(), foreign.headers());
        assert!(!fixture.admits(&tokens).await);
        let response = fixture.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
        assert_eq!(json(&response)["error"], "invalid_grant");
        assert_eq!(revoke(&fixture, &client.id, token).await.status(), 200, "twice is as good as once");
    }
}

#[tokio::test]
async fn errors_are_constant_words() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let id = ("client_id", client.id.as_str());
    let mut answers = String::new();
    for pairs in [
        &[("token", "x")][..],
        &[("token", "x"), ("client_id", "unknown")],
        &[id],
        &[id, ("token", "x"), ("token", "x")],
        &[id, ("token", "<script>")],
    ] {
        let response = fixture.post_form("/revoke", pairs).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        answers.push_str(&format!("{} {}\n", response.status().as_u16(), text(&response)));
    }
    insta::assert_snapshot!(answers, @r#"
    400 {"error":"invalid_request","error_description":"client_id is missing."}
    401 {"error":"invalid_client","error_description":"This client is not registered here, or its secret is wrong. Register it again."}
    400 {"error":"invalid_request","error_description":"token is missing."}
    400 {"error":"invalid_request","error_description":"A parameter is there more than once."}
    200 {}
    "#);
    let response = fixture.post_json("/revoke", "{}").await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_request")));
    let response = fixture.get("/revoke").await;
    assert_eq!((response.status().as_u16(), &response.headers()[ALLOW]), (405, &"POST, OPTIONS".parse().unwrap()));
}

#[tokio::test]
async fn without_the_store_the_client_must_come_again() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let tokens = fixture.tokens(&client).await;
    let token = tokens["refresh_token"].as_str().unwrap();
    fixture.store.switch(false);
    let response = revoke(&fixture, &client.id, token).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    assert_eq!(revoke(&fixture, &client.id, "unknown").await.status(), 200, "which needs no store");
    fixture.store.switch(true);
    assert!(!fixture.admits(&tokens).await, "this replica knows what was wanted");
    let renewed = json(&fixture.refresh(&client, token).await);
    let token = renewed["refresh_token"].as_str().expect("it lives on elsewhere: a 200 would have been a lie");
    assert_eq!(revoke(&fixture, &client.id, token).await.status(), 200);
    assert_eq!(json(&fixture.refresh(&client, token).await)["error"], "invalid_grant");
}
