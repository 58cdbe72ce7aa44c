//! Which token calls are repeated, which never, and what is kept (entra.md 5.1, 5.4, 5.7).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use entra::{Error, Exchange, Redemption, Renewal, Secret, User, VerifiedUser};
use serde_json::json;

use crate::support::*;

const SCOPE: &str = "https://graph.microsoft.com/User.Read";

fn token(text: &str) -> Answer {
    answer(200, json!({"token_type": "Bearer", "access_token": text, "expires_in": 3600, "scope": SCOPE}))
}

fn user(object_id: &str) -> VerifiedUser {
    let user = User { tenant_id: TENANT.into(), object_id: object_id.into(), name: None, username: None };
    VerifiedUser { user, caller: GATEWAY.into(), expires_at: now() + Duration::from_secs(1800) }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

async fn redeem(stage: &Stage, credential: Arc<Fixed>) -> Error {
    let (code, verifier) = (secret("code"), secret("verifier"));
    let redemption =
        Redemption { code: &code, redirect_uri: "r", scope: "s openid", code_verifier: &verifier, nonce: "n" };
    stage.client_with(GATEWAY, credential, false).redeem(redemption, now()).await.unwrap_err()
}

#[tokio::test]
async fn a_redemption_is_sent_once_whatever_comes_back() {
    let stage = Stage::start().await;
    let redirect = Answer { headers: vec![("location", format!("{}/elsewhere", stage.address()))], ..answer(302, "") };
    for (script, later) in [
        (answer(500, ""), true),
        (answer(503, "<html>"), true),
        (answer(429, ""), true),
        (redirect, true),
        (answer(200, "{\"access"), true),
        (answer(200, "x".repeat(300 * 1024)), true),
        (answer(400, json!({"error": "invalid_grant", "error_codes": [54005]})), false),
        (answer(401, json!({"error": "invalid_client", "error_codes": [700213]})), false),
    ] {
        let before = stage.calls("");
        stage.will([script.clone()]);
        let error = redeem(&stage, Fixed::new("assertion")).await;
        assert_eq!(matches!(error, Error::TryLater { .. }), later, "{}: {error}", script.status);
        assert_eq!(stage.calls(""), before + 1, "{}", script.status);
    }
}

#[tokio::test]
async fn a_refused_assertion_is_forgotten_after_a_redemption_but_the_code_not_sent_again() {
    let stage = Stage::start().await;
    let credential = Fixed::new("old");
    stage.will([answer(401, json!({"error": "invalid_client", "error_codes": [700024]}))]);
    assert!(matches!(redeem(&stage, Arc::clone(&credential)).await, Error::SetUp(_)));
    assert_eq!((stage.calls("/token"), *credential.forgotten.lock().unwrap()), (1, 1));
}

#[tokio::test]
async fn a_closed_port_and_a_missing_assertion_are_for_later() {
    let stage = Stage::start().await;
    assert!(matches!(redeem(&stage, Fixed::new("")).await, Error::TryLater { .. }));
    assert_eq!(stage.calls(""), 0);

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let authority = entra::Authority::new(&format!("http://{closed}"), TENANT).unwrap();
    let settings =
        entra::Settings { authority, client_id: "c".into(), extra_ca_file: None, cae: false, accept_emulator: false };
    let client = entra::Client::new(settings, Fixed::new("assertion")).unwrap();
    let error = client.on_behalf_of(TENANT, &secret("t"), SCOPE, None).await.unwrap_err();
    assert!(matches!(&error, Error::TryLater { .. }), "{error}");
}

#[tokio::test]
async fn on_behalf_of_sends_what_entra_wants() {
    let stage = Stage::start().await;
    stage.will([token("graph")]);
    let got = stage.client(SERVER).on_behalf_of(TENANT, &secret("inbound"), SCOPE, None).await.unwrap();
    assert_eq!((got.token.expose(), got.expires_in.as_secs(), got.scope.as_str()), ("graph", 3600, SCOPE));
    let call = stage.last_call();
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("requested_token_use", "on_behalf_of"),
        ("assertion", "inbound"),
        ("scope", SCOPE),
        ("client_id", SERVER),
        ("client_assertion", "assertion"),
    ] {
        assert_eq!(call.form[name], value);
    }
}

#[tokio::test]
async fn on_behalf_of_is_tried_once_more_when_that_may_help() {
    for (script, calls, good) in [
        (vec![answer(500, ""), token("t")], 2, true),
        (vec![answer(503, ""), answer(503, ""), token("t")], 2, false),
        (vec![answer(401, json!({"error": "invalid_client", "error_codes": [700024]})), token("t")], 2, true),
        (vec![answer(401, json!({"error": "invalid_client", "error_codes": [700016]})), token("t")], 1, false),
        (vec![answer(400, json!({"error": "invalid_grant", "error_codes": [50013]})), token("t")], 1, false),
        (vec![answer(429, ""), token("t")], 1, false),
        (vec![Answer { headers: vec![("retry-after", "9".into())], ..answer(503, "") }, token("t")], 1, false),
    ] {
        let stage = Stage::start().await;
        let first = (script[0].status, script[0].body.clone());
        stage.will(script);
        let outcome = stage.client(SERVER).on_behalf_of(TENANT, &secret("t"), SCOPE, None).await;
        assert_eq!((stage.calls("/token"), outcome.is_ok()), (calls, good), "{first:?}");
    }
}

