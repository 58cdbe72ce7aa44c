//! What `get_graph_user_details` answers: the sample's fields, or one short word.

use std::time::Duration;

use fake_entra::{Fault, Match};
use serde_json::{Value, json};

use crate::support::*;

const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn obo() -> Fault {
    Fault { matching: Match { grant: Some(OBO.into()), ..Match::default() }, ..Fault::default() }
}

fn graph() -> Fault {
    Fault::on("/graph/")
}

/// The whole failure: an error, the word, nothing else.
fn failed(result: &Value, word: &str) {
    assert_eq!(result["isError"], true, "{word}: {result}");
    assert_eq!(result["structuredContent"], json!({"success": false, "error": word}));
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, result["structuredContent"]);
    assert_eq!(result["content"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn golden() {
    let stage = Stage::start().await;
    let result = stage.call(&stage.token(ADELE).await).await;
    let expected = json!({
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users/$entity",
        "businessPhones": [],
        "displayName": "Adele Vance",
        "givenName": "Adele",
        "jobTitle": "Retail Manager",
        "mail": ADELE,
        "mobilePhone": null,
        "officeLocation": null,
        "preferredLanguage": null,
        "surname": "Vance",
        "userPrincipalName": ADELE,
        "id": "5d0c7e91-64fa-4b38-93e2-8b1f4c6a20a1",
        "success": true,
    });
    assert_eq!(result["structuredContent"], expected);
    assert_eq!(result["isError"], false);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), expected);
    // People read the sample's order.
    let order: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":")).collect();
    assert_eq!(
        order.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        [
            "@odata.context",
            "businessPhones",
            "displayName",
            "givenName",
            "jobTitle",
            "mail",
            "mobilePhone",
            "officeLocation",
            "preferredLanguage",
            "surname",
            "userPrincipalName",
            "id",
            "success"
        ]
    );
}

#[tokio::test]
async fn described_as_the_sample_described_it() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let list = stage.stateless(&token, 3, "tools/list", json!({})).send().await.unwrap();
    let list = result(list, 3).await;
    assert_eq!(list["tools"].as_array().unwrap().len(), 1);
    let tool = &list["tools"][0];
    assert_eq!(tool["name"], TOOL);
    assert_eq!(tool["description"], "Get user details from Microsoft Graph.");
    assert_eq!(tool["title"], "Graph user details");
    assert_eq!(tool["inputSchema"], json!({"type": "object", "properties": {}}));
    assert_eq!(tool["annotations"]["readOnlyHint"], true);
    let output = tool["outputSchema"]["properties"].as_object().unwrap();
    assert_eq!(output.len(), 13);
    assert_eq!(output["mail"]["type"], json!(["string", "null"]));
    assert_eq!(tool["outputSchema"]["type"], "object");
}

#[tokio::test]
async fn a_token_in_the_arguments_counts_for_nothing() {
    let stage = Stage::start().await;
    let (adele, alex) = (stage.token(ADELE).await, stage.token(ALEX).await);
    let arguments = json!({"bearerToken": alex, "user": ALEX});
    let call = stage.stateless(&adele, 1, "tools/call", json!({"name": TOOL, "arguments": arguments}));
    let result = result(call.send().await.unwrap(), 1).await;
    assert_eq!(result["structuredContent"]["mail"], ADELE);
}

#[tokio::test]
async fn unknown_tool() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    let call = stage.stateless(&token, 1, "tools/call", json!({"name": "other", "arguments": {}}));
    let body = answer(call.send().await.unwrap(), 1).await;
    assert_eq!(body["error"]["code"], -32602, "{body}");
}

#[tokio::test]
async fn entra_says_no() {
    let stage = Stage::start().await;
    for (fault, word) in [
        (Fault { aadsts: Some(65001), ..obo() }, "consent_required"),
        (Fault { aadsts: Some(53003), ..obo() }, "access_denied"),
        (Fault { aadsts: Some(700213), ..obo() }, "server_misconfigured"),
        (Fault { status: Some(503), times: 2, ..obo() }, "temporarily_unavailable"),
        // Who comes then waits with everybody else (GU-12).
        (Fault { status: Some(429), retry_after: Some("2".into()), ..obo() }, "temporarily_unavailable"),
        (Fault { html: true, status: Some(502), times: 2, ..obo() }, "temporarily_unavailable"),
    ] {
        let shown = format!("{fault:?}");
        let token = stage.token(ADELE).await;
        stage.fake.fault(fault);
        failed(&stage.call(&token).await, word);
        assert_eq!(stage.call(&stage.token(ALEX).await).await["isError"], false, "another user's call after {shown}");
    }
}

