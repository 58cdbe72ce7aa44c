//! `prompt` and `login_hint`: what Entra is told, and what the client.

use super::support::*;

/// Where a browser that needs no page from us is sent.
async fn straight_on(fixture: &Fixture, browser: &mut Browser, client: &Client, sent: &[(&str, &str)]) -> String {
    let url = location(&browser.get(fixture, &authorize_path(client, sent)).await);
    assert!(!url.contains("/consent?"), "{url}");
    url
}

fn has(url: &str, name: &str) -> bool {
    url::Url::parse(url).unwrap().query_pairs().any(|(other, _)| other == name)
}

async fn remembered(fixture: &Fixture) -> (Client, Browser) {
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    browser.allow(fixture, &client, &[("remember", "yes")]).await;
    (client, browser)
}

#[tokio::test]
async fn what_the_client_wants_to_be_asked_goes_to_entra() {
    let fixture = alone();
    let (client, mut browser) = remembered(&fixture).await;
    for prompt in ["none", "login", "select_account"] {
        let url = straight_on(&fixture, &mut browser, &client, &[("prompt", prompt)]).await;
        assert_eq!(parameter(&url, "prompt"), prompt);
    }
    assert!(!has(&straight_on(&fixture, &mut browser, &client, &[("prompt", "unheard_of")]).await, "prompt"));
    assert!(!has(&straight_on(&fixture, &mut browser, &client, &[]).await, "prompt"));
    let url = browser.get(&fixture, &authorize_path(&client, &[("prompt", "consent")])).await;
    assert!(location(&url).contains("/consent?"), "asked for consent, our own page comes first");
    let form = browser.consent_page_for(&fixture, &client, &[("prompt", "consent")]).await;
    let decision = form.decision("allow", &[]);
    assert!(!has(&onwards(&browser.post(&fixture, "/consent", &decision).await), "prompt"), "our consent, not Entra's");
}

#[tokio::test]
async fn a_hint_goes_to_entra_if_it_is_one() {
    let fixture = alone();
    let (client, mut browser) = remembered(&fixture).await;
    let longest = "x".repeat(256);
    for hint in ["adele@contoso.example", &longest] {
        let url = straight_on(&fixture, &mut browser, &client, &[("login_hint", hint)]).await;
        assert_eq!(parameter(&url, "login_hint"), hint);
    }
    for hint in ["a\r\nb", "\u{202e}adele", &"x".repeat(257)] {
        assert!(!has(&straight_on(&fixture, &mut browser, &client, &[("login_hint", hint)]).await, "login_hint"));
    }
    let both = [("login_hint", "adele@contoso.example"), ("prompt", "select_account")];
    assert!(!has(&straight_on(&fixture, &mut browser, &client, &both).await, "login_hint"));
}

#[tokio::test]
async fn without_an_earlier_yes_prompt_none_shows_no_page_of_ours() {
    let fixture = alone();
    let client = fixture.register("Client", "http://127.0.0.1/cb").await;
    let url = location(&fixture.get(&authorize_path(&client, &[("prompt", "none")])).await);
    assert!(url.starts_with("http://127.0.0.1/cb?"));
    assert_eq!(parameter(&url, "error"), "consent_required");
    assert_eq!((parameter(&url, "state").as_str(), parameter(&url, "iss").as_str()), ("st+te/==", ISSUER));
    for wrong in ["none login", "consent none"] {
        let url = location(&fixture.get(&authorize_path(&client, &[("prompt", wrong)])).await);
        assert_eq!(parameter(&url, "error"), "invalid_request");
    }
}

#[tokio::test]
async fn what_prompt_none_lacks_at_entra_the_client_learns() {
    let fixture = with_entra().await;
    let (client, mut browser) = remembered(&fixture).await;
    let silent = [("prompt", "none")];
    let entra_url = straight_on(&fixture, &mut browser, &client, &silent).await;
    let callback = fixture.follow(&entra_url).await;
    let url = location(&browser.get(&fixture, &callback).await);
    assert_eq!(parameter(&url, "error"), "login_required", "nobody is signed in at Entra");

    for (sent, error, told) in [
        (&silent[..], "consent_required", "consent_required"),
        (&silent, "interaction_required", "interaction_required"),
        (&[], "interaction_required", "server_error"),
    ] {
        let entra_url = straight_on(&fixture, &mut browser, &client, sent).await;
        let query = form(&[("error", error), ("state", &parameter(&entra_url, "state"))]);
        let url = location(&browser.get(&fixture, &format!("/oauth-callback?{query}")).await);
        assert_eq!(parameter(&url, "error"), told);
    }

    let entra_url = straight_on(&fixture, &mut browser, &client, &silent).await;
    let query = form(&[("code", "unknown"), ("state", &parameter(&entra_url, "state"))]);
    let on_token = fake_entra::Fault { aadsts: Some(50076), ..fake_entra::Fault::on("/v2.0/token") };
    fixture.entra().fault(on_token);
    let url = location(&browser.get(&fixture, &format!("/oauth-callback?{query}")).await);
    assert_eq!(parameter(&url, "error"), "interaction_required");
}
