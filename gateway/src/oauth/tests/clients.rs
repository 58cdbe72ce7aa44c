//! Clients three ways: confidential ones, those that the operator knows, and those that the operator bans.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, Response};

use super::support::*;
use crate::oauth::{ClientSecret, Preregistered, RedirectUri};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn known(secret: Option<&str>) -> Preregistered {
    Preregistered {
        client_id: "contoso-assistant".to_owned(),
        name: "Contoso Assistant".to_owned(),
        redirect_uris: vec![RedirectUri::parse(REDIRECT_URI, &[]).unwrap()],
        secret: secret.map(ClientSecret::of),
    }
}

fn assistant() -> Client {
    Client { id: "contoso-assistant".to_owned(), redirect_uri: REDIRECT_URI.to_owned() }
}

/// A client with a secret, which asked for it by `method`.
async fn confidential(fixture: &Fixture, method: &str) -> (Client, String) {
    let body = serde_json::json!({ "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": method });
    let response = fixture.post_json("/register", &body.to_string()).await;
    let answer = json(&response);
    assert_eq!(
        (response.status().as_u16(), answer["token_endpoint_auth_method"].as_str()),
        (201, Some(method)),
        "{answer}"
    );
    assert_eq!(answer["client_secret_expires_at"], 0);
    let id = answer["client_id"].as_str().unwrap().to_owned();
    (Client { id, redirect_uri: REDIRECT_URI.to_owned() }, answer["client_secret"].as_str().unwrap().to_owned())
}

/// `/token` with `Basic` credentials as they are given.
async fn redeem_with_basic(fixture: &Fixture, credentials: &str, pairs: &[(&str, &str)]) -> Response<Bytes> {
    let request = Request::post("/token")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(credentials)));
    fixture.server.handle(request.body(Bytes::from(form(pairs))).unwrap()).await
}

fn redemption(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ]
}

/// A12: whichever way it asked for, it may show its secret either way.
#[tokio::test]
async fn a_confidential_client_redeems_with_its_secret_in_header_or_form() {
    let fixture = with_entra().await;
    for method in ["client_secret_basic", "client_secret_post"] {
        let (client, secret) = confidential(&fixture, method).await;
        let code = fixture.sign_in(&mut Browser::default(), &client).await;
        let response = fixture.redeem_with(&client, &code, &[("client_secret", &secret)]).await;
        assert_eq!(response.status(), 200, "{}", text(&response));
        let code = fixture.sign_in(&mut Browser::default(), &client).await;
        let credentials = format!("{}:{secret}", client.id);
        let response = redeem_with_basic(&fixture, &credentials, &redemption(&code)).await;
        assert_eq!(response.status(), 200, "{}", text(&response));
    }
}

/// RFC 6749 sections 2.3 and 5.2.
#[tokio::test]
async fn without_the_right_secret_in_one_place_a_confidential_client_is_nobody() {
    let fixture = with_entra().await;
    let (client, secret) = confidential(&fixture, "client_secret_basic").await;
    let (other, others) = confidential(&fixture, "client_secret_post").await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    for wrong in [&[][..], &[("client_secret", "wrong")], &[("client_secret", others.as_str())]] {
        let response = fixture.redeem_with(&client, &code, wrong).await;
        assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    }
    let pairs = redemption(&code);
    let both = [&pairs[..], &[("client_secret", secret.as_str())]].concat();
    let two_ids = [&pairs[..], &[("client_id", other.id.as_str())]].concat();
    for (credentials, pairs) in [
        (format!("{}:wrong", client.id), &pairs),
        (format!("{}:{others}", client.id), &pairs),
        (format!("{}:", client.id), &pairs),
        (client.id.clone(), &pairs),
        (format!(":{secret}"), &pairs),
        (format!("{}:{secret}", client.id), &both),
        (format!("{}:{secret}", client.id), &two_ids),
    ] {
        let response = redeem_with_basic(&fixture, &credentials, pairs).await;
        assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
        assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    }
    let credentials = format!("{}:{secret}", client.id);
    assert_eq!(redeem_with_basic(&fixture, &credentials, &pairs).await.status(), 200, "nothing was consumed");
}

