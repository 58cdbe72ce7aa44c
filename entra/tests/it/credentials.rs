//! The managed identity at a scripted metadata service (GU-10, entra.md 6.1, 6.2).

use std::sync::Arc;
use std::time::Duration;

use entra::credential::{IdentityHost, ManagedIdentity};
use entra::{ClientCredential, CredentialError};
use serde_json::json;

use crate::support::*;

const PATH: &str = "/metadata/identity/oauth2/token";

fn assertion(text: &str, life: u64) -> Answer {
    // IMDS writes every value as a string.
    answer(200, json!({"access_token": text, "expires_in": life.to_string(), "token_type": "Bearer"}))
}

fn identity(stage: &Stage) -> Arc<ManagedIdentity> {
    Arc::new(identity_at("the identity", stage.address()))
}

async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

async fn until(mut true_now: impl AsyncFnMut() -> bool) {
    for _ in 0..300 {
        if true_now().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within three seconds");
}

#[tokio::test]
async fn asks_once_as_imds_wants_to_be_asked() {
    let stage = Stage::start().await;
    stage.will([Answer { delay: Duration::from_millis(50), ..assertion("first", 86399) }]);
    let identity = identity(&stage);
    let all: Vec<_> = (0..20)
        .map(|_| {
            let identity = Arc::clone(&identity);
            tokio::spawn(async move { identity.assertion().await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap().unwrap().expose(), "first");
    }
    assert_eq!(stage.calls(PATH), 1);
    let call = stage.last_call();
    assert_eq!(call.method, "GET");
    assert_eq!(call.headers["metadata"], "true");
    assert!(!call.headers.contains_key("x-forwarded-for"));
    assert_eq!(call.form["api-version"], "2018-02-01");
    assert_eq!(call.form["resource"], "api://AzureADTokenExchange");
    assert_eq!(call.form["client_id"], "the identity");
}

/// GU-15.
#[tokio::test]
async fn each_cloud_has_an_audience_of_its_own() {
    for (cloud, audience) in [
        (entra::Cloud::Public, "api://AzureADTokenExchange"),
        (entra::Cloud::UsGovernment, "api://AzureADTokenExchangeUSGov"),
        (entra::Cloud::China, "api://AzureADTokenExchangeChina"),
    ] {
        let stage = Stage::start().await;
        stage.will([assertion("t", 86_399)]);
        let authority = entra::Authority::in_cloud(cloud, &stage.address(), TENANT).unwrap();
        let endpoint = authority.token_url();
        let settings = entra::Settings {
            authority,
            client_id: GATEWAY.into(),
            extra_ca_file: None,
            cae: false,
            accept_emulator: false,
        };
        let host = entra::credential::IdentityHost::Metadata { endpoint: stage.address() };
        let credential = entra::Credential::ManagedIdentity { client_id: None, host };
        credential.source(&settings, Arc::new(now)).unwrap().proof(&endpoint).await.unwrap();
        assert_eq!(stage.last_call().form["resource"], audience);
    }
}

#[tokio::test]
async fn renewed_at_half_life_while_the_old_one_serves() {
    let stage = Stage::start().await;
    stage.will([assertion("first", 86400)]);
    let identity = identity(&stage);
    identity.assertion().await.unwrap();
    later(Duration::from_secs(40_000)).await;
    identity.assertion().await.unwrap();
    assert_eq!(stage.calls(PATH), 1);
    later(Duration::from_secs(3_201)).await;
    stage.will([assertion("second", 86400)]);
    assert_eq!(identity.assertion().await.unwrap().expose(), "first");
    until(async || identity.assertion().await.unwrap().expose() == "second").await;
    assert_eq!(stage.calls(PATH), 2);
}

#[tokio::test]
async fn the_last_good_one_serves_until_it_expires() {
    let stage = Stage::start().await;
    stage.will([assertion("first", 86400), answer(400, json!({"error_description": "Identity not found"}))]);
    let identity = identity(&stage);
    identity.assertion().await.unwrap();
    later(Duration::from_secs(80_000)).await;
    assert_eq!(identity.assertion().await.unwrap().expose(), "first");
    until(async || stage.calls(PATH) == 2).await;
    assert_eq!(identity.assertion().await.unwrap().expose(), "first");
    later(Duration::from_secs(6_401)).await;
    stage.will([answer(400, json!({"error_description": "Identity not found"}))]);
    let error = identity.assertion().await.unwrap_err();
    assert!(matches!(&error, CredentialError::Broken(words) if words.contains("Identity not found")), "{error}");
}

#[tokio::test]
async fn busy_and_broken_answers_are_asked_again() {
    for status in [404, 429, 500] {
        let stage = Stage::start().await;
        stage.will([answer(status, ""), assertion("after", 86400)]);
        assert_eq!(identity(&stage).assertion().await.unwrap().expose(), "after", "{status}");
        assert_eq!(stage.calls(PATH), 2);
    }
}

#[tokio::test]
async fn an_update_of_imds_takes_longer_than_a_caller_waits() {
    let stage = Stage::start().await;
    stage.will([answer(410, "")]);
    let identity = identity(&stage);
    let waiting = {
        let identity = Arc::clone(&identity);
        tokio::spawn(async move { identity.assertion().await })
    };
    until(async || stage.calls(PATH) == 1).await;
    // The attempt goes on after its caller gave up, and serves the next one.
    stage.will([assertion("updated", 86400)]);
    later(Duration::from_secs(11)).await;
    let gave_up = waiting.await.unwrap();
    assert!(gave_up.is_ok() || matches!(gave_up, Err(CredentialError::Unavailable(_))));
    until(async || stage.calls(PATH) == 2).await;
    assert_eq!(identity.assertion().await.unwrap().expose(), "updated");
    assert_eq!(stage.calls(PATH), 2);
}

#[tokio::test]
async fn forgotten_only_when_it_is_not_brand_new() {
    let stage = Stage::start().await;
    stage.will([assertion("first", 86400), assertion("second", 86400)]);
    let identity = identity(&stage);
    identity.assertion().await.unwrap();
    identity.forget();
    assert_eq!(identity.assertion().await.unwrap().expose(), "first");
    later(Duration::from_secs(31)).await;
    identity.forget();
    assert_eq!(identity.assertion().await.unwrap().expose(), "second");
}

#[tokio::test]
async fn answers_without_a_token_are_no_answers() {
    for body in [json!({}), json!({"access_token": "", "expires_in": "9"}), json!({"access_token": "t"})] {
        let stage = Stage::start().await;
        stage.will([answer(200, &body)]);
        let error = identity(&stage).assertion().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable(_)), "{body}: {error}");
    }
}

#[tokio::test]
async fn app_service_is_asked_in_its_own_way() {
    let stage = Stage::start().await;
    let host = IdentityHost::AppService {
        endpoint: format!("{}/msi/token/", stage.address()),
        header: "canary-of-the-host".to_owned().into(),
    };
    let identity =
        ManagedIdentity::new(entra::Cloud::Public, Some("the identity".into()), &host, Arc::new(now)).unwrap();
    // It says when the token ends, not how long it lives, and writes that as a string.
    let day = json!({"access_token": "first", "expires_on": (NOW_S + 86_400).to_string(), "token_type": "Bearer"});
    stage.will([answer(200, day)]);
    assert_eq!(identity.assertion().await.unwrap().expose(), "first");
    let call = stage.last_call();
    assert_eq!((call.method.as_str(), call.path.as_str()), ("GET", "/msi/token/"));
    assert_eq!(call.headers["x-identity-header"], "canary-of-the-host");
    assert!(!call.headers.contains_key("metadata"));
    assert_eq!(call.form["api-version"], "2019-08-01");
    assert_eq!(call.form["resource"], "api://AzureADTokenExchange");
    assert_eq!(call.form["client_id"], "the identity");
    later(Duration::from_secs(86_500)).await;
    let refused =
        json!({"statusCode": 400, "message": "No managed identity found for the given id", "correlationId": "1"});
    stage.will([answer(400, refused)]);
    let error = identity.assertion().await.unwrap_err();
    assert!(matches!(error, CredentialError::Broken(_)) && !error.to_string().contains("canary"), "{error}");
    assert!(error.to_string().contains("No managed identity found"), "{error}");
    // One that has ended already is none.
    let dead = json!({"access_token": "late", "expires_on": NOW_S.to_string()});
    stage.will([(); 4].map(|()| answer(200, dead.clone())));
    assert!(matches!(identity.assertion().await.unwrap_err(), CredentialError::Unavailable(_)));
}
