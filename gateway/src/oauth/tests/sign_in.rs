//! The whole way, against the stand-in for Entra.

use http::HeaderValue;

use super::support::*;
use fake_entra::Fault;

#[tokio::test]
async fn a_client_gets_a_token_that_admits() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let entra_url = browser.allow(&fixture, &client, &[]).await;
    assert!(entra_url.starts_with(&fixture.entra().authority()));
    let callback = fixture.at_entra(&entra_url).await;
    let response = browser.get(&fixture, &callback).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cache-control"]),
        (303, &HeaderValue::from_static("no-store"))
    );
    assert_eq!(
        response.headers()["referrer-policy"],
        "no-referrer",
        "the next page is not told the address with the code"
    );
    let url = location(&response);
    assert!(url.starts_with(&format!("{REDIRECT_URI}&code=sp1_ac_")), "{url}");
    assert_eq!((parameter(&url, "state").as_str(), parameter(&url, "iss").as_str()), ("st+te/==", ISSUER));
    assert!(browser.names().is_empty(), "nothing of the transaction stays: {:?}", browser.names());

    let response = fixture.redeem(&client, &parameter(&url, "code")).await;
    assert_eq!(response.status(), 200, "{}", text(&response));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let mut answer = json(&response);
    let token = answer["access_token"].as_str().unwrap().to_owned();
    answer["access_token"] = "[token]".into();
    answer["refresh_token"] = "[token]".into();
    assert!(answer["expires_in"].as_u64().is_some_and(|seconds| (3500..=3600).contains(&seconds)), "{answer}");
    answer["expires_in"] = 0.into();
    insta::assert_snapshot!(answer, @r#"{"access_token":"[token]","expires_in":0,"refresh_token":"[token]","scope":"mcp.access","token_type":"Bearer"}"#);

    let header = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let admitted = fixture.sessions.admit(Some(&header), RESOURCE).await.unwrap();
    assert!(admitted.bearer().to_str().unwrap().starts_with("Bearer ey"), "Entra's token goes upstream");
    assert!(fixture.sessions.admit(Some(&header), "http://localhost:8080/other").await.is_err());
}

#[tokio::test]
async fn entra_sees_an_assertion_no_secret_no_resource_and_one_token_call() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    fixture.redeem(&client, &code).await;
    assert_eq!(fixture.token_calls(), 1);
    let journal = fixture.entra().journal();
    assert!(journal.iter().all(|entry| !entry.resource || entry.path.contains("/metadata/identity")));
    let call = journal.iter().find(|entry| entry.path.ends_with("/oauth2/v2.0/token")).unwrap();
    assert!(call.client_assertion && !call.client_secret && !call.origin);
}

#[tokio::test]
async fn nothing_of_entras_is_in_any_answer() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
    let back = browser.get(&fixture, &callback).await;
    let token = fixture.redeem(&client, &parameter(&location(&back), "code")).await;
    let answers = format!("{back:?} {token:?} {}", text(&token));
    let canaries = fixture.entra().canaries();
    assert!(canaries.len() >= 3, "a code, a token and an assertion were there to be leaked");
    for canary in canaries {
        assert!(!answers.contains(&canary));
    }
}

#[tokio::test]
async fn a_native_client_signs_in_at_another_port_and_without_state_or_resource() {
    let fixture = with_entra().await;
    let client = fixture.register("Native", "http://127.0.0.1/cb").await;
    let mut browser = Browser::default();
    let sent = [("redirect_uri", "http://127.0.0.1:50123/cb"), ("state", ""), ("resource", "")];
    let form = browser.consent_page_for(&fixture, &client, &sent).await;
    let decision = form.decision("allow", &[]);
    let entra_url = onwards(&browser.post(&fixture, "/consent", &decision).await);
    let url = location(&browser.get(&fixture, &fixture.at_entra(&entra_url).await).await);
    assert!(url.starts_with("http://127.0.0.1:50123/cb?code=") && !url.contains("state="), "{url}");
    let code = parameter(&url, "code");
    let presented = fixture.redeem(&client, &code).await;
    assert_eq!(json(&presented)["error"], "invalid_grant", "the registered spelling is not what was sent");
    let presented = fixture.redeem_with(&client, &code, &[("redirect_uri", "http://127.0.0.1:50123/cb")]).await;
    assert_eq!(presented.status(), 200);
}

#[tokio::test]
async fn a_remembered_browser_goes_straight_on_and_comes_back_with_a_code() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let mut browser = Browser::default();
    browser.allow(&fixture, &client, &[("remember", "yes")]).await;
    let entra_url = location(&browser.get(&fixture, &authorize_path(&client, &[])).await);
    let response = browser.get(&fixture, &fixture.at_entra(&entra_url).await).await;
    let code = parameter(&location(&response), "code");
    assert_eq!(fixture.redeem(&client, &code).await.status(), 200);
}

