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
