//! Going on without the user.

use std::collections::BTreeSet;
use std::sync::Arc;

use fake_entra::{Fault, Match};
use serde_json::Value;

use super::support::*;

const HOUR: u64 = 3600;

fn refresh_token(tokens: &Value) -> &str {
    tokens["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {tokens}"))
}

fn on_refresh() -> Fault {
    Fault { matching: Match { grant: Some("refresh_token".into()), ..Match::default() }, ..Fault::default() }
}

#[tokio::test]
async fn a_client_refreshes_and_entra_is_asked_only_near_the_end() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let tokens = fixture.tokens(&client).await;
    assert!(refresh_token(&tokens).starts_with("sp1_rt_") && refresh_token(&tokens).len() < 400);

    fixture.pass(600);
    let response = fixture.refresh(&client, refresh_token(&tokens)).await;
    assert_eq!((response.status().as_u16(), fixture.renewals()), (200, 0), "{}", text(&response));
    assert_eq!(response.headers()["cache-control"], "no-store");
    let second = json(&response);
    assert!(second["expires_in"].as_u64().is_some_and(|seconds| (2900..=3600).contains(&seconds)), "{second}");

    // Entra's token lasts for 60 to 90 minutes.
    fixture.pass(90 * 60);
    assert!(!fixture.admits(&second).await);
    let response = fixture.refresh(&client, refresh_token(&second)).await;
    assert_eq!((response.status().as_u16(), fixture.renewals()), (200, 1), "{}", text(&response));
    let mut third = json(&response);
    assert!(fixture.admits(&third).await);
    third["access_token"] = "[token]".into();
    third["refresh_token"] = "[token]".into();
    third["expires_in"] = 0.into();
    insta::assert_snapshot!(third, @r#"{"access_token":"[token]","expires_in":0,"refresh_token":"[token]","scope":"mcp.access","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn what_is_not_in_order_consumes_nothing() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let other = fixture.register("Other", REDIRECT_URI).await;
    let tokens = fixture.tokens(&client).await;
    let token = refresh_token(&tokens);
    let access_token = tokens["access_token"].as_str().unwrap();
    let as_refresh_token = access_token.replace("sp1_at_", "sp1_rt_");
    // Past the grace after every one of them: had one moved the counter, the last would be a reuse.
    for (client, token, changed, status, error) in [
        (&other, token, &[][..], 400, "invalid_grant"),
        (&client, access_token, &[], 400, "invalid_grant"),
        (&client, &as_refresh_token, &[], 400, "invalid_grant"),
        (&client, "sp1_rt_", &[], 400, "invalid_grant"),
        (&client, "", &[], 400, "invalid_request"),
        (&client, token, &[("client_id", "unknown")], 401, "invalid_client"),
        (&client, token, &[("client_id", "")], 400, "invalid_request"),
        (&client, token, &[("grant_type", "REFRESH_TOKEN")], 400, "unsupported_grant_type"),
        (&client, token, &[("resource", "http://localhost:8080/other")], 400, "invalid_target"),
        (&client, token, &[("resource", "https://evil.example")], 400, "invalid_target"),
    ] {
        let response = fixture.refresh_with(client, token, changed).await;
        let answered = (response.status().as_u16(), json(&response)["error"].as_str().unwrap().to_owned());
        assert_eq!(answered, (status, error.to_owned()), "{changed:?}");
        fixture.pass(50);
    }
    // Both spellings and none, and scopes that do not matter (A24, A27).
    let mut token = token.to_owned();
    for changed in [
        &[("resource", "")][..],
        &[("resource", "http://localhost:8080/mcp/")],
        &[("scope", "openid offline_access anything")],
    ] {
        let response = fixture.refresh_with(&client, &token, changed).await;
        assert_eq!(response.status(), 200, "{changed:?}: {}", text(&response));
        token = refresh_token(&json(&response)).to_owned();
        fixture.pass(50);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_at_once_get_one_successor_and_entra_is_asked_once() {
    let fixture = Arc::new(with_entra().await);
    let client = fixture.register("Client", REDIRECT_URI).await;
    let tokens = fixture.tokens(&client).await;
    fixture.pass(2 * HOUR);
    fixture.entra().fault(Fault { delay_ms: 200, times: 50, ..on_refresh() });
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (fixture, client, token) = (fixture.clone(), client.clone(), refresh_token(&tokens).to_owned());
        calls.spawn(async move {
            let response = fixture.refresh(&client, &token).await;
            assert_eq!(response.status(), 200, "{}", text(&response));
            refresh_token(&json(&response)).to_owned()
        });
    }
    let successors: BTreeSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!((successors.len(), fixture.renewals()), (1, 1));
}

#[tokio::test]
async fn a_refusal_of_entras_ends_the_session() {
    for aadsts in [50173, 700082, 50076, 53003, 65001] {
        let fixture = with_entra().await;
        let client = fixture.register("Client", REDIRECT_URI).await;
        let tokens = fixture.tokens(&client).await;
        fixture.pass(2 * HOUR);
        fixture.entra().fault(Fault { aadsts: Some(aadsts), ..on_refresh() });
        for asked in [1, 1] {
            let response = fixture.refresh(&client, refresh_token(&tokens)).await;
            assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_grant")));
            assert!(!text(&response).contains("AADSTS"));
            assert_eq!(fixture.renewals(), asked, "{aadsts}: there is nothing left to ask for");
        }
    }
}

#[tokio::test]
async fn trouble_of_entras_passes_and_costs_nothing() {
    let server_error = |status, retry_after: Option<&str>| Fault {
        status: Some(status),
        retry_after: retry_after.map(str::to_owned),
        times: 2,
        ..on_refresh()
    };
    for (fault, wait) in [
        (server_error(503, None), "5"),
        (server_error(429, Some("2")), "5"),
        (Fault { html: true, ..server_error(502, None) }, "5"),
        (Fault { drop_connection: true, times: 2, ..on_refresh() }, "5"),
        // Our own registration is at fault: the user can do nothing about it, and the session is as good as it was.
        (Fault { aadsts: Some(7000215), times: 2, ..on_refresh() }, "5"),
    ] {
        let fixture = with_entra().await;
        let client = fixture.register("Client", REDIRECT_URI).await;
        let tokens = fixture.tokens(&client).await;
        fixture.pass(2 * HOUR);
        fixture.entra().fault(fault.clone());
        for _ in 0..3 {
            let response = fixture.refresh(&client, refresh_token(&tokens)).await;
            let error = json(&response)["error"].as_str().unwrap().to_owned();
            assert_eq!((response.status().as_u16(), error.as_str()), (503, "temporarily_unavailable"), "{fault:?}");
            assert_eq!(response.headers()["retry-after"], wait, "{fault:?}");
        }
        let asked = fixture.renewals();
        assert!(asked <= 2, "one call and its retry, however often the client asks: {asked}");
        while fixture.entra().counters().faults < 2 {
            fixture.pass(10);
            fixture.refresh(&client, refresh_token(&tokens)).await;
        }
        fixture.pass(10);
        let response = fixture.refresh(&client, refresh_token(&tokens)).await;
        assert_eq!(response.status(), 200, "{fault:?}: {}", text(&response));
    }
}

#[tokio::test]
async fn a_token_that_is_still_good_serves_while_entra_is_out() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let tokens = fixture.tokens(&client).await;
    // Until Entra's token has less than its last tenth, minute by minute.
    fixture.entra().fault(Fault { status: Some(503), times: 1000, ..on_refresh() });
    let mut token = refresh_token(&tokens).to_owned();
    while fixture.renewals() == 0 {
        fixture.pass(60);
        let response = fixture.refresh(&client, &token).await;
        assert_eq!(response.status(), 200, "{}", text(&response));
        let tokens = json(&response);
        assert!(fixture.admits(&tokens).await);
        assert!(tokens["expires_in"].as_u64().unwrap() >= 30);
        token = refresh_token(&tokens).to_owned();
    }
}

#[tokio::test]
async fn without_the_store_there_is_503_and_afterwards_all_is_well() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let tokens = fixture.tokens(&client).await;
    fixture.store.switch(false);
    let response = fixture.refresh(&client, refresh_token(&tokens)).await;
    let error = json(&response)["error"].as_str().unwrap().to_owned();
    assert_eq!((response.status().as_u16(), error.as_str()), (503, "temporarily_unavailable"));
    assert_eq!(response.headers()["retry-after"], "2");
    fixture.store.switch(true);
    assert_eq!(fixture.refresh(&client, refresh_token(&tokens)).await.status(), 200);
}

#[tokio::test]
async fn a_second_redemption_of_the_code_ends_the_refresh_token_too() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    let tokens = json(&fixture.redeem(&client, &code).await);
    fixture.redeem(&client, &code).await;
    let response = fixture.refresh(&client, refresh_token(&tokens)).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_grant")));
}
