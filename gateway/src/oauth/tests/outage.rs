//! The store does not answer: try later, never "who are you" (D8).

use super::support::*;

#[tokio::test]
async fn each_step_says_try_later_and_works_afterwards() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();

    fixture.store.switch(false);
    let form = browser.consent_page(&fixture, &client).await;
    let response = browser.post(&fixture, "/consent", &form.decision("allow", &[])).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (503, "1901"));
    assert_eq!(response.headers()["retry-after"], "2");
    fixture.store.switch(true);
    let response = browser.post(&fixture, "/consent", &form.decision("allow", &[])).await;
    let callback = fixture.at_entra(&onwards(&response)).await;

    fixture.store.switch(false);
    let response = browser.get(&fixture, &callback).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (503, "1901"));
    assert_eq!(fixture.token_calls(), 0, "Entra's code is not spent");
    fixture.store.switch(true);
    let code = parameter(&location(&browser.get(&fixture, &callback).await), "code");

    fixture.store.switch(false);
    let response = fixture.redeem(&client, &code).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "2"));
    insta::assert_snapshot!(text(&response), @r#"{"error":"temporarily_unavailable","error_description":"A part of this service does not answer. Try again."}"#);
    fixture.store.switch(true);
    assert_eq!(fixture.redeem(&client, &code).await.status(), 200);
}

/// A browser that goes straight on gets the page too, and no cookie of a sign-in that was never kept.
#[tokio::test]
async fn a_remembered_browser_is_told_to_try_later() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    browser.allow(&fixture, &client, &[("remember", "yes")]).await;
    fixture.store.switch(false);
    let response = browser.get(&fixture, &authorize_path(&client, &[])).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (503, "1901"));
    assert!(!response.headers().contains_key("set-cookie"));
}

/// The store goes away on the way back from Entra: the client, which is proven by then, can try again.
#[tokio::test]
async fn a_sign_in_that_cannot_be_kept_is_told_to_the_client() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    // The record is taken; then two sets, the listing, the session's counter, the session and the code are to be written,
    // and in between it is asked whether somebody has ended the session already.
    for answers in 1..8 {
        let mut browser = Browser::default();
        let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
        fixture.store.switch_off_after(answers);
        let url = location(&browser.get(&fixture, &callback).await);
        assert_eq!(parameter(&url, "error"), "temporarily_unavailable", "{answers}");
        assert_eq!((parameter(&url, "state").as_str(), parameter(&url, "iss").as_str()), ("st+te/==", ISSUER));
        assert!(browser.names().is_empty(), "the transaction is over");
        fixture.store.switch(true);
    }
}

/// GU-9: nor can it be taken up again when Entra asks for more.
#[tokio::test]
async fn a_second_turn_that_cannot_be_kept_is_a_page() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
    fixture.entra().fault(fake_entra::Fault { aadsts: Some(50076), ..fake_entra::Fault::on("/v2.0/token") });
    fixture.store.switch_off_after(1);
    let response = browser.get(&fixture, &callback).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (503, "1901"));
}

/// T10: a replay whose session cannot be ended now is no "invalid grant" yet: it must be presented again to count.
#[tokio::test]
async fn a_replay_that_cannot_be_punished_now_is_tried_later() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    let tokens = json(&fixture.redeem(&client, &code).await);
    fixture.store.switch_off_after(1);
    let response = fixture.redeem(&client, &code).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (503, Some("temporarily_unavailable")));
    fixture.store.switch(true);
    assert!(!fixture.admits(&tokens).await, "where it was asked for it has ended all the same");
    assert_eq!(json(&fixture.redeem(&client, &code).await)["error"], "invalid_grant");
}

#[tokio::test]
async fn what_needs_no_store_goes_on() {
    let fixture = alone();
    fixture.store.switch(false);
    assert_eq!(fixture.get("/.well-known/oauth-authorization-server").await.status(), 200);
    let client = fixture.register("Client", REDIRECT_URI).await;
    Browser::default().consent_page(&fixture, &client).await;
}

#[tokio::test]
async fn a_key_ring_that_is_lost_makes_clients_register_anew() {
    let client = alone().register("Client", REDIRECT_URI).await;
    let response = alone().redeem(&client, "sp1_ac_x").await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
}
