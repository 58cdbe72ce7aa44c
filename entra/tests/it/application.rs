//! Tokens by which the gateway itself signs in elsewhere: of its registration, or of its managed identity.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra::credential::{IdentityHost, WorkloadIdentity};
use entra::{ApplicationTokens, Authority, Client, Error, Settings};
use fake_entra::{FakeEntra, Options, Seed};
use serde_json::{Value, json};

use crate::support::*;

const REDIS: &str = "https://redis.azure.com";

fn claims(token: &entra::AccessToken) -> Value {
    let part = token.token.expose().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn of_a_registration_by_a_workloads_token() {
    install_tls();
    let fake = FakeEntra::start(Options::default()).await.unwrap();
    let file = std::env::temp_dir().join(format!("entra-{}-application", std::process::id()));
    std::fs::write(&file, fake.mint_service_account_token("system:serviceaccount:sallyport:sallyport")).unwrap();
    let settings = Settings {
        authority: Authority::new(&fake.authority(), fake.tenant_id()).unwrap(),
        client_id: fake.gateway_client_id().to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: true,
    };
    let client = Arc::new(Client::new(settings, Arc::new(WorkloadIdentity::new(file.clone()))).unwrap());
    let token = ApplicationTokens::of_registration(client.clone(), REDIS).token().await.unwrap();
    assert_eq!(
        (claims(&token)["idtyp"].clone(), claims(&token)["azp"].clone()),
        ("app".into(), fake.gateway_client_id().into())
    );
    assert!(token.expires_in >= Duration::from_secs(3600));
    // A resource nobody knows is the operator's to mend.
    let unknown = ApplicationTokens::of_registration(client, "https://nobody.example").token().await.unwrap_err();
    assert!(matches!(&unknown, Error::SetUp(words) if words.contains("500011")), "{unknown}");
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn of_a_managed_identity_as_itself() {
    install_tls();
    let fake = FakeEntra::start(Options::default()).await.unwrap();
    let host = IdentityHost::Metadata { endpoint: fake.imds_url() };
    let of = |client_id: &str| {
        ApplicationTokens::of_identity(Some(client_id.to_owned()), &host, REDIS, Arc::new(now)).unwrap()
    };
    let token = of(fake.gateway_identity()).token().await.unwrap();
    assert_eq!(claims(&token)["aud"], json!(REDIS));
    assert_eq!(claims(&token)["oid"], json!(Seed::default().identities[0].principal_id));
    let unknown = of("00000000-0000-0000-0000-000000000000").token().await.unwrap_err();
    assert!(matches!(&unknown, Error::SetUp(words) if words.contains("Identity not found")), "{unknown}");
}

#[tokio::test]
async fn each_is_asked_for_anew_and_trouble_is_for_later() {
    let stage = Stage::start().await;
    let client = Arc::new(stage.client(GATEWAY));
    let tokens = ApplicationTokens::of_registration(client, REDIS);
    let good = |token: &str| answer(200, json!({"token_type": "Bearer", "access_token": token, "expires_in": 3599}));
    stage.will([good("first"), answer(500, ""), good("second"), answer(503, ""), answer(503, "")]);
    assert_eq!(tokens.token().await.unwrap().token.expose(), "first");
    let call = stage.last_call();
    assert_eq!(
        (&*call.form["grant_type"], &*call.form["scope"]),
        ("client_credentials", "https://redis.azure.com/.default")
    );
    assert_eq!(&*call.form["client_assertion"], "assertion");
    assert_eq!(
        tokens.token().await.unwrap().token.expose(),
        "second",
        "asked twice, for the first answer was a failure"
    );
    assert!(matches!(tokens.token().await.unwrap_err(), Error::TryLater { .. }));
}
