//! MO-9: a server that only the gateway reaches.

use serde_json::json;

use crate::support::*;

const SECRET: &str = "hop-0123456789-0123456789-0123456789";

#[tokio::test]
async fn a_valid_token_is_not_enough() {
    let file = std::env::temp_dir().join(format!("sallyport-mcp-server-{}-hop", std::process::id()));
    std::fs::write(&file, SECRET).unwrap();
    let stage = Stage::start_with(|settings| settings.hop_secret_file = Some(file.clone())).await;
    std::fs::remove_file(&file).unwrap();
    let token = stage.token(ADELE).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let call = |path: &str| stage.http.post(stage.url(path)).bearer_auth(&token).json(&ping);
    for path in ["/mcp", "/sse", "/message?sessionId=x", "/nothing", "/healthz/", "//healthz", "/healthz/../mcp"] {
        for request in [call(path), call(path).header("x-hop-secret", "wrong")] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path}");
            assert_eq!(answer.text().await.unwrap(), r#"{"error":"forbidden"}"#);
        }
    }
    let health = stage.http.get(stage.url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    // The secret alone is no token.
    let without = stage.http.post(stage.url("/mcp")).header("x-hop-secret", SECRET).json(&ping).send().await.unwrap();
    assert_eq!(without.status(), 401);
    let both = call("/nothing").header("x-hop-secret", SECRET).send().await.unwrap();
    assert_eq!(both.status(), 404, "let through");
    let both = call("/mcp").header("x-hop-secret", SECRET).header("accept", "application/json, text/event-stream");
    let status = both.send().await.unwrap().status();
    assert!(status != 401 && status != 403, "{status}");
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert!(log.contains("not from the gateway") && !log.contains(SECRET));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_no_server() {
    let fake = fake_entra::FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    install_tls();
    let mut settings = settings(&fake);
    settings.hop_secret_file = Some("absent-hop-secret".into());
    let error = sallyport_mcp_server::start(settings).await.err().unwrap();
    assert!(format!("{error:#}").starts_with("hop_secret_file absent-hop-secret"), "{error:#}");
}
