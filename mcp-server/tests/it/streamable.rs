//! Streamable HTTP in both eras.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const VERSION: &str = "2025-06-18";

/// The handshake; returns the session id.
async fn initialize(stage: &Stage, token: &str) -> String {
    let params =
        json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let response = stage.post(token, &message).send().await.unwrap();
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let result = result(response, 1).await;
    assert_eq!(result["protocolVersion"], VERSION);
    assert_eq!(result["serverInfo"]["name"], "sallyport-mcp-server");
    assert!(result["capabilities"]["tools"].is_object());
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let response = in_session(stage, token, &session, &initialized).send().await.unwrap();
    assert_eq!(response.status(), 202);
    session
}

fn in_session(stage: &Stage, token: &str, session: &str, message: &Value) -> reqwest::RequestBuilder {
    stage.post(token, message).header("mcp-session-id", session).header("mcp-protocol-version", VERSION)
}

fn call(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": TOOL, "arguments": {}}})
}

#[tokio::test]
async fn with_a_session() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let session = initialize(&stage, &token).await;
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let list = result(in_session(&stage, &token, &session, &list).send().await.unwrap(), 2).await;
    assert_eq!(list["tools"][0]["name"], TOOL);
    // Hints of a later revision are not for this one.
    assert_eq!(list.get("ttlMs"), None);
    let details = result(in_session(&stage, &token, &session, &call(3)).send().await.unwrap(), 3).await;
    assert_eq!(details["structuredContent"]["mail"], ADELE);

    let get = stage.http.get(stage.url("/mcp")).bearer_auth(&token).header("accept", "text/event-stream");
    let stream = get.header("mcp-session-id", &session).header("mcp-protocol-version", VERSION).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert!(stream.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));

    let delete = stage.http.delete(stage.url("/mcp")).bearer_auth(&token).header("mcp-session-id", &session);
    assert!(delete.send().await.unwrap().status().is_success());
    let after = in_session(&stage, &token, &session, &call(4)).send().await.unwrap();
    assert_eq!(after.status(), 404);
}

#[tokio::test]
async fn a_fresh_token_in_the_same_session() {
    let stage = Stage::start().await;
    let session = initialize(&stage, &stage.token(ADELE).await).await;
    let renewed = stage.token(ADELE).await;
    let details = result(in_session(&stage, &renewed, &session, &call(3)).send().await.unwrap(), 3).await;
    assert_eq!(details["structuredContent"]["mail"], ADELE);
}

#[tokio::test]
async fn a_session_is_its_owners() {
    let stage = Stage::start().await;
    let (adele, alex) = (stage.token(ADELE).await, stage.token(ALEX).await);
    let session = initialize(&stage, &adele).await;
    let stolen = in_session(&stage, &alex, &session, &call(3)).send().await.unwrap();
    assert_eq!(stolen.status(), 404);
    for method in [Method::GET, Method::DELETE] {
        let request = stage.http.request(method.clone(), stage.url("/mcp")).bearer_auth(&alex);
        let request = request.header("accept", "text/event-stream").header("mcp-session-id", &session);
        let response = request.header("last-event-id", "0").send().await.unwrap();
        // A DELETE of what is not there is accepted, and does nothing.
        assert_eq!(response.status().as_u16(), if method == Method::GET { 404 } else { 202 });
    }
    let still = result(in_session(&stage, &adele, &session, &call(4)).send().await.unwrap(), 4).await;
    assert_eq!(still["structuredContent"]["mail"], ADELE);
}

#[tokio::test]
async fn a_users_sessions_are_bounded() {
    let stage = Stage::start().await;
    let (adele, alex) = (stage.token(ADELE).await, stage.token(ALEX).await);
    let others = initialize(&stage, &alex).await;
    let first = initialize(&stage, &adele).await;
    let mut last = String::new();
    for _ in 0..32 {
        last = initialize(&stage, &adele).await;
    }
    assert_eq!(in_session(&stage, &adele, &first, &call(3)).send().await.unwrap().status(), 404);
    for (token, session) in [(&adele, &last), (&alex, &others)] {
        assert_eq!(in_session(&stage, token, session, &call(3)).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn stateless() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let discovered = stage.stateless(&token, 1, "server/discover", json!({})).send().await.unwrap();
    assert!(!discovered.headers().contains_key("mcp-session-id"));
    let discovered = result(discovered, 1).await;
    let versions = discovered["supportedVersions"].as_array().unwrap();
    for version in ["2025-03-26", VERSION, "2026-07-28"] {
        assert!(versions.contains(&json!(version)), "{discovered}");
    }
    let list = stage.stateless(&token, 2, "tools/list", json!({})).send().await.unwrap();
    let list = result(list, 2).await;
    assert_eq!((&list["ttlMs"], &list["cacheScope"]), (&json!(60_000), &json!("public")));
    assert_eq!(stage.call(&token).await["structuredContent"]["mail"], ADELE);
}

#[tokio::test]
async fn any_host_may_be_used_and_bodies_are_bounded() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let call = stage.stateless(&token, 1, "tools/call", json!({"name": TOOL, "arguments": {}}));
    let response = call.header("host", "mcp-server.internal:8443").send().await.unwrap();
    assert_eq!(result(response, 1).await["isError"], false);
    let large = stage.post(&token, &json!("x".repeat(2 << 20))).send().await.unwrap();
    assert_eq!(large.status(), 413);
}