#[tokio::test]
async fn a_refresh_sends_what_entra_wants_and_reads_what_it_may_leave_out() {
    let stage = Stage::start().await;
    let whole = json!({"token_type": "Bearer", "access_token": "a", "expires_in": 4000, "refresh_token": "new"});
    stage.will([answer(200, whole), token("b")]);
    let client = stage.client(GATEWAY);
    let claims = entra::ClaimsRequest::parse(r#"{"access_token":{"nbf":null}}"#).unwrap();
    let renewed = client.refresh(Renewal { claims: Some(&claims), ..renewal(&secret("old"), SCOPE) }).await.unwrap();
    assert_eq!((renewed.access_token.token.expose(), renewed.access_token.expires_in.as_secs()), ("a", 4000));
    assert_eq!(renewed.refresh_token.unwrap().expose(), "new");
    let call = stage.last_call();
    for (name, value) in [
        ("grant_type", "refresh_token"),
        ("refresh_token", "old"),
        ("scope", SCOPE),
        ("claims", claims.expose()),
        ("client_id", GATEWAY),
        ("client_assertion", "assertion"),
    ] {
        assert_eq!(call.form[name], value);
    }
    let renewed = client.refresh(renewal(&secret("old"), SCOPE)).await.unwrap();
    assert!(renewed.refresh_token.is_none());
    assert!(!stage.last_call().form.contains_key("claims"));
}

#[tokio::test]
async fn a_refresh_is_tried_once_more_when_that_may_help() {
    for (script, calls, good) in [
        (vec![answer(502, "<html>"), token("t")], 2, true),
        (vec![answer(503, ""), answer(503, ""), token("t")], 2, false),
        (vec![answer(401, json!({"error": "invalid_client", "error_codes": [700024]})), token("t")], 2, true),
        (vec![answer(400, json!({"error": "invalid_grant", "error_codes": [700082]})), token("t")], 1, false),
        (vec![answer(429, ""), token("t")], 1, false),
    ] {
        let stage = Stage::start().await;
        let first = (script[0].status, script[0].body.clone());
        stage.will(script);
        let outcome = stage.client(GATEWAY).refresh(renewal(&secret("r"), SCOPE)).await;
        assert_eq!((stage.calls("/token"), outcome.is_ok()), (calls, good), "{first:?}");
    }
}

#[tokio::test]
async fn a_refused_assertion_is_replaced() {
    let stage = Stage::start().await;
    stage.will([answer(401, json!({"error": "invalid_client", "error_codes": [700024]})), token("t")]);
    let credential = Fixed::new("old");
    let client = stage.client_with(SERVER, Arc::clone(&credential), false);
    client.on_behalf_of(TENANT, &secret("t"), SCOPE, None).await.unwrap();
    assert_eq!(stage.last_call().form["client_assertion"], "renewed");
    assert_eq!(stage.last_call().form["client_assertion"], "old");
}

fn exchange(stage: &Stage, capacity: usize) -> Arc<Exchange> {
    let client = Arc::new(stage.client(SERVER));
    Arc::new(Exchange::new(client, SCOPE.into(), NonZeroUsize::new(capacity).unwrap()))
}

#[tokio::test]
async fn one_call_per_token_however_many_ask() {
    let stage = Stage::start().await;
    stage.will([Answer { delay: Duration::from_millis(100), ..token("for-a") }, token("for-b")]);
    let exchange = exchange(&stage, 8);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let exchange = Arc::clone(&exchange);
            tokio::spawn(async move { exchange.token(&user("a"), &secret("token-of-a"), now()).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap().unwrap().token.expose(), "for-a");
    }
    assert_eq!(stage.calls("/token"), 1);
    let other = exchange.token(&user("b"), &secret("token-of-b"), now()).await.unwrap();
    assert_eq!(other.token.expose(), "for-b");
    assert_eq!(stage.last_call().form["assertion"], "token-of-b");
    let again = exchange.token(&user("a"), &secret("token-of-a"), now()).await.unwrap();
    assert_eq!(again.token.expose(), "for-a");
}

#[tokio::test]
async fn kept_until_the_users_token_ends_and_no_longer() {
    let stage = Stage::start().await;
    stage.will([token("first"), token("second")]);
    let exchange = exchange(&stage, 8);
    let at = |seconds| now() + Duration::from_secs(seconds);
    exchange.token(&user("a"), &secret("t"), now()).await.unwrap();
    let kept = exchange.token(&user("a"), &secret("t"), at(1799)).await.unwrap();
    assert_eq!((kept.token.expose(), kept.expires_in.as_secs()), ("first", 1801));
    assert_eq!(exchange.token(&user("a"), &secret("t"), at(1800)).await.unwrap().token.expose(), "second");
}

#[tokio::test]
async fn a_short_lived_result_is_not_kept() {
    let stage = Stage::start().await;
    let brief = json!({"token_type": "Bearer", "access_token": "brief", "expires_in": 299});
    stage.will([answer(200, brief), token("second")]);
    let exchange = exchange(&stage, 8);
    assert_eq!(exchange.token(&user("a"), &secret("t"), now()).await.unwrap().token.expose(), "brief");
    assert_eq!(exchange.token(&user("a"), &secret("t"), now()).await.unwrap().token.expose(), "second");
}

#[tokio::test]
async fn a_refusal_is_not_asked_for_again_at_once() {
    let stage = Stage::start().await;
    stage.will([answer(400, json!({"error": "invalid_grant", "suberror": "basic_action"})), token("t")]);
    let exchange = exchange(&stage, 8);
    for seconds in [0, 1, 29] {
        let outcome = exchange.token(&user("a"), &secret("t"), now() + Duration::from_secs(seconds)).await;
        assert!(matches!(outcome, Err(Error::UserMustAct(_))));
    }
    assert_eq!(stage.calls("/token"), 1);
    assert!(exchange.token(&user("a"), &secret("t"), now() + Duration::from_secs(30)).await.is_ok());
}

#[tokio::test]
async fn memory_is_bounded() {
    let stage = Stage::start().await;
    let exchange = exchange(&stage, 2);
    for number in 0..5 {
        stage.will([token(&number.to_string())]);
        exchange.token(&user("a"), &secret(&number.to_string()), now()).await.unwrap();
    }
    // The first was dropped, so it is asked for again; the last was not.
    stage.will([token("anew")]);
    assert_eq!(exchange.token(&user("a"), &secret("0"), now()).await.unwrap().token.expose(), "anew");
    assert_eq!(exchange.token(&user("a"), &secret("4"), now()).await.unwrap().token.expose(), "4");
}

#[tokio::test]
async fn an_extra_root_of_trust_must_be_one() {
    install_tls();
    let path = std::env::temp_dir().join(format!("entra-{}-no-certificate.pem", std::process::id()));
    std::fs::write(&path, "not a certificate").unwrap();
    let authority = entra::Authority::new("https://login.microsoftonline.com", TENANT).unwrap();
    for file in [path.clone(), "/nonexistent/ca.pem".into()] {
        let settings = entra::Settings {
            authority: authority.clone(),
            client_id: "c".into(),
            extra_ca_file: Some(file.clone()),
            cae: false,
            accept_emulator: false,
        };
        let error = entra::Client::new(settings, Fixed::new("assertion")).err().expect("no certificate");
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    }
    std::fs::remove_file(path).unwrap();
}

/// GU-12.
#[tokio::test]
async fn when_entra_says_to_wait_everyone_waits() {
    let stage = Stage::start().await;
    let client = stage.client(GATEWAY);
    let throttled = Answer {
        headers: vec![("retry-after", "3".to_owned())],
        ..answer(429, json!({"error": "temporarily_unavailable", "error_description": "AADSTS90055: too many"}))
    };
    stage.will([throttled]);
    let refresh = async || client.refresh(renewal(&"token".to_owned().into(), "scope")).await;
    assert!(matches!(refresh().await, Err(Error::TryLater { retry_after: Some(wait), .. }) if wait.as_secs() == 3));
    for _ in 0..100 {
        assert!(matches!(refresh().await, Err(Error::TryLater { retry_after: Some(_), .. })));
    }
    assert_eq!(stage.calls("/token"), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    stage.will([answer(200, json!({"access_token": "new", "expires_in": 3600, "token_type": "Bearer"}))]);
    // What is left of the pause is worth waiting for.
    assert_eq!(refresh().await.unwrap().access_token.token.expose(), "new");
    assert_eq!(stage.calls("/token"), 2);
}

/// The "client request loop" is one user's, and what Entra says to him is not for all.
#[tokio::test]
async fn one_users_loop_makes_nobody_else_wait() {
    let stage = Stage::start().await;
    let client = stage.client(GATEWAY);
    let looping = Answer {
        headers: vec![("retry-after", "300".to_owned())],
        ..answer(429, json!({"error": "invalid_grant", "error_codes": [50196]}))
    };
    stage.will([looping, answer(200, json!({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}))]);
    let refresh = async |token: &str| client.refresh(renewal(&token.to_owned().into(), "scope")).await;
    let error = refresh("one").await.unwrap_err();
    assert!(matches!(error, Error::TryLater { retry_after: Some(wait), .. } if wait.as_secs() == 300), "{error}");
    assert_eq!(refresh("another").await.unwrap().access_token.token.expose(), "t");
}
