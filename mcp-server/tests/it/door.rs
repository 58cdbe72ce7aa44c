//! Who is not let in, and what they are told: nothing.

use entra::Secret;
use fake_entra::Fault;
use serde_json::json;

use crate::support::*;

async fn refused(request: reqwest::RequestBuilder, what: &str) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 401, "{what}");
    assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"invalid_token\"", "{what}");
    assert_eq!(response.text().await.unwrap(), r#"{"error":"invalid_token"}"#, "{what}");
}

#[tokio::test]
async fn without_a_good_token_every_way_in_is_shut() {
    let stage = Stage::start().await;
    let good = stage.token(ADELE).await;
    let server = stage.client(stage.fake.server_client_id(), stage.fake.server_identity());
    let for_graph = server
        .on_behalf_of(stage.fake.tenant_id(), &Secret::new(good.clone()), "https://graph.microsoft.com/User.Read", None)
        .await;
    let for_graph = for_graph.unwrap().token;
    let assertion = stage.fake.mint_service_account_token("system:serviceaccount:sallyport:mcp-server");
    let cut = &good[..good.len() - 20];
    let twice = format!("{good} {good}");
    let tokens = [
        ("garbage", "x.y.z"),
        ("cut", cut),
        ("a Graph token", for_graph.expose()),
        ("a cluster's", &assertion),
        ("two", &twice),
    ];
    for (method, path) in [
        ("POST", "/mcp"),
        ("GET", "/mcp"),
        ("DELETE", "/mcp"),
        ("PUT", "/mcp"),
        ("OPTIONS", "/mcp"),
        ("GET", "/sse"),
        ("POST", "/sse"),
        ("POST", "/message?sessionId=00000000-0000-4000-8000-000000000000"),
        ("GET", "/message"),
    ] {
        let request = || stage.http.request(method.parse().unwrap(), stage.url(path));
        let what = format!("{method} {path}");
        refused(request(), &what).await;
        refused(request().header("authorization", ""), &what).await;
        refused(request().header("authorization", "Bearer"), &what).await;
        refused(request().header("authorization", "Bearer "), &what).await;
        refused(request().header("authorization", format!("Basic {good}")), &what).await;
        refused(request().header("authorization", good.as_str()), &what).await;
        refused(request().bearer_auth(&good).header("authorization", format!("Bearer {good}")), &what).await;
        let in_the_url = format!("{path}{}access_token={good}", if path.contains('?') { '&' } else { '?' });
        refused(stage.http.request(method.parse().unwrap(), stage.url(&in_the_url)), &what).await;
        for (kind, token) in tokens {
            refused(request().bearer_auth(token), &format!("{what} {kind}")).await;
        }
    }
}

#[tokio::test]
async fn only_the_gateway_may_have_asked_for_the_token() {
    let nobody = "99999999-0000-4000-8000-000000000009";
    let stage = Stage::start_with(|settings| settings.allowed_callers = vec![nobody.into()]).await;
    refused(stage.post(&stage.token(ADELE).await, &json!({})), "another caller").await;
}

#[tokio::test]
async fn an_expired_token() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    *stage.ahead.lock().unwrap() = 2 * 3600;
    refused(stage.post(&token, &json!({})), "two hours later").await;
}

#[tokio::test]
async fn the_emulator_is_refused_in_production() {
    let stage = Stage::start_with(|settings| settings.accept_emulator = false).await;
    refused(stage.post(&stage.token(ADELE).await, &json!({})), "emulator").await;
}

#[tokio::test]
async fn without_keys_nobody_is_told_that_the_token_is_bad() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    stage.fake.fault(Fault { status: Some(503), times: 1, ..Fault::on("/discovery/v2.0/keys") });
    let response = stage.post(&token, &json!({})).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn open_to_all() {
    let stage = Stage::start().await;
    let health = stage.http.get(stage.url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    for path in ["/", "/mcp/", "/mcp/x", "/metrics", "/.well-known/oauth-protected-resource"] {
        let response = stage.http.get(stage.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.text().await.unwrap(), r#"{"error":"not_found"}"#);
    }
}

#[tokio::test]
async fn a_wrong_method_behind_the_door() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    for (method, path) in [("POST", "/sse"), ("GET", "/message"), ("PUT", "/mcp")] {
        let request = stage.http.request(method.parse().unwrap(), stage.url(path)).bearer_auth(&token);
        assert_eq!(request.send().await.unwrap().status(), 405, "{method} {path}");
    }
}
