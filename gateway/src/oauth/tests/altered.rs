//! Records that somebody changed in the store (T37): nothing of them is believed, and nobody is told more than that it is over.

use super::support::*;

#[tokio::test]
async fn a_pending_sign_in_that_was_altered_is_over() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
    fixture.store.alter(true);
    let response = browser.get(&fixture, &callback).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (400, "1302"));
    assert_eq!(fixture.token_calls(), 0, "Entra's code is not redeemed");
}

#[tokio::test]
async fn a_code_whose_record_was_altered_is_no_grant() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    fixture.store.alter(true);
    let response = fixture.redeem(&client, &code).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_grant")));
}

#[tokio::test]
async fn a_session_that_was_altered_gives_no_tokens_and_admits_nobody() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let tokens = fixture.tokens(&client).await;
    fixture.store.alter(true);
    assert!(!fixture.admits(&tokens).await);
    let response = fixture.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_grant")));
}