#[tokio::test]
async fn graph_says_no() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    for (fault, word) in [
        (Fault { status: Some(401), ..graph() }, "graph_unauthorized"),
        (Fault { status: Some(403), ..graph() }, "graph_forbidden"),
        (Fault { status: Some(404), ..graph() }, "user_not_found"),
        (Fault { status: Some(429), retry_after: Some("60".into()), ..graph() }, "graph_busy"),
        (Fault { status: Some(429), retry_after: Some("0".into()), times: 2, ..graph() }, "graph_busy"),
        (Fault { status: Some(503), retry_after: Some("0.01".into()), times: 2, ..graph() }, "graph_unavailable"),
        (Fault { status: Some(500), ..graph() }, "graph_unavailable"),
        (Fault { status: Some(302), ..graph() }, "graph_unreadable"),
        (Fault { html: true, status: Some(200), ..graph() }, "graph_unreadable"),
        (Fault { body: Some(json!({"id": 7})), status: Some(200), ..graph() }, "graph_unreadable"),
        // Whatever happens on the way, nobody gets another user's details.
        (Fault { body: Some(json!({"id": "another", "mail": "m"})), status: Some(200), ..graph() }, "graph_unreadable"),
        (Fault { drop_connection: true, times: 3, ..graph() }, "graph_unavailable"),
    ] {
        stage.fake.fault(fault);
        failed(&stage.call(&token).await, word);
        // Whatever of the fault is left must not meet the next case.
        while stage.call(&token).await["isError"] == true {}
    }
}

#[tokio::test]
async fn graph_is_asked_again_when_it_says_soon() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    stage.fake.fault(Fault { status: Some(429), retry_after: Some("0.2".into()), ..graph() });
    assert_eq!(stage.call(&token).await["structuredContent"]["mail"], ADELE);
    assert_eq!(stage.fake.counters().graph, 2);
}

#[tokio::test]
async fn one_exchange_serves_many_calls() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    for _ in 0..5 {
        assert_eq!(stage.call(&token).await["isError"], false);
    }
    let counters = stage.fake.counters();
    assert_eq!((counters.token[OBO], counters.graph), (1, 5));
    let exchanges: Vec<_> =
        stage.fake.journal().into_iter().filter(|entry| entry.grant_type.as_deref() == Some(OBO)).collect();
    assert!(exchanges.iter().all(|entry| entry.client_assertion && !entry.client_secret && !entry.resource));
}

#[tokio::test]
async fn two_users_at_once_are_never_mixed() {
    let stage = std::sync::Arc::new(Stage::start().await);
    let (adele, alex) = (stage.token(ADELE).await, stage.token(ALEX).await);
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let (user, token) = if number % 2 == 0 { (ADELE, adele.clone()) } else { (ALEX, alex.clone()) };
            let stage = std::sync::Arc::clone(&stage);
            tokio::spawn(async move { (user, stage.call(&token).await) })
        })
        .collect();
    for call in calls {
        let (user, result) = call.await.unwrap();
        assert_eq!(result["structuredContent"]["mail"], user);
    }
    assert_eq!(stage.fake.counters().token[OBO], 2);
}

#[tokio::test]
async fn the_assertion_outlives_a_day() {
    let stage = Stage::start().await;
    assert_eq!(stage.call(&stage.token(ADELE).await).await["isError"], false);
    // The kept assertion is a day old for Entra, which refuses it; the server asks for another and goes on.
    stage.fake.set_clock_offset(25 * 3600);
    *stage.ahead.lock().unwrap() = 25 * 3600;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    let token = stage.token(ADELE).await;
    assert_eq!(stage.call(&token).await["isError"], false);
}

#[tokio::test]
async fn nothing_secret_is_logged() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    assert_eq!(stage.call(&token).await["isError"], false);
    stage.fake.fault(Fault { aadsts: Some(50076), ..obo() });
    let other = stage.token(ALEX).await;
    let call = stage.stateless(&other, 1, "tools/call", json!({"name": TOOL, "arguments": {}}));
    assert_eq!(call.send().await.unwrap().status(), 401);
    let bad = stage.http.post(stage.url("/mcp")).bearer_auth(format!("{token}x")).send().await.unwrap();
    assert_eq!(bad.status(), 401);
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert!(log.contains("no Graph token on behalf of the user"), "the log is there");
    let canaries = stage.fake.canaries();
    assert!(canaries.len() >= 6, "{}", canaries.len());
    for canary in canaries {
        let at = log.find(&canary);
        assert!(at.is_none(), "{}", &log[at.unwrap_or(0).saturating_sub(300)..][..300]);
    }
}

#[tokio::test]
async fn a_stop_lets_a_call_finish() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    stage.fake.fault(Fault { delay_ms: 700, ..graph() });
    let call = stage.stateless(&token, 1, "tools/call", json!({"name": TOOL, "arguments": {}}));
    let call = tokio::spawn(async move { result(call.send().await.unwrap(), 1).await });
    let Stage { fake, server, .. } = stage;
    for _ in 0..200 {
        // The exchange is done, so the call waits for Graph.
        if fake.counters().token.contains_key(OBO) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.stop().await;
    assert_eq!(call.await.unwrap()["structuredContent"]["mail"], ADELE);
}
