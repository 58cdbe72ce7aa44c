//! Each refusal counts once, under its own reason.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::HOST;
use serde_json::json;

use super::{call, scrape};
use crate::support::browser::{Browser, http_client};
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client, query};
use crate::support::upstream::Upstream;

/// What a counter must have gone up to, no more and no less.
async fn counts(gateway: &Gateway, expected: &[(&str, f64)]) {
    for (series, value) in expected {
        assert_eq!(gateway.metric(series).await, *value, "{series}");
    }
    let text = scrape(gateway).await;
    assert!(!text.contains(r#"="other"} "#), "a word that its list lacks: {text}");
}

fn altered(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (at, _) = token.match_indices('_').nth(1).unwrap();
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&token[at + 1..]).unwrap();
    change(&mut bytes);
    format!("{}{}", &token[..=at], BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[tokio::test]
async fn tokens() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    assert_eq!(gateway.post("/mcp").body("{}").send().await.unwrap().status(), 401);
    assert_eq!(call(&gateway, "sp1_at_?").await, 401);
    assert_eq!(call(&gateway, &altered(&token, |bytes| *bytes.last_mut().unwrap() ^= 1)).await, 401);
    // The key's id follows the version.
    assert_eq!(call(&gateway, &altered(&token, |bytes| bytes[1..5].copy_from_slice(&[9; 4]))).await, 401);
    assert_eq!(call(&gateway, &token).await, 200);
    let form = [("token", token.as_str()), ("client_id", client.id.as_str())];
    assert_eq!(gateway.post("/revoke").form(&form).send().await.unwrap().status(), 200);
    assert_eq!(call(&gateway, &token).await, 401);
    let rejected = |reason: &str| format!(r#"sallyport_token_rejected_total{{reason="{reason}"}}"#);
    for reason in ["missing", "malformed", "forged", "unknown_key", "revoked"] {
        assert_eq!(gateway.metric(&rejected(reason)).await, 1.0, "{reason}");
    }
    counts(
        &gateway,
        &[
            (&rejected("ended"), 0.0),
            ("sallyport_token_admitted_total", 1.0),
            ("sallyport_token_open_duration_seconds_count", 1.0),
            (r#"sallyport_session_lookup_duration_seconds_count{tier="store"}"#, 1.0),
            (r#"sallyport_upstream_connect_duration_seconds_count{connection="new"}"#, 1.0),
            ("sallyport_forward_duration_seconds_count", 1.0),
            (r#"sallyport_upstream_answers_total{code_class="2xx",upstream="mcp"}"#, 1.0),
            (r#"sallyport_oauth_requests_total{endpoint="revoke",result="ok"}"#, 1.0),
            (r#"sallyport_http_request_duration_seconds_count{route="mcp"}"#, 6.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn requests_that_the_edge_does_not_pass_on() {
    let gateway = Gateway::start("http://127.0.0.1:9").await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let foreign = http_client().get(gateway.url("/mcp")).header(HOST, "elsewhere.example").send().await.unwrap();
    assert_eq!(foreign.status(), 421);
    assert_eq!(gateway.get("/nothing").send().await.unwrap().status(), 404);
    assert_eq!(gateway.post("/mcp").header("origin", "https://evil.example").send().await.unwrap().status(), 403);
    let put = http_client().put(gateway.url("/mcp")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(put.status(), 405);
    let in_query = gateway.post("/mcp?access_token=x").bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(in_query.status(), 400);
    let unknown = gateway.post("/mcp").bearer_auth(&token).header("mcp-session-id", "x").body("{}").send().await;
    assert_eq!(unknown.unwrap().status(), 404);
    assert_eq!(call(&gateway, &token).await, 502);
    let refused = |reason: &str| format!(r#"sallyport_http_refused_total{{reason="{reason}"}}"#);
    let reasons = [
        "foreign_host",
        "unknown_path",
        "foreign_origin",
        "method",
        "token_in_query",
        "unknown_session",
        "upstream_failed",
    ];
    for reason in reasons {
        assert_eq!(gateway.metric(&refused(reason)).await, 1.0, "{reason}");
    }
    let failed = r#"sallyport_upstream_failures_total{cause="failed",upstream="mcp"}"#;
    counts(&gateway, &[(&refused("internal"), 0.0), (failed, 1.0), ("sallyport_forward_duration_seconds_count", 0.0)])
        .await;
}

#[tokio::test]
async fn sign_ins_registrations_and_renewals() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let bad = json!({ "redirect_uris": ["ftp://elsewhere.example"] });
    assert_eq!(http_client().post(gateway.url("/register")).json(&bad).send().await.unwrap().status(), 400);
    let client = Client::register(&gateway).await;
    assert_eq!(
        gateway.get("/authorize?client_id=x&redirect_uri=http://127.0.0.1:9/").send().await.unwrap().status(),
        400
    );
    client.consent(&gateway, &Browser::new(), "deny").await;
    let back = client.authorize(&gateway, &Browser::new(), ADELE).await;
    let code = query(&back, "code").unwrap();
    let (status, _) = client.redeem_with(&gateway, &code, &[("code_verifier", &"x".repeat(43))]).await;
    assert_eq!(status, 400);
    assert_eq!(client.redeem(&gateway, "nobody's").await.0, 400);
    assert_eq!(client.redeem(&gateway, &code).await.0, 200);
    assert_eq!(client.redeem(&gateway, &code).await.0, 400);
    assert_eq!(client.refresh(&gateway, "nobody's").await.0, 400);
    let token = client.tokens(&gateway, ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(client.refresh(&gateway, &token).await.0, 200);
    let of = |endpoint: &str, result: &str| {
        format!(r#"sallyport_oauth_requests_total{{endpoint="{endpoint}",result="{result}"}}"#)
    };
    let grants = |grant: &str, result: &str| format!(r#"sallyport_grants_total{{grant="{grant}",result="{result}"}}"#);
    counts(
        &gateway,
        &[
            (&of("register", "invalid_redirect_uri"), 1.0),
            (&of("register", "ok"), 1.0),
            (&of("authorize", "SP-1001"), 1.0),
            (&of("consent", "denied_by_user"), 1.0),
            (&of("callback", "ok"), 2.0),
            (&of("token", "invalid_grant"), 4.0),
            (&of("token", "ok"), 3.0),
            (&grants("authorization_code", "mismatch"), 1.0),
            (&grants("authorization_code", "foreign"), 1.0),
            (&grants("authorization_code", "ok"), 2.0),
            (&grants("authorization_code", "reused"), 1.0),
            (&grants("refresh_token", "foreign"), 1.0),
            (&grants("refresh_token", "ok"), 1.0),
        ],
    )
    .await;
}
