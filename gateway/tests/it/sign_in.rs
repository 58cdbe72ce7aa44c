//! Signing in, and what guards it.

use serde_json::json;

use crate::support::browser::{Browser, http_client};
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client, query, sign_in_at_entra};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_client_signs_in_and_calls_with_entras_token() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    assert!(token.starts_with("sp1_at_"));

    let answer =
        http_client().post(gateway.url("/mcp")).bearer_auth(&token).json(&json!({"id": 1})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = upstream.seen().pop().unwrap();
    let authorization = seen.headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("Bearer ey"), "Entra's token is a JWT");
    assert!(!authorization.contains("sp1_"));
    assert_eq!(seen.body, r#"{"id":1}"#);
}

/// Token calls but the one by which a gateway begins.
fn redeemed_or_renewed(gateway: &Gateway) -> u64 {
    let counters = gateway.entra.counters();
    counters.token_calls() - counters.token["client_credentials"]
}

#[tokio::test]
async fn the_flow_uses_an_assertion_no_secret_no_resource_and_one_token_call() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let calls_after_sign_in = redeemed_or_renewed(&gateway);
    assert_eq!(calls_after_sign_in, 1, "one token call for a sign-in");
    for _ in 0..20 {
        let answer = http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(redeemed_or_renewed(&gateway), calls_after_sign_in, "none on the hot path");
    let journal = gateway.entra.journal();
    let token_call = journal.iter().find(|entry| entry.grant_type.as_deref() == Some("authorization_code")).unwrap();
    assert!(token_call.parameters.iter().any(|name| name == "client_assertion"));
    assert!(!token_call.parameters.iter().any(|name| name == "client_secret"));
    for entry in journal.iter().filter(|entry| entry.path.contains("/oauth2/v2.0/")) {
        assert!(!entry.parameters.iter().any(|name| name == "resource"), "{entry:?}");
    }
}

/// T1, S1: the attacker consents in his own browser and hands Entra's URL to a victim who is signed in there.
#[tokio::test]
async fn the_one_click_takeover_ends_at_an_error_page() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let (attacker, victim) = (Browser::new(), Browser::new());

    let entra_url = client.consent(&gateway, &attacker, "allow").await.next();
    let callback = sign_in_at_entra(&victim, &entra_url, ADELE).await;
    let page = victim.get(&callback).await;
    assert_eq!(page.status, 403);
    assert_eq!(page.location, None);
    assert_eq!(redeemed_or_renewed(&gateway), 0, "Entra's code was never redeemed");

    // A victim in the middle of a sign-in of her own is no easier prey: the cookie of another transaction does not count.
    client.consent(&gateway, &victim, "allow").await;
    let callback = sign_in_at_entra(&victim, &entra_url, ADELE).await;
    assert_eq!(victim.get(&callback).await.status, 403);
    assert_eq!(redeemed_or_renewed(&gateway), 0);
}

#[tokio::test]
async fn a_callback_counts_once() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    let callback = client.callback(&gateway, &browser, ADELE).await;
    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(browser.get(&callback).await.status, 403);
    assert_eq!(redeemed_or_renewed(&gateway), 1);
}

#[tokio::test]
async fn deny_tells_the_client() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let page = client.consent(&gateway, &Browser::new(), "deny").await;
    assert_eq!(page.status, 200);
    let back = url::Url::parse(&page.next()).unwrap();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&back, "state").as_deref(), Some("the state"));
    assert_eq!(query(&back, "iss").as_deref(), Some(gateway.public_url().as_str()));
    assert_eq!(query(&back, "code"), None);
}

/// T10, T11, S6: wrong guesses burn nothing, the right one counts once, and a replay ends what the code gave.
#[tokio::test]
async fn a_code_is_redeemed_once_and_its_replay_ends_the_session() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let other = Client::register(&gateway).await;
    let back = client.authorize(&gateway, &Browser::new(), ADELE).await;
    let code = query(&back, "code").unwrap();
    assert_eq!(query(&back, "state").as_deref(), Some("the state"));
    assert_eq!(query(&back, "iss").as_deref(), Some(gateway.public_url().as_str()));

    let wrong = "another-verifier-that-is-long-enough-0123456789";
    for changes in [
        ("code_verifier", wrong),
        ("redirect_uri", "http://127.0.0.1:9/other"),
        ("client_id", other.id.as_str()),
        ("code", "sp1_ac_forged"),
    ] {
        let (status, answer) = client.redeem_with(&gateway, &code, &[changes]).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")), "{changes:?}");
    }
    let (status, answer) = client.redeem_with(&gateway, &code, &[("resource", "https://evil.example")]).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_target")));

    let (status, answer) = client.redeem(&gateway, &code).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    let call = || http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send();
    assert_eq!(call().await.unwrap().status(), 200);

    let (status, answer) = client.redeem(&gateway, &code).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(call().await.unwrap().status(), 401, "the replay ended the session");
}

#[tokio::test]
async fn of_forty_parallel_redemptions_one_wins() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let back = client.authorize(&gateway, &Browser::new(), ADELE).await;
    let code = query(&back, "code").unwrap();
    let attempts = (0..40).map(|_| client.redeem(&gateway, &code));
    let answers = futures_util::future::join_all(attempts).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|(status, _)| *status == 400).count(), 39);
}

#[tokio::test]
async fn two_tabs_both_arrive() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    let first = client.consent(&gateway, &browser, "allow").await.next();
    let second = client.consent(&gateway, &browser, "allow").await.next();
    for entra_url in [first, second] {
        let callback = sign_in_at_entra(&browser, &entra_url, ADELE).await;
        assert_eq!(browser.get(&callback).await.status, 303);
    }
    assert!(browser.cookie_names(&gateway.public_url()).iter().all(|name| !name.contains("ENTRA_STATE")));
}