#[tokio::test]
async fn a_no_at_entra_reaches_the_client() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let entra_url = browser.allow(&fixture, &client, &[]).await;
    let state = parameter(&entra_url, "state");
    for (error, told) in [
        ("access_denied", "access_denied"),
        ("server_error", "server_error"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("login_required", "server_error"),
        ("invalid_scope", "server_error"),
        ("<script>", "server_error"),
    ] {
        let entra_url = browser.allow(&fixture, &client, &[]).await;
        let query = form(&[
            ("error", error),
            ("error_description", "AADSTS65004: Adele said no"),
            ("state", &parameter(&entra_url, "state")),
        ]);
        let url = location(&browser.get(&fixture, &format!("/oauth-callback?{query}")).await);
        assert_eq!(parameter(&url, "error"), told);
        assert_eq!((parameter(&url, "state").as_str(), parameter(&url, "iss").as_str()), ("st+te/==", ISSUER));
        assert!(!url.contains("Adele") && !url.contains("AADSTS"), "Entra's words stay here");
        let again = browser.get(&fixture, &format!("/oauth-callback?{query}")).await;
        assert_eq!(fault(&again), "1301", "an error ends the transaction too");
    }
    assert_eq!(fixture.token_calls(), 0);
    let neither = browser.get(&fixture, &format!("/oauth-callback?state={state}")).await;
    assert_eq!(parameter(&location(&neither), "error"), "server_error");
}

#[tokio::test]
async fn a_failed_redemption_reaches_the_client_in_fixed_words() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let on_token = || Fault::on("/v2.0/token");
    for (fault, told) in [
        (Fault { aadsts: Some(53003), ..on_token() }, "access_denied"),
        (Fault { aadsts: Some(65001), ..on_token() }, "access_denied"),
        (Fault { aadsts: Some(70000), ..on_token() }, "server_error"),
        (Fault { aadsts: Some(700213), ..on_token() }, "server_error"),
        (Fault { status: Some(429), retry_after: Some("3".into()), ..on_token() }, "temporarily_unavailable"),
        (Fault { status: Some(503), html: true, ..on_token() }, "temporarily_unavailable"),
        (Fault { drop_connection: true, ..on_token() }, "temporarily_unavailable"),
    ] {
        let mut browser = Browser::default();
        let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
        fixture.entra().fault(fault.clone());
        let url = location(&browser.get(&fixture, &callback).await);
        assert_eq!(parameter(&url, "error"), told, "{fault:?}");
        assert_eq!(parameter(&url, "iss"), ISSUER);
        assert!(!url.contains("AADSTS") && !url.contains("code="));
    }
}

#[tokio::test]
async fn a_user_of_whom_entra_asks_for_more_goes_there_again_once_with_its_claims() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"}}}"#;
    let challenge = |suberror: &str| Fault {
        status: Some(400),
        body: Some(serde_json::json!({"error": "invalid_grant", "suberror": suberror, "claims": claims})),
        ..Fault::on("/v2.0/token")
    };
    let mut browser = Browser::default();
    let first = browser.allow(&fixture, &client, &[]).await;
    let callback = fixture.at_entra(&first).await;
    fixture.entra().fault(challenge("additional_action"));
    let response = browser.get(&fixture, &callback).await;
    assert_eq!(response.status(), 303);
    let second = location(&response);
    assert!(second.starts_with(&fixture.entra().authority()), "{second}");
    assert_eq!(parameter(&second, "claims"), claims);
    for fresh in ["state", "nonce", "code_challenge"] {
        assert_ne!(parameter(&first, fresh), parameter(&second, fresh));
    }
    assert_eq!(fault(&browser.get(&fixture, &callback).await), "1301", "the first turn is over");
    assert_eq!(fault(&Browser::default().get(&fixture, &fixture.at_entra(&second).await).await), "1301");

    let response = browser.get(&fixture, &fixture.at_entra(&second).await).await;
    let code = parameter(&location(&response), "code");
    assert_eq!(fixture.redeem(&client, &code).await.status(), 200);
    assert!(browser.names().is_empty(), "nothing of the transaction stays: {:?}", browser.names());

    // Asked for more again, the client hears it: there is no third turn.
    let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
    fixture.entra().fault(challenge("basic_action"));
    let second = location(&browser.get(&fixture, &callback).await);
    let callback = fixture.at_entra(&second).await;
    fixture.entra().fault(challenge("basic_action"));
    let url = location(&browser.get(&fixture, &callback).await);
    assert_eq!(parameter(&url, "error"), "access_denied");
    assert!(!url.contains("1726077595"));

    // What the user cannot mend is told at once.
    for suberror in ["message_only", "consent_required"] {
        let mut browser = Browser::default();
        let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
        fixture.entra().fault(challenge(suberror));
        assert_eq!(parameter(&location(&browser.get(&fixture, &callback).await), "error"), "access_denied");
    }
}

#[tokio::test]
async fn an_id_token_of_another_time_is_not_believed() {
    let fixture = with_entra().await;
    let client = fixture.register("Inspector", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let callback = fixture.at_entra(&browser.allow(&fixture, &client, &[]).await).await;
    fixture.entra().set_clock_offset(-3 * 24 * 3600);
    let url = location(&browser.get(&fixture, &callback).await);
    assert_eq!(parameter(&url, "error"), "server_error");
}
