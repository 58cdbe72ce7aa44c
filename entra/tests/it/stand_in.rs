//! The whole of it against the stand-in for Entra: strict where Entra is strict.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use entra::credential::WorkloadIdentity;
use entra::{
    AccessTokenPolicy, Authority, AuthorizeRequest, ClaimsError, Client, ClientCredential, Error, Redemption, Renewal,
    Secret, Settings, SignIn, Url,
};
use fake_entra::{FakeEntra, Fault, Options, Rotation};

use crate::support::{identity_at, install_tls};

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "http://localhost/oauth-callback";
const ADELE: &str = "5d0c7e91-64fa-4b38-93e2-8b1f4c6a20a1";
const USER_READ: &str = "https://graph.microsoft.com/User.Read";

async fn start() -> FakeEntra {
    install_tls();
    FakeEntra::start(Options::default()).await.unwrap()
}

fn now() -> SystemTime {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    std::time::UNIX_EPOCH + since
}

fn of_adele<'a>(fake: &'a FakeEntra, refresh_token: &'a Secret, scope: &'a str) -> Renewal<'a> {
    Renewal { refresh_token, tenant_id: fake.tenant_id(), object_id: ADELE, scope, claims: None }
}

fn client(fake: &FakeEntra, client_id: &str, credential: Arc<dyn ClientCredential>) -> Client {
    let authority = Authority::new(&fake.authority(), fake.tenant_id()).unwrap();
    let settings =
        Settings { authority, client_id: client_id.into(), extra_ca_file: None, cae: false, accept_emulator: true };
    Client::new(settings, credential).unwrap()
}

fn managed(fake: &FakeEntra, identity: &str) -> Arc<dyn ClientCredential> {
    Arc::new(identity_at(identity, fake.imds_url()))
}

fn gateway(fake: &FakeEntra) -> Client {
    client(fake, fake.gateway_client_id(), managed(fake, fake.gateway_identity()))
}

fn server(fake: &FakeEntra) -> Client {
    client(fake, fake.server_client_id(), managed(fake, fake.server_identity()))
}

/// A gateway that proves itself by a projected service-account token, and the file it reads.
fn projected_gateway(fake: &FakeEntra, name: &str) -> (Client, PathBuf) {
    let path = std::env::temp_dir().join(format!("entra-stand-in-{}-{name}", std::process::id()));
    (client(fake, fake.gateway_client_id(), Arc::new(WorkloadIdentity::new(path.clone()))), path)
}

fn policy(fake: &FakeEntra) -> AccessTokenPolicy {
    AccessTokenPolicy {
        audiences: vec![fake.server_client_id().into()],
        allowed_callers: vec![fake.gateway_client_id().into()],
        required_scope: Some("access_as_user".into()),
    }
}

fn scope(fake: &FakeEntra) -> String {
    format!("{} openid profile offline_access", fake.scope())
}

/// Sends a browser to the authorize URL; what the callback gets.
async fn callback(fake: &FakeEntra, client: &Client, user: &str) -> Url {
    fake.next_login(user);
    let scope = scope(fake);
    let request = AuthorizeRequest {
        redirect_uri: CALLBACK,
        scope: &scope,
        state: "state",
        nonce: "nonce",
        code_challenge: CHALLENGE,
        prompt: None,
        login_hint: None,
        claims: None,
    };
    let browser = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let answer = browser.get(client.authorize_url(&request)).send().await.unwrap();
    let location = answer.headers().get("location").expect("a redirect").to_str().unwrap();
    Url::parse(location).unwrap()
}

fn code(callback: &Url) -> Secret {
    let code = callback.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    Secret::new(code)
}

async fn redeem(fake: &FakeEntra, client: &Client, code: &Secret) -> Result<SignIn, Error> {
    redeem_with(fake, client, code, VERIFIER, "nonce").await
}

async fn redeem_with(
    fake: &FakeEntra,
    client: &Client,
    code: &Secret,
    verifier: &str,
    nonce: &str,
) -> Result<SignIn, Error> {
    let (verifier, scope) = (Secret::new(verifier.into()), scope(fake));
    let redemption = Redemption { code, redirect_uri: CALLBACK, scope: &scope, code_verifier: &verifier, nonce };
    client.redeem(redemption, now()).await
}

async fn sign_in(fake: &FakeEntra, client: &Client, user: &str) -> SignIn {
    let code = code(&callback(fake, client, user).await);
    redeem(fake, client, &code).await.unwrap()
}

