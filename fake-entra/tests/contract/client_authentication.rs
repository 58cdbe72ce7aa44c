use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fake_entra::directory::{FederatedCredential, Policies, TrustedIssuer};
use fake_entra::{Rotation, Seed};
use serde_json::json;

use crate::support::{ADELE, ASSERTION_TYPE, Answer, Bench, EXCHANGE, bench, bench_with, changed};

const WORKLOAD: &str = "system:serviceaccount:sallyport:sallyport";

/// The outcome of client authentication alone: with it in order, an unknown code is what fails.
async fn attempt(bench: &Bench, assertion: &str) -> (String, u32) {
    bench.redeem("1.AXnone", &[("client_assertion", assertion)]).await.error()
}

fn accepted() -> (String, u32) {
    ("invalid_grant".into(), 70000)
}

fn refused(number: u32) -> (String, u32) {
    ("invalid_client".into(), number)
}

#[tokio::test]
async fn tokens_of_the_trusted_identity_and_workload_are_accepted() {
    let bench = bench().await;
    let identity = bench.imds(bench.entra.gateway_identity()).await;
    assert_eq!(attempt(&bench, &identity).await, accepted());
    let workload = bench.entra.mint_service_account_token(WORKLOAD);
    assert_eq!(attempt(&bench, &workload).await, accepted());
    let code = bench.code(ADELE).await;
    assert_eq!(bench.redeem(&code, &[("client_assertion", &workload)]).await.status, 200);
}

#[tokio::test]
async fn nobody_elses_token_will_do() {
    let bench = bench().await;
    let other = bench.imds(bench.entra.server_identity()).await;
    let answer = bench.redeem("x", &[("client_assertion", &other)]).await;
    assert_eq!(answer.error(), refused(700213));
    assert!(answer.body.contains("No matching federated identity record found for presented assertion subject '"));
    let stranger = bench.entra.mint_service_account_token("system:serviceaccount:sallyport:Sallyport");
    assert_eq!(attempt(&bench, &stranger).await, refused(700213));
}

#[tokio::test]
async fn signature_time_and_shape_are_checked() {
    let bench = bench().await;
    let good = bench.imds(bench.entra.gateway_identity()).await;
    let (message, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    assert_eq!(attempt(&bench, &format!("{message}.{flipped}{}", &signature[1..])).await, refused(700027));
    let (_, payload) = message.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    assert_eq!(attempt(&bench, &format!("{none}.{payload}.")).await, refused(700027));
    for malformed in ["x", "a.b.c", "..", &good[..good.len() / 2]] {
        let answer = bench.redeem("x", &[("client_assertion", malformed)]).await;
        assert_eq!(answer.error(), ("invalid_request".into(), 50027), "{malformed}");
    }
    // The service-account token lives an hour, plus five minutes of skew.
    let workload = bench.entra.mint_service_account_token(WORKLOAD);
    bench.entra.set_clock_offset(3600 + 240);
    assert_eq!(attempt(&bench, &workload).await, accepted());
    bench.entra.set_clock_offset(3600 + 301);
    assert_eq!(attempt(&bench, &workload).await, refused(700024));
    bench.entra.set_clock_offset(-360);
    assert_eq!(attempt(&bench, &workload).await, refused(700024));
}

#[tokio::test]
async fn withdrawn_keys_are_no_longer_believed() {
    let bench = bench().await;
    let old = bench.imds(bench.entra.gateway_identity()).await;
    bench.entra.rotate_keys(Rotation::Emergency).unwrap();
    assert_eq!(attempt(&bench, &old).await, refused(700027));
    let fresh = bench.imds(bench.entra.gateway_identity()).await;
    assert_eq!(attempt(&bench, &fresh).await, accepted());
}

#[tokio::test]
async fn entras_own_tokens_are_assertions_only_if_a_machine_got_them() {
    let bench = bench().await;
    let user = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    assert_eq!(attempt(&bench, &user).await, refused(700229));

    // An app's own client_credentials token.
    let form =
        client_credentials(&bench, bench.entra.gateway_client_id(), "https://graph.microsoft.com/.default").await;
    let app = bench.token(&form).await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(attempt(&bench, &app).await, refused(700226));

    // The identity's token, but obtained through a workload's: chained.
    let form = client_credentials(&bench, bench.entra.gateway_identity(), &format!("{EXCHANGE}/.default")).await;
    let chained = bench.token(&form).await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(attempt(&bench, &chained).await, refused(700231));

    // For another audience than the exchange: a token of version 1.
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net&client_id={}",
        bench.entra.imds_url(),
        bench.entra.gateway_identity()
    );
    let vault = Answer::of(bench.http.get(url).header("metadata", "true").send().await.unwrap()).await.json();
    assert_eq!(attempt(&bench, vault["access_token"].as_str().unwrap()).await, refused(700227));
}

