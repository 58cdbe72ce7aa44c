//! What a client finds out about itself before it serves (GU-11), and what it tells whoever counts its requests (GU-14).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use entra::{AuthorizeRequest, Client, Code, Error, Observer, Operation, Outcome, Settings, SignInAnswer};
use fake_entra::FakeEntra;
use serde_json::{Value, json};

use crate::support::*;

fn document(stage: &Stage) -> Answer {
    answer(200, json!({"issuer": stage.authority().issuer_v2(), "jwks_uri": "unused"}))
}

fn refused(status: u16, error: &str, code: u32) -> Answer {
    answer(status, json!({"error": error, "error_codes": [code]}))
}

#[tokio::test]
async fn a_client_that_entra_believes_is_well() {
    install_tls();
    let fake = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    let settings = Settings {
        authority: entra::Authority::new(&fake.authority(), fake.tenant_id()).unwrap(),
        client_id: fake.gateway_client_id().to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: true,
    };
    let well = Arc::new(identity_at(fake.gateway_identity(), fake.imds_url()));
    let client = Client::new(settings.clone(), well).unwrap();
    assert_eq!((client.keys_age(), client.credential_age()), (None, None));
    client.check().await.unwrap();
    assert!(client.keys_age().is_some_and(|age| age < Duration::from_secs(60)));
    assert!(client.credential_age().is_some_and(|age| age < Duration::from_secs(60)));

    // Another application's identity: no federated credential names it.
    let other = Arc::new(identity_at(fake.server_identity(), fake.imds_url()));
    let error = Client::new(settings, other).unwrap().check().await.unwrap_err();
    assert!(matches!(&error, Error::SetUp(words) if words.contains("AADSTS70021")), "{error}");
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_apart() {
    let elsewhere = json!({"issuer": "https://login.microsoftonline.com/99999999-0000-4000-8000-000000000009/v2.0"});
    let other_cloud = json!({"issuer": "https://login.microsoftonline.us/{tenantid}/v2.0"});
    for (name, discovery, token, expected) in [
        ("good", None, answer(200, json!({"token_type": "Bearer", "access_token": "t", "expires_in": 9})), "ok"),
        ("believed, whatever it may have", None, refused(400, "invalid_grant", 501051), "ok"),
        ("believed, though not for this", None, refused(400, "invalid_scope", 70011), "ok"),
        ("not yet known", None, refused(401, "invalid_client", 700213), "set-up"),
        ("expired", None, refused(401, "invalid_client", 7000222), "set-up"),
        ("no such application", None, refused(400, "unauthorized_client", 700016), "set-up"),
        ("busy", None, answer(503, ""), "later"),
        ("a page", None, answer(200, "<html>"), "later"),
        ("another tenant's", Some(answer(200, elsewhere)), answer(200, ""), "set-up"),
        ("another cloud's", Some(answer(200, other_cloud)), answer(200, ""), "set-up"),
        ("unknown tenant", Some(answer(400, json!({"error": "invalid_tenant"}))), answer(200, ""), "set-up"),
        ("a portal", Some(answer(200, "<html>")), answer(200, ""), "later"),
        ("a portal's redirect", Some(answer(302, "")), answer(200, ""), "later"),
        ("out", Some(answer(503, "")), answer(200, ""), "later"),
    ] {
        let stage = Stage::start().await;
        stage.will([discovery.unwrap_or_else(|| document(&stage)), token]);
        let found = match stage.client(GATEWAY).check().await {
            Ok(()) => "ok",
            Err(Error::SetUp(_)) => "set-up",
            Err(Error::TryLater { .. }) => "later",
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn without_keys_or_a_proof_nothing_is_asked_for() {
    let stage = Stage::start().await;
    stage.will([document(&stage)]);
    stage.publish(Value::Null);
    assert!(matches!(stage.client(GATEWAY).check().await, Err(Error::TryLater { .. })));
    let stage = Stage::start().await;
    stage.will([document(&stage)]);
    let error = stage.client_with(GATEWAY, Fixed::new(""), false).check().await.unwrap_err();
    assert!(matches!(error, Error::TryLater { .. }), "{error}");
    assert_eq!(stage.calls("/token"), 0);
}

#[tokio::test]
async fn after_a_refused_assertion_another_one_is_shown() {
    let stage = Stage::start().await;
    let credential = Fixed::new("old");
    let good = answer(200, json!({"token_type": "Bearer", "access_token": "t", "expires_in": 9}));
    stage.will([document(&stage), refused(401, "invalid_client", 700024), document(&stage), good]);
    let client = stage.client_with(GATEWAY, credential, false);
    assert!(client.check().await.is_err());
    client.check().await.unwrap();
    assert_eq!(stage.last_call().form["client_assertion"], "renewed");
}

/// What an operator is told of the registration: whether Entra knows the redirect URI and the scope, without a user.
#[tokio::test]
async fn the_sign_in_page_tells_what_it_knows_without_a_user() {
    install_tls();
    let fake = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    let settings = Settings {
        authority: entra::Authority::new(&fake.authority(), fake.tenant_id()).unwrap(),
        client_id: fake.gateway_client_id().to_owned(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: true,
    };
    let client = Client::new(settings, Arc::new(identity_at(fake.gateway_identity(), fake.imds_url()))).unwrap();
    assert!(client.check_authority().await.unwrap().is_some(), "the time there");
    client.check_resource(&fake.scope()).await.unwrap();
    let error = client.check_resource("api://99999999-0000-4000-8000-000000000009/access_as_user").await.unwrap_err();
    assert_eq!(error.number(), Some(500_011), "{error}");
    let good = AuthorizeRequest {
        redirect_uri: "http://localhost:8080/oauth-callback",
        scope: &format!("{} openid", fake.scope()),
        state: "s",
        nonce: "n",
        code_challenge: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        prompt: None,
        login_hint: None,
        claims: None,
    };
    assert_eq!(client.check_sign_in(&good).await.unwrap(), SignInAnswer::Known);
    let elsewhere = AuthorizeRequest { redirect_uri: "https://evil.example/oauth-callback", ..good.clone() };
    assert_eq!(client.check_sign_in(&elsewhere).await.unwrap(), SignInAnswer::Refused(50011));
    let scope = fake.scope().replace("access_as_user", "no_such_scope");
    let unexposed = AuthorizeRequest { scope: &scope, ..good.clone() };
    assert_eq!(client.check_sign_in(&unexposed).await.unwrap(), SignInAnswer::Refused(650_053));
    fake.fault(fake_entra::Fault { status: Some(200), html: true, ..fake_entra::Fault::on("/authorize") });
    assert!(matches!(client.check_sign_in(&good).await.unwrap(), SignInAnswer::Unclear(_)));
}

/// How it ended, or that it began.
type Told = (Operation, Option<(Outcome, Code)>);

#[derive(Default)]
struct Counted(Mutex<Vec<Told>>);

impl Observer for Counted {
    fn begun(&self, operation: Operation) {
        self.0.lock().unwrap().push((operation, None));
    }

    fn ended(&self, operation: Operation, outcome: Outcome, code: Code, _: Duration) {
        self.0.lock().unwrap().push((operation, Some((outcome, code))));
    }
}

/// GU-14.
#[tokio::test]
async fn every_request_is_told_when_it_begins_and_how_it_ends_even_if_nobody_waits() {
    let stage = Stage::start().await;
    let counted = Arc::new(Counted::default());
    let settings = Settings {
        authority: stage.authority(),
        client_id: GATEWAY.into(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: false,
    };
    let client = Client::observed(settings, Fixed::new("assertion"), counted.clone()).unwrap();
    let seen = || std::mem::take(&mut *counted.0.lock().unwrap());
    let refresh = async || client.refresh(renewal(&"r".to_owned().into(), "scope")).await;

    stage.will([document(&stage), refused(401, "invalid_client", 700213)]);
    client.check().await.unwrap_err();
    let (ok, none) = (Some((Outcome::Ok, Code::None)), None);
    assert_eq!(
        seen(),
        [
            (Operation::Discovery, none),
            (Operation::Discovery, ok),
            (Operation::Keys, none),
            (Operation::Keys, ok),
            (Operation::ClientCredentials, none),
            (Operation::ClientCredentials, Some((Outcome::SetUp, Code::Known(700213)))),
        ]
    );
    for (script, expected) in [
        (refused(400, "invalid_grant", 700082), (Outcome::Refused, Code::Known(700082))),
        (refused(400, "invalid_grant", 4_000_000_000), (Outcome::Refused, Code::Other)),
        (answer(400, json!({"error": "interaction_required"})), (Outcome::UserMustAct, Code::None)),
        (answer(400, "<html>"), (Outcome::TryLater, Code::None)),
    ] {
        stage.will([script]);
        refresh().await.unwrap_err();
        assert_eq!(seen(), [(Operation::RefreshToken, None), (Operation::RefreshToken, Some(expected))]);
    }
    // Each request counts, the repeated one too.
    stage.will([answer(500, ""), answer(502, "")]);
    refresh().await.unwrap_err();
    assert_eq!(seen().len(), 4);

    stage.will([Answer { delay: Duration::from_secs(60), ..answer(200, "") }]);
    assert!(tokio::time::timeout(Duration::from_millis(200), refresh()).await.is_err());
    let cut = Some((Outcome::Cut, Code::None));
    assert_eq!(seen(), [(Operation::RefreshToken, None), (Operation::RefreshToken, cut)]);
}
