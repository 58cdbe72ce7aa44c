//! MO-6: what the caller's token lacks is told to the gateway, by a 401 before the answer begins.

use entra::ClaimsRequest;
use fake_entra::{Fault, Match};
use reqwest::Response;
use serde_json::json;

use crate::support::*;

const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CHALLENGE: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"}}}"#;

fn obo() -> Fault {
    Fault { matching: Match { grant: Some(OBO.to_owned()), ..Match::default() }, ..Fault::default() }
}

/// Graph challenges the next calls.
fn graph(times: u32) -> Fault {
    let challenge = ClaimsRequest::parse(CHALLENGE).unwrap().to_challenge();
    let headers = [("www-authenticate".to_owned(), challenge)].into();
    Fault { status: Some(401), times, headers, ..Fault::on("/graph/v1.0/me") }
}

async fn call(stage: &Stage, token: &str) -> Response {
    stage.stateless(token, 7, "tools/call", json!({"name": TOOL, "arguments": {}})).send().await.unwrap()
}

fn claims(answer: &Response) -> Option<String> {
    assert_eq!(answer.status(), 401);
    let headers = answer.headers().get_all("www-authenticate").iter().map(|value| value.as_bytes());
    ClaimsRequest::in_challenges(headers).map(|claims| claims.expose().to_owned())
}

#[tokio::test]
async fn what_entra_misses_is_told_and_a_new_token_is_judged_anew() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    stage.fake.fault(Fault { aadsts: Some(50076), ..obo() });
    for _ in 0..5 {
        assert!(claims(&call(&stage, &token).await).unwrap().contains("capolids"));
    }
    assert_eq!(stage.fake.counters().token[OBO], 1, "it is remembered");
    assert_eq!(stage.call(&stage.token(ADELE).await).await["isError"], false);
    // Other requests with the first one are served.
    let list = stage.stateless(&token, 2, "tools/list", json!({})).send().await.unwrap();
    assert_eq!(list.status(), 200);
}

#[tokio::test]
async fn a_dead_assertion_is_told_as_well() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    for code in [50013, 500133, 50173] {
        let token = stage.token(ADELE).await;
        stage.fake.fault(Fault { aadsts: Some(code), ..obo() });
        let answer = call(&stage, &token).await;
        assert_eq!(answer.headers()["www-authenticate"], r#"Bearer error="invalid_token""#, "{code}");
        assert_eq!(claims(&answer), None);
    }
    assert_eq!(stage.call(&token).await["isError"], false);
}

#[tokio::test]
async fn graphs_challenge_is_answered_at_entra_once() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    assert_eq!(stage.call(&token).await["isError"], false);
    stage.fake.fault(graph(1));
    assert_eq!(stage.call(&token).await["isError"], false);
    let counters = stage.fake.counters();
    assert_eq!((counters.token[OBO], counters.graph), (2, 3));
    let last = stage.fake.journal().into_iter().rfind(|entry| entry.grant_type.as_deref() == Some(OBO)).unwrap();
    assert!(last.parameters.contains("claims"));
    assert_eq!(stage.call(&token).await["isError"], false);
    assert_eq!(stage.fake.counters().token[OBO], 2, "its token is kept");
}

#[tokio::test]
async fn a_graph_that_is_never_content_does_not_hammer_entra() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    stage.fake.fault(graph(1000));
    for _ in 0..5 {
        assert_eq!(claims(&call(&stage, &token).await).as_deref(), Some(CHALLENGE));
    }
    let counters = stage.fake.counters();
    assert_eq!((counters.token[OBO], counters.graph), (2, 2));
}

#[tokio::test]
async fn entras_own_claims_come_before_graphs() {
    let stage = Stage::start().await;
    let token = stage.token(ADELE).await;
    assert_eq!(stage.call(&token).await["isError"], false);
    stage.fake.fault(graph(1));
    stage.fake.fault(Fault { aadsts: Some(50076), ..obo() });
    assert!(claims(&call(&stage, &token).await).unwrap().contains("capolids"));
}