#[tokio::test]
async fn an_app_signs_in_to_redis_as_its_own_service_principal() {
    let seed = Seed { policies: Policies { expires_in: Some(5), ..Policies::default() }, ..Seed::default() };
    let bench = bench_with(seed).await;
    let form = client_credentials(&bench, bench.entra.gateway_client_id(), "https://redis.azure.com/.default").await;
    let answer = bench.token(&form).await.json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(5)));
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none(), "{answer}");
    let claims = crate::support::claims(answer["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], json!("acca5fbb-b7e4-4009-81f1-37e38fd66d78"));
    assert_eq!((&claims["idtyp"], &claims["azpacr"]), (&json!("app"), &json!("2")), "by assertion, of no user");
    assert_eq!(claims["oid"], claims["sub"]);
    assert_ne!(claims["oid"], json!(bench.entra.gateway_client_id()), "the principal has an id of its own");
    // Without its assertion it is nobody.
    let bare = changed(
        &[("client_id", bench.entra.gateway_client_id()), ("grant_type", "client_credentials")],
        &[("scope", "https://redis.azure.com/.default")],
    );
    assert_eq!(bench.token(&bare).await.error().0, "invalid_client");
}

#[tokio::test]
async fn client_credentials_take_default_only() {
    let bench = bench().await;
    let form = client_credentials(&bench, bench.entra.gateway_client_id(), &bench.entra.scope()).await;
    assert_eq!(bench.token(&form).await.error(), ("invalid_scope".into(), 1002012));
    let form = client_credentials(&bench, bench.entra.gateway_client_id(), "api://nobody/.default").await;
    assert_eq!(bench.token(&form).await.error(), ("invalid_resource".into(), 500011));
}

#[tokio::test]
async fn issuers_and_audiences_are_matched_exactly() {
    let tenant = |audience: &str, subject: &str| FederatedCredential {
        issuer: TrustedIssuer::Tenant,
        subject: subject.into(),
        audience: audience.into(),
    };
    let principal = Seed::default().identities[0].principal_id.clone();
    for (credentials, expected) in [
        (vec![], refused(700211)),
        (vec![tenant("api://AzureADTokenExchangeChina", &principal)], refused(700212)),
        (vec![tenant("fb60f99c-7a34-4190-8149-302f77469936", &principal)], refused(700214)),
        (vec![tenant(EXCHANGE, "someone-else")], refused(700213)),
        (vec![tenant(EXCHANGE, &principal)], accepted()),
    ] {
        let mut seed = Seed::default();
        let gateway = seed.gateway.clone();
        seed.apps.iter_mut().find(|app| app.client_id == gateway).unwrap().federated_credentials = credentials.clone();
        let identity = Seed::default().identities[0].client_id.clone();
        let bench = bench_with(seed).await;
        let assertion = bench.imds(&identity).await;
        let form = changed(
            &[("client_id", gateway.as_str()), ("grant_type", "authorization_code"), ("code", "1.AXnone")],
            &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)],
        );
        assert_eq!(bench.token(&form).await.error(), expected, "{credentials:?}");
    }
}

#[tokio::test]
async fn foreign_issuers_need_a_credential_and_cannot_be_fetched() {
    let bench = bench().await;
    let forged = |iss: &str| {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.AAAA", part(json!({"alg": "RS256", "kid": "k"})), part(json!({"iss": iss, "sub": "s"})))
    };
    let foreign = "https://token.actions.githubusercontent.com";
    assert_eq!(attempt(&bench, &forged(foreign)).await, refused(700211));
    let credential = json!({"issuer": {"url": foreign}, "subject": "s", "audience": EXCHANGE});
    let gateway = bench.entra.gateway_client_id();
    bench.order("/fics", json!({"client_id": gateway, "credential": credential})).await;
    assert_eq!(attempt(&bench, &forged(foreign)).await, refused(90061));
    assert_eq!(attempt(&bench, &forged("https://sts.windows.net/x/")).await, refused(700227));
    // A certificate assertion of an app without certificates.
    assert_eq!(attempt(&bench, &forged(gateway)).await, refused(700027));
}

#[tokio::test]
async fn the_assertion_type_is_required() {
    let bench = bench().await;
    for (kind, number) in [("", 900144), ("urn:ietf:params:oauth:client-assertion-type:saml2-bearer", 90023)] {
        let answer = bench.redeem("x", &[("client_assertion_type", kind)]).await;
        assert_eq!(answer.error(), ("invalid_request".into(), number));
    }
}

#[tokio::test]
async fn secrets_work_only_where_the_directory_has_one() {
    let bench_without = bench().await;
    let none = [("client_assertion", ""), ("client_assertion_type", ""), ("client_secret", "guess")];
    let answer = bench_without.redeem("x", &none).await;
    assert_eq!(answer.error(), refused(7000215));
    assert!(answer.body.contains("Invalid client secret provided."));

    let mut seed = Seed::default();
    let gateway = seed.gateway.clone();
    seed.apps.iter_mut().find(|app| app.client_id == gateway).unwrap().secrets = vec!["s3cret~:%".into()];
    let bench = bench_with(seed).await;
    let posted = [("client_assertion", ""), ("client_assertion_type", ""), ("client_secret", "s3cret~:%")];
    assert_eq!(bench.redeem("x", &posted).await.error(), accepted());
    assert_eq!(bench.redeem("x", &none).await.error(), refused(7000215));

    let code = bench.code(ADELE).await;
    let form = bench.redeem_form(&code, &[("client_assertion", ""), ("client_assertion_type", "")]).await;
    let encoded: String = form_urlencoded::byte_serialize(b"s3cret~:%").collect();
    let basic = STANDARD.encode(format!("{gateway}:{encoded}"));
    let sent = bench.http.post(bench.url("/oauth2/v2.0/token")).header("authorization", format!("Basic {basic}"));
    let answer = Answer::of(sent.form(&form).send().await.unwrap()).await.json();
    let claims = crate::support::claims(answer["access_token"].as_str().unwrap());
    assert_eq!(claims["azpacr"], json!("1"));
}

async fn client_credentials(bench: &Bench, client: &str, scope: &str) -> Vec<(String, String)> {
    let assertion = bench.entra.mint_service_account_token(WORKLOAD);
    changed(
        &[("client_id", client), ("grant_type", "client_credentials"), ("scope", scope)],
        &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)],
    )
}
