//! The one-click takeover (T1): a sign-in that was begun in one browser must not be completed in another.

use super::support::*;

#[tokio::test]
async fn a_victim_who_follows_the_attackers_link_gives_nothing_away() {
    let fixture = with_entra().await;
    let client = fixture.register("Attacker's", REDIRECT_URI).await;
    let (mut attacker, mut victim) = (Browser::default(), Browser::default());
    let link = attacker.allow(&fixture, &client, &[]).await;
    let callback = fixture.at_entra(&link).await;

    let response = victim.get(&fixture, &callback).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (403, "1301"));
    assert_eq!(fixture.token_calls(), 0, "Entra's token endpoint is not called");
    assert!(victim.names().is_empty());
}

#[tokio::test]
async fn cookies_of_the_victims_own_transactions_do_not_help_the_attacker() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let (mut attacker, mut victim) = (Browser::default(), Browser::default());
    let own = victim.allow(&fixture, &client, &[]).await;
    let callback = fixture.at_entra(&attacker.allow(&fixture, &client, &[]).await).await;
    assert_eq!(fault(&victim.get(&fixture, &callback).await), "1301");

    let suffix_of = |browser: &Browser| browser.names()[0].rsplit_once('-').unwrap().1.to_owned();
    let (theirs, hers) = (suffix_of(&attacker), suffix_of(&victim));
    let value = victim.cookies[&format!("__Host-MCP_ENTRA_STATE-{hers}")].clone();
    let mut renamed = Browser::default();
    renamed.cookies.insert(format!("__Host-MCP_ENTRA_STATE-{theirs}"), value);
    assert_eq!(fault(&renamed.get(&fixture, &callback).await), "1301", "a cookie under another name does not open");
    assert_eq!(fixture.token_calls(), 0);

    let response = victim.get(&fixture, &fixture.at_entra(&own).await).await;
    assert!(location(&response).contains("code="), "the victim's own sign-in is unharmed");
}

#[tokio::test]
async fn the_attempt_consumes_nothing() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut honest = Browser::default();
    let callback = fixture.at_entra(&honest.allow(&fixture, &client, &[]).await).await;
    assert_eq!(fault(&Browser::default().get(&fixture, &callback).await), "1301");
    assert!(location(&honest.get(&fixture, &callback).await).contains("code="));
}

#[tokio::test]
async fn a_callback_is_good_once() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
    let mut copy = Browser { cookies: browser.cookies.clone() };
    assert!(location(&browser.get(&fixture, &callback).await).contains("code="));
    assert_eq!(fault(&browser.get(&fixture, &callback).await), "1301", "the cookie is gone");
    assert_eq!(fault(&copy.get(&fixture, &callback).await), "1302", "and so is the record");
    assert_eq!(fixture.token_calls(), 1);
}

#[tokio::test]
async fn a_sign_in_that_takes_too_long_is_over() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
    fixture.pass(600);
    assert_eq!(fault(&browser.get(&fixture, &callback).await), "1301");
    assert_eq!(fixture.token_calls(), 0);
}

#[tokio::test]
async fn malformed_callbacks_are_pages() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let state = parameter(&browser.allow(&fixture, &client, &[]).await, "state");
    for (query, code) in [
        (String::new(), "1301"),
        ("code=x".to_owned(), "1301"),
        ("code=x&state=".to_owned(), "1301"),
        ("code=x&state=forged".to_owned(), "1301"),
        (format!("code=x&state={}", &state[..state.len() - 1]), "1301"),
        (format!("code=x&state={state}A"), "1301"),
        (format!("code=x&state={state}&state={state}"), "1003"),
        (format!("code=x&code=y&state={state}"), "1003"),
    ] {
        let response = browser.get(&fixture, &format!("/oauth-callback?{query}")).await;
        assert_eq!(fault(&response), code, "{query}");
        assert!(!response.headers().contains_key("set-cookie"), "nothing is consumed");
    }
}
