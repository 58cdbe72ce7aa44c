//! The key cache: how often the authority is asked, and what is believed meanwhile (entra.md 3.2, MO-3).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use entra::{AccessTokenPolicy, ClaimsError, Client};
use serde_json::{Value, json};

use crate::support::*;

fn token(stage: &Stage, kid: &str, key: usize) -> String {
    let claims = json!({"aud": SERVER, "iss": stage.authority().issuer_v2(), "exp": NOW_S + 4000, "azp": GATEWAY,
        "oid": "o", "sub": "s", "scp": "access_as_user", "tid": TENANT});
    sign(&json!({"alg": "RS256", "kid": kid}), &claims, key)
}

async fn verify(client: &Client, token: &str) -> Result<(), ClaimsError> {
    let policy = AccessTokenPolicy {
        audiences: vec![SERVER.into()],
        allowed_callers: vec![GATEWAY.into()],
        required_scope: Some("access_as_user".into()),
    };
    client.verify_access_token(token, &policy, now()).await.map(|_| ())
}

fn both(stage: &Stage) -> Value {
    let issuer = stage.authority().issuer_v2();
    json!({"keys": [jwk("K1", 0, &issuer), jwk("K2", 1, &issuer)]})
}

/// Moves the cache's clock without waiting. The responder needs real sockets, so time runs between the jumps.
async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

#[tokio::test]
async fn many_at_once_fetch_once() {
    let stage = Stage::start().await;
    let client = Arc::new(stage.client(SERVER));
    let token = token(&stage, "K1", 0);
    let all: Vec<_> = (0..100)
        .map(|_| {
            let (client, token) = (Arc::clone(&client), token.clone());
            tokio::spawn(async move { verify(&client, &token).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!(stage.calls("/keys"), 1);
}

#[tokio::test]
async fn a_rolled_key_is_found_and_a_flood_of_unknown_ones_is_not_followed() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    verify(&client, &token(&stage, "K1", 0)).await.unwrap();
    stage.publish(both(&stage));
    verify(&client, &token(&stage, "K2", 1)).await.unwrap();
    assert_eq!(stage.calls("/keys"), 2);
    for number in 0..50 {
        let unknown = verify(&client, &token(&stage, &format!("made-up-{number}"), 2)).await;
        assert_eq!(unknown, Err(ClaimsError::UnknownKey));
    }
    assert_eq!(stage.calls("/keys"), 2);
    later(Duration::from_secs(301)).await;
    for number in 0..50 {
        let _ = verify(&client, &token(&stage, &format!("again-{number}"), 2)).await.unwrap_err();
    }
    assert_eq!(stage.calls("/keys"), 3);
}

#[tokio::test]
async fn the_last_good_set_stays_for_a_day() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    let token = token(&stage, "K1", 0);
    verify(&client, &token).await.unwrap();
    for broken in [Value::Null, json!({"keys": []}), json!("html")] {
        stage.publish(broken);
        later(Duration::from_secs(3601)).await;
        verify(&client, &token).await.unwrap();
    }
    later(Duration::from_secs(24 * 3600)).await;
    assert!(matches!(verify(&client, &token).await, Err(ClaimsError::KeysUnavailable(_))));
    stage.publish(both(&stage));
    later(Duration::from_secs(6)).await;
    verify(&client, &token).await.unwrap();
}

#[tokio::test]
async fn after_an_hour_renewed_behind_the_callers_back() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    verify(&client, &token(&stage, "K1", 0)).await.unwrap();
    later(Duration::from_secs(3601)).await;
    verify(&client, &token(&stage, "K1", 0)).await.unwrap();
    for _ in 0..200 {
        if stage.calls("/keys") == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no renewal in two seconds");
}

/// GU-17.
#[tokio::test]
async fn key_documents_are_read_to_256_kibibytes_and_no_further() {
    for (kibibytes, good) in [(250, true), (257, false)] {
        let stage = Stage::start().await;
        let mut document = both(&stage);
        document["padding"] = "x".repeat(kibibytes * 1024 - document.to_string().len() - 16).into();
        stage.publish(document);
        let outcome = verify(&stage.client(SERVER), &token(&stage, "K1", 0)).await;
        match good {
            true => assert_eq!(outcome, Ok(())),
            false => assert!(matches!(outcome, Err(ClaimsError::KeysUnavailable(_))), "{outcome:?}"),
        }
    }
}

#[tokio::test]
async fn an_authority_that_is_down_is_not_hammered() {
    let stage = Stage::start().await;
    stage.publish(Value::Null);
    let client = stage.client(SERVER);
    for _ in 0..20 {
        let outcome = verify(&client, &token(&stage, "K1", 0)).await;
        assert!(matches!(outcome, Err(ClaimsError::KeysUnavailable(_))));
    }
    assert_eq!(stage.calls("/keys"), 1);
}

#[tokio::test]
async fn keys_that_may_not_sign_here() {
    let stage = Stage::start().await;
    let base = stage.address();
    let other = format!("{base}/99999999-0000-4000-8000-000000000009/v2.0");
    let own = stage.authority().issuer_v2();
    for (keys, expected) in [
        (json!([jwk("K1", 0, &other)]), Err(ClaimsError::KeyIssuer)),
        (json!([jwk("K1", 0, &stage.authority().issuer_v1())]), Ok(())),
        (json!([but(&jwk("K1", 0, &own), json!({"issuer": null}))]), Ok(())),
        (json!([but(&jwk("K1", 0, &own), json!({"use": "enc"})), jwk("K2", 1, &own)]), Err(ClaimsError::UnknownKey)),
        (json!([but(&jwk("K1", 0, &own), json!({"alg": "PS256"})), jwk("K2", 1, &own)]), Err(ClaimsError::UnknownKey)),
        (json!([but(&jwk("K1", 0, &own), json!({"n": "AQAB"})), jwk("K2", 1, &own)]), Err(ClaimsError::UnknownKey)),
        (json!([{"kty": "EC", "kid": "K1", "crv": "P-256"}, jwk("K2", 1, &own)]), Err(ClaimsError::UnknownKey)),
    ] {
        stage.publish(json!({ "keys": keys }));
        let client = stage.client(SERVER);
        assert_eq!(verify(&client, &token(&stage, "K1", 0)).await, expected, "{keys}");
    }
}

/// R9. The key of a made-up id is not there, so nobody gets to look at the signature.
#[tokio::test]
async fn ten_thousand_made_up_kids_are_one_fetch() {
    let stage = Stage::start().await;
    let client = stage.client(SERVER);
    let good = token(&stage, "K1", 0);
    verify(&client, &good).await.unwrap();
    let (_, rest) = good.split_once('.').unwrap();
    for number in 0..10_000 {
        let header = json!({"alg": "RS256", "kid": format!("made-up-{number}")}).to_string();
        let forged = format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header));
        assert_eq!(verify(&client, &forged).await, Err(ClaimsError::UnknownKey));
    }
    verify(&client, &good).await.unwrap();
    assert_eq!(stage.calls("/keys"), 2, "at first, and once for all of them");
}
