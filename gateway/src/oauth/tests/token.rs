//! Redeeming codes.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request};

use super::support::*;

const OTHER_VERIFIER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[tokio::test]
async fn wrong_guesses_do_not_burn_a_code() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let other = fixture.register("Other", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    for _ in 0..5 {
        let response = fixture.redeem_with(&client, &code, &[("code_verifier", OTHER_VERIFIER)]).await;
        assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_grant")));
    }
    for (client, changed, error) in [
        (&other, &[][..], "invalid_grant"),
        (&client, &[("redirect_uri", "https://client.example/cb")], "invalid_grant"),
        (&client, &[("redirect_uri", "")], "invalid_request"),
        (&client, &[("code_verifier", "")], "invalid_request"),
        (&client, &[("code_verifier", "short")], "invalid_request"),
        (&client, &[("resource", "http://localhost:8080/other")], "invalid_target"),
        (&client, &[("resource", "https://evil.example")], "invalid_target"),
        (&client, &[("grant_type", "password")], "unsupported_grant_type"),
        (&client, &[("grant_type", "refresh_token")], "invalid_request"),
    ] {
        let response = fixture.redeem_with(client, &code, changed).await;
        assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some(error)), "{changed:?}");
    }
    assert_eq!(fixture.redeem_with(&client, &code, &[("resource", "")]).await.status(), 200);
}

#[tokio::test]
async fn a_second_redemption_ends_what_the_first_one_gave() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    let answer = json(&fixture.redeem(&client, &code).await);
    let token = HeaderValue::try_from(format!("Bearer {}", answer["access_token"].as_str().unwrap())).unwrap();
    assert!(fixture.sessions.admit(Some(&token), RESOURCE).await.is_ok());
    let replay = fixture.redeem(&client, &code).await;
    assert_eq!((replay.status().as_u16(), json(&replay)["error"].as_str()), (400, Some("invalid_grant")));
    assert!(fixture.sessions.admit(Some(&token), RESOURCE).await.is_err(), "the session has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_at_once_one_wins() {
    let fixture = Arc::new(with_entra().await);
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let (fixture, client, code) = (fixture.clone(), client.clone(), code.clone());
            tokio::spawn(async move { fixture.redeem(&client, &code).await.status().as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 39);
}

#[tokio::test]
async fn a_code_lives_for_a_minute() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    fixture.pass(60);
    assert_eq!(json(&fixture.redeem(&client, &code).await)["error"], "invalid_grant");
}

#[tokio::test]
async fn what_is_sealed_for_another_purpose_is_no_code_and_no_client() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let request = browser.consent_page(&fixture, &client).await.request;
    let code = fixture.sign_in(&mut browser, &client).await;
    for text in [&request, &client.id, &format!("sp1_ac_{request}"), &client.id.replace("sp1_cl_", "sp1_ac_")] {
        assert_eq!(json(&fixture.redeem(&client, text).await)["error"], "invalid_grant");
    }
    for id in [&request, &code, &code.replace("sp1_ac_", "sp1_cl_")] {
        let response = fixture.redeem_with(&client, &code, &[("client_id", id)]).await;
        assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
    }
}

#[tokio::test]
async fn errors_are_constant_words() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut answers = String::new();
    let twice = [("grant_type", "authorization_code"), ("grant_type", "authorization_code")];
    for pairs in [
        &[][..],
        &[("client_id", "unknown")],
        &[("client_id", &client.id)],
        &[("client_id", &client.id), ("grant_type", "password")],
        &[("client_id", &client.id), ("grant_type", "authorization_code")],
        &twice,
        &[
            ("client_id", &client.id),
            ("grant_type", "authorization_code"),
            ("code", "<script>"),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ],
    ] {
        let response = fixture.post_form("/token", pairs).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        answers.push_str(&format!("{} {}\n", response.status().as_u16(), text(&response)));
    }
    insta::assert_snapshot!(answers, @r#"
    400 {"error":"invalid_request","error_description":"client_id is missing."}
    401 {"error":"invalid_client","error_description":"This client is not registered here, or its secret is wrong. Register it again."}
    400 {"error":"invalid_request","error_description":"grant_type is missing."}
    400 {"error":"unsupported_grant_type","error_description":"Use authorization_code or refresh_token."}
    400 {"error":"invalid_request","error_description":"code is missing."}
    400 {"error":"invalid_request","error_description":"A parameter is there more than once."}
    400 {"error":"invalid_grant","error_description":"The grant is not valid, was used, or belongs to another client or request."}
    "#);
    let response = fixture.post_json("/token", "{}").await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_request")));
}

#[tokio::test]
async fn a_client_that_authenticates_by_header_is_told_to_register_again() {
    let request = Request::post("/token")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(AUTHORIZATION, "Basic eDp5");
    let response = alone().server.handle(request.body(Bytes::from("grant_type=authorization_code")).unwrap()).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
    assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
}