/// RFC 9110 section 11.6.2, RFC 7617, RFC 6749 section 5.2: what stands in `Authorization` beside a good request.
#[tokio::test]
async fn an_authorization_header_is_basic_or_says_nothing_about_the_client() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let good = BASE64_STANDARD.encode(format!("{}:", client.id));
    let not_utf8 = BASE64_STANDARD.encode(b"\xff\xfe:x");
    let with_id = [("client_id", client.id.as_str())];
    for (headers, more, status) in [
        (vec![format!("Basic {good}")], &[][..], 200),
        (vec![format!("bAsIc {good}")], &[], 200),
        (vec![format!("Basic {good}")], &with_id, 200),
        (vec!["Bearer x".to_owned()], &with_id, 200),
        (vec!["DPoP x".to_owned()], &with_id, 200),
        (vec!["Basic".to_owned()], &with_id, 200),
        (vec!["Bearer x".to_owned()], &[], 401),
        (vec!["Basic".to_owned()], &[], 401),
        (vec!["Basic %%%".to_owned()], &with_id, 401),
        (vec![format!("Basic {not_utf8}")], &with_id, 401),
        (vec!["Basic ü".to_owned()], &with_id, 401),
        (vec![format!("Basic {good}"), format!("Basic {good}")], &[], 401),
        (vec!["Bearer x".to_owned(), format!("Basic {good}")], &with_id, 401),
    ] {
        let code = fixture.sign_in(&mut Browser::default(), &client).await;
        let pairs = [&redemption(&code)[..], more].concat();
        let mut request = Request::post("/token").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        for header in &headers {
            request = request.header(AUTHORIZATION, http::HeaderValue::from_bytes(header.as_bytes()).unwrap());
        }
        let response = fixture.server.handle(request.body(Bytes::from(form(&pairs))).unwrap()).await;
        assert_eq!(response.status().as_u16(), status, "{headers:?}: {}", text(&response));
        assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401);
        if status == 401 {
            assert_eq!(json(&response)["error"], "invalid_client");
        }
    }
}

#[tokio::test]
async fn a_public_client_has_no_secret_to_show() {
    let fixture = with_entra().await;
    let client = fixture.register("Client", REDIRECT_URI).await;
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    let response = fixture.redeem_with(&client, &code, &[("client_secret", "made-up")]).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
    let response = redeem_with_basic(&fixture, &format!("{}:", client.id), &redemption(&code)).await;
    assert_eq!(response.status(), 200, "an empty password is none: {}", text(&response));
}

#[tokio::test]
async fn a_client_that_the_operator_knows_needs_no_registration() {
    let fixture = with_entra_and(|settings| {
        settings.clients.registration = false;
        settings.clients.preregistered = vec![known(Some(SECRET))];
    })
    .await;
    let client = assistant();
    let mut browser = Browser::default();
    let page = browser.consent_page(&fixture, &client).await.html;
    assert!(page.contains("Contoso Assistant") && page.contains("Whoever runs this server has registered"), "{page}");
    let code = fixture.sign_in(&mut browser, &client).await;
    assert_eq!(fixture.redeem(&client, &code).await.status(), 401);
    let response = fixture.redeem_with(&client, &code, &[("client_secret", SECRET)]).await;
    assert_eq!(response.status(), 200, "{}", text(&response));
    for (changed, code) in [(("redirect_uri", "https://client.example/"), "1002"), (("client_id", "contoso"), "1001")] {
        assert_eq!(fault(&fixture.get(&authorize_path(&client, &[changed])).await), code);
    }
}

#[tokio::test]
async fn a_public_client_that_the_operator_knows_shows_nothing() {
    let fixture = with_entra_and(|settings| settings.clients.preregistered = vec![known(None)]).await;
    let code = fixture.sign_in(&mut Browser::default(), &assistant()).await;
    assert_eq!(fixture.redeem(&assistant(), &code).await.status(), 200);
}

#[tokio::test]
async fn a_denied_client_is_refused_at_every_step() {
    let fixture = with_entra_and(|settings| {
        settings.clients.preregistered = vec![known(None)];
        settings.clients.denied = vec!["contoso-assistant".to_owned(), "bad.example".to_owned()];
    })
    .await;
    let response = fixture.get(&authorize_path(&assistant(), &[])).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (403, "1004"));
    let response = fixture.redeem(&assistant(), "sp1_ac_x").await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("unauthorized_client")));
    let both = r#"{"redirect_uris":["https://x.bad.example/cb","https://good.example/cb"]}"#;
    let answer = json(&fixture.post_json("/register", both).await);
    assert_eq!(answer["redirect_uris"], serde_json::json!(["https://good.example/cb"]));
    let bad = fixture.post_json("/register", r#"{"redirect_uris":["https://bad.example/cb"]}"#).await;
    assert_eq!(json(&bad)["error"], "invalid_redirect_uri");
}

/// The operator bans a client while its user is on the way.
#[tokio::test]
async fn what_was_begun_before_a_ban_does_not_end_well() {
    let before = with_entra().await;
    let client = before.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let form = browser.consent_page(&before, &client).await;
    let entra_url = browser.allow(&before, &client, &[]).await;
    let callback = before.at_entra(&entra_url).await;
    let code = before.sign_in(&mut browser, &client).await;

    let after = before.restarted(|settings| settings.clients.denied = vec!["client.example".to_owned()]);
    assert_eq!(fault(&browser.get(&after, &authorize_path(&client, &[])).await), "1004");
    assert_eq!(fault(&browser.get(&after, &form.path).await), "1004");
    assert_eq!(fault(&browser.post(&after, "/consent", &form.decision("allow", &[])).await), "1004");
    assert_eq!(fault(&browser.get(&after, &callback).await), "1004");
    assert_eq!(json(&after.redeem(&client, &code).await)["error"], "unauthorized_client");
}