#[tokio::test]
async fn from_the_authorize_url_to_a_graph_token() {
    let fake = start().await;
    let gateway = gateway(&fake);
    let signed_in = sign_in(&fake, &gateway, "adele@contoso.example").await;
    assert_eq!(signed_in.user.tenant_id, fake.tenant_id());
    assert_eq!(signed_in.user.name.as_deref(), Some("Adele Vance"));
    assert!(signed_in.access_token.expires_in >= Duration::from_secs(3600));
    assert_eq!(fake.counters().token_calls(), 1);

    let server = server(&fake);
    let token = &signed_in.access_token.token;
    let user = server.verify_access_token(token.expose(), &policy(&fake), now()).await.unwrap();
    assert_eq!(user.user.object_id, signed_in.user.object_id);
    assert_eq!(user.caller, fake.gateway_client_id());
    let graph = server.on_behalf_of(fake.tenant_id(), token, USER_READ, None).await.unwrap();
    assert!(graph.scope.contains("User.Read"), "{}", graph.scope);

    // A Graph token proves nothing here, even to whoever asked for it.
    let outcome = server.verify_access_token(graph.token.expose(), &policy(&fake), now()).await;
    assert!(outcome.is_err(), "{outcome:?}");

    let calls: Vec<_> = fake.journal().into_iter().filter(|entry| entry.path.ends_with("/token")).collect();
    assert!(calls.iter().filter(|entry| entry.method == "POST").all(|entry| entry.client_assertion));
    for entry in fake.journal() {
        assert!(!entry.resource || entry.path.starts_with("/metadata"), "{entry:?}");
        assert!(!entry.origin && !entry.client_secret, "{entry:?}");
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_only_with_its_verifier_and_nonce() {
    let fake = start().await;
    let gateway = gateway(&fake);
    let user = "adele@contoso.example";
    let used = code(&callback(&fake, &gateway, user).await);
    redeem(&fake, &gateway, &used).await.unwrap();
    assert!(matches!(redeem(&fake, &gateway, &used).await, Err(Error::Refused(refusal)) if refusal.codes == [54005]));

    let other = code(&callback(&fake, &gateway, user).await);
    let verifier = "x".repeat(43);
    let wrong = redeem_with(&fake, &gateway, &other, &verifier, "nonce").await;
    assert!(matches!(wrong, Err(Error::Refused(refusal)) if refusal.codes == [501481]));

    let third = code(&callback(&fake, &gateway, user).await);
    let wrong = redeem_with(&fake, &gateway, &third, VERIFIER, "another").await;
    assert!(matches!(wrong, Err(Error::Untrusted(ClaimsError::Nonce))));
}

#[tokio::test]
async fn a_service_account_token_proves_the_gateway_too() {
    let fake = start().await;
    let (gateway, path) = projected_gateway(&fake, "swapped");
    std::fs::write(&path, fake.mint_service_account_token("system:serviceaccount:other:other") + "\n").unwrap();
    let first = code(&callback(&fake, &gateway, "alex@contoso.example").await);
    let error = redeem(&fake, &gateway, &first).await.unwrap_err();
    assert!(matches!(&error, Error::SetUp(words) if words.contains("AADSTS7002")), "{error}");
    // The kubelet swaps the file; nobody tells us.
    std::fs::write(&path, fake.mint_service_account_token("system:serviceaccount:sallyport:sallyport") + "\n").unwrap();
    sign_in(&fake, &gateway, "alex@contoso.example").await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn production_refuses_the_stand_in() {
    let fake = start().await;
    let authority = Authority::new(&fake.authority(), fake.tenant_id()).unwrap();
    let client_id = fake.gateway_client_id().to_owned();
    let settings = Settings { authority, client_id, extra_ca_file: None, cae: false, accept_emulator: false };
    let strict = Client::new(settings.clone(), managed(&fake, fake.gateway_identity())).unwrap();
    let code = code(&callback(&fake, &strict, "adele@contoso.example").await);
    assert!(matches!(redeem(&fake, &strict, &code).await, Err(Error::Untrusted(ClaimsError::Emulator))));

    let authority = Authority::new("https://login.microsoftonline.com", fake.tenant_id()).unwrap();
    let real = Settings { authority, accept_emulator: true, ..settings };
    assert!(Client::new(real, managed(&fake, fake.gateway_identity())).is_err());
}

#[tokio::test]
async fn outages_end_in_try_later() {
    let fake = start().await;
    let gateway = gateway(&fake);
    let server = server(&fake);
    let token = sign_in(&fake, &gateway, "adele@contoso.example").await.access_token.token;
    let path = "/oauth2/v2.0/token";
    for fault in [
        Fault { html: true, status: Some(200), times: 2, ..Fault::on(path) },
        Fault { html: true, status: Some(503), times: 2, ..Fault::on(path) },
        Fault { status: Some(302), times: 2, ..Fault::on(path) },
        Fault { drop_connection: true, times: 2, ..Fault::on(path) },
        Fault { truncate_body: true, times: 2, ..Fault::on(path) },
    ] {
        let shown = format!("{fault:?}");
        fake.fault(fault);
        let error = server.on_behalf_of(fake.tenant_id(), &token, USER_READ, None).await.unwrap_err();
        assert!(matches!(error, Error::TryLater { .. }), "{shown}: {error}");
        // Use up what is left of the fault.
        while server.on_behalf_of(fake.tenant_id(), &token, USER_READ, None).await.is_err() {}
    }
}

#[tokio::test]
async fn errors_of_entra_reach_whom_they_concern() {
    let fake = start().await;
    let token = sign_in(&fake, &gateway(&fake), "adele@contoso.example").await.access_token.token;
    let server = server(&fake);
    let mut kinds = Vec::new();
    for aadsts in [50076, 65001, 53003, 50013, 700213, 90055] {
        fake.fault(Fault { aadsts: Some(aadsts), ..Fault::on("/oauth2/v2.0/token") });
        let error = server.on_behalf_of(fake.tenant_id(), &token, USER_READ, None).await.unwrap_err();
        kinds.push(match error {
            Error::UserMustAct(_) => (aadsts, "user"),
            Error::Refused(_) => (aadsts, "refused"),
            Error::TryLater { .. } => (aadsts, "later"),
            Error::SetUp(_) => (aadsts, "set-up"),
            Error::Untrusted(_) | Error::OtherTenant { .. } => (aadsts, "untrusted"),
        });
    }
    let expected = [
        (50076, "user"),
        (65001, "user"),
        (53003, "refused"),
        (50013, "refused"),
        (700213, "set-up"),
        (90055, "later"),
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_sign_in_is_renewed_until_entra_says_no() {
    let fake = start().await;
    let gateway = gateway(&fake);
    let signed_in = sign_in(&fake, &gateway, "adele@contoso.example").await;
    let first = signed_in.refresh_token.expect("offline_access was asked for");
    let renewed = gateway.refresh(of_adele(&fake, &first, &scope(&fake))).await.unwrap();
    let second = renewed.refresh_token.expect("every use gives a new one");
    assert_ne!(second.expose(), first.expose());
    let user = server(&fake).verify_access_token(renewed.access_token.token.expose(), &policy(&fake), now()).await;
    assert_eq!(user.unwrap().user.object_id, signed_in.user.object_id);
    gateway.refresh(of_adele(&fake, &first, &scope(&fake))).await.expect("the old one stays good");
    assert!(fake.journal().iter().all(|entry| !entry.resource || entry.path.starts_with("/metadata")));

    let fault = |aadsts| Fault { aadsts: Some(aadsts), ..Fault::on("/oauth2/v2.0/token") };
    fake.fault(fault(50173));
    assert!(matches!(gateway.refresh(of_adele(&fake, &second, &scope(&fake))).await, Err(Error::Refused(_))));
    fake.fault(fault(50076));
    let Err(Error::UserMustAct(refusal)) = gateway.refresh(of_adele(&fake, &second, &scope(&fake))).await else {
        panic!("another factor is due")
    };
    assert!(refusal.claims.is_some());
    let forged = Secret::new("1.AXforged".into());
    assert!(matches!(gateway.refresh(of_adele(&fake, &forged, &scope(&fake))).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn keys_roll_without_a_failed_sign_in() {
    let fake = start().await;
    // The cluster's keys do not roll with Entra's, so the gateway's own proof stays good.
    let (gateway, path) = projected_gateway(&fake, "rolled");
    std::fs::write(&path, fake.mint_service_account_token("system:serviceaccount:sallyport:sallyport")).unwrap();
    sign_in(&fake, &gateway, "adele@contoso.example").await;
    for step in [Rotation::Publish, Rotation::Activate, Rotation::Retire] {
        fake.rotate_keys(step).unwrap();
        sign_in(&fake, &gateway, "adele@contoso.example").await;
    }
    // Asked again for the activated key, and not since.
    assert_eq!(fake.counters().keys, 2);
    std::fs::remove_file(path).unwrap();
}
