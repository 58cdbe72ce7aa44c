mod roster;
mod scale;
mod tiers;

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use entra::{Secret, SignIn, User};
use http::HeaderValue;

use super::*;
use crate::sealed::{KeyRing, OpenError};
use crate::store::MemoryStore;

const HERE: &str = "https://mcp.example.com/mcp";

const TENANT: &str = "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d";
const CLIENT: [u8; 32] = [1; 32];
const HOUR: u64 = 3600;

struct Fixture {
    clock: Clock,
    sessions: Arc<Sessions>,
}

fn fixture() -> Fixture {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    replica(KeyRing::ephemeral(), Arc::new(MemoryStore::new(clock.clone())), &clock)
}

fn replica(ring: KeyRing, store: Arc<dyn Store>, clock: &Clock) -> Fixture {
    let sealer = Sealer::new(ring, "https://mcp.example.com");
    let audit = Audit::to_log(sealer.clone(), clock.clone());
    let sessions =
        Sessions::new(Settings::default(), store, sealer, clock.clone(), Arc::new(nobody()), Access::default(), audit);
    Fixture { sessions: Arc::new(sessions), clock: clock.clone() }
}

/// With these keys, by id and state.
fn ring(keys: &[(u8, &str)]) -> KeyRing {
    let keys = keys.iter().map(|(id, state)| {
        let key = BASE64_URL_SAFE_NO_PAD.encode([*id; 32]);
        serde_json::json!({ "id": id, "created": 0, "state": state, "key": key })
    });
    let text = serde_json::json!({ "version": 1, "keys": keys.collect::<Vec<_>>() }).to_string();
    let random = Index(crate::secret::random_bytes()).to_text();
    let file = std::env::temp_dir().join(format!("sallyport-ring-{random}.json"));
    std::fs::write(&file, text).unwrap();
    let ring = KeyRing::load(&file);
    std::fs::remove_file(&file).unwrap();
    ring.unwrap()
}

/// Has no proof to give.
struct NoCredential;

#[async_trait::async_trait]
impl entra::ClientCredential for NoCredential {
    async fn proof(&self, _: &entra::Url) -> Result<entra::credential::Proof, entra::CredentialError> {
        Err(entra::CredentialError::Unavailable("none in this test".into()))
    }

    fn forget(&self) {}
}

/// Entra out of reach: what calls it fails at once, for reasons that pass.
fn nobody() -> entra::Client {
    // An error says that another test of this process was first.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let settings = entra::Settings {
        authority: entra::Authority::new("http://127.0.0.1:9", TENANT).unwrap(),
        client_id: "g".into(),
        extra_ca_file: None,
        cae: false,
        accept_emulator: false,
    };
    entra::Client::new(settings, Arc::new(NoCredential)).unwrap()
}

impl Fixture {
    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn refresh(&self, refresh_token: &str) -> Result<IssuedTokens, NotRefreshed> {
        let token = self.sessions.open_refresh_token(CLIENT, refresh_token).unwrap();
        self.sessions.refresh(&token, &Context::default()).await
    }

    async fn admits(&self, access_token: &str) -> bool {
        self.sessions.admit(Some(&authorization(access_token)), HERE).await.is_ok()
    }
}

fn sign_in(expires_in: u64) -> SignIn {
    SignIn {
        user: User { tenant_id: TENANT.into(), object_id: "o".into(), name: None, username: None },
        memberships: entra::Memberships::default(),
        access_token: entra::AccessToken {
            token: Secret::new("entra-token".into()),
            expires_in: Duration::from_secs(expires_in),
            scope: String::new(),
        },
        refresh_token: None,
    }
}

async fn issued(fixture: &Fixture, expires_in: u64) -> (Begun, IssuedTokens) {
    begin(fixture, &sign_in(expires_in)).await
}

async fn begin(fixture: &Fixture, sign_in: &SignIn) -> (Begun, IssuedTokens) {
    let grant = Grant { client: CLIENT, resource: HERE.to_owned() };
    let begun = fixture.sessions.begin(sign_in, "scope", &grant, "Test client").await.unwrap();
    let tokens = fixture.sessions.issue(&begun, &grant);
    (begun, tokens)
}

/// With a token of Entra's that lasts for `expires_in` seconds, and one that would renew it if anybody listened.
async fn renewable(fixture: &Fixture, expires_in: u64) -> (IssuedTokens, String) {
    let sign_in = SignIn { refresh_token: Some(Secret::new("entra-refresh-token".into())), ..sign_in(expires_in) };
    let (_, tokens) = begin(fixture, &sign_in).await;
    let refresh_token = tokens.refresh_token.clone().unwrap();
    (tokens, refresh_token)
}

fn successor(tokens: Result<IssuedTokens, NotRefreshed>) -> String {
    tokens.unwrap_or_else(|error| panic!("{error}")).refresh_token.unwrap()
}

fn authorization(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).unwrap()
}

#[tokio::test]
async fn a_token_admits_with_entras_token_and_hides_it_from_debug() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 3600).await;
    let admitted = fixture.sessions.admit(Some(&authorization(&issued.access_token)), HERE).await.unwrap();
    assert_eq!(admitted.bearer(), "Bearer entra-token");
    assert!(!format!("{admitted:?}").contains("entra-token"));
}

#[tokio::test]
async fn the_scheme_is_required_and_its_case_does_not_matter() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 3600).await;
    for scheme in ["bearer", "BEARER"] {
        let header = HeaderValue::try_from(format!("{scheme} {}", issued.access_token)).unwrap();
        assert!(fixture.sessions.admit(Some(&header), HERE).await.is_ok());
    }
    for header in [issued.access_token.clone(), format!("Basic {}", issued.access_token)] {
        let header = HeaderValue::try_from(header).unwrap();
        assert!(matches!(fixture.sessions.admit(Some(&header), HERE).await, Err(Denied::Missing)));
    }
    assert!(matches!(fixture.sessions.admit(None, HERE).await, Err(Denied::Missing)));
}

#[tokio::test]
async fn a_token_is_a_forgery_at_another_resource() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 3600).await;
    let denied = fixture
        .sessions
        .admit(Some(&authorization(&issued.access_token)), "https://mcp.example.com/other")
        .await
        .unwrap_err();
    assert!(matches!(denied, Denied::Token(OpenError::Forged)));
}

#[tokio::test]
async fn lifetimes_are_entras_minus_a_margin() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 300).await;
    assert_eq!(issued.expires_in, Duration::from_secs(270));
    fixture.clock.advance(issued.expires_in);
    let denied = fixture.sessions.admit(Some(&authorization(&issued.access_token)), HERE).await.unwrap_err();
    assert!(matches!(denied, Denied::Expired));
}

#[tokio::test]
async fn an_ended_session_admits_nobody() {
    let fixture = fixture();
    let (handle, issued) = issued(&fixture, 3600).await;
    fixture
        .sessions
        .end(fixture.sessions.index(&handle).unwrap(), Ending::SignedOut, &Context::default())
        .await
        .unwrap();
    let denied = fixture.sessions.admit(Some(&authorization(&issued.access_token)), HERE).await.unwrap_err();
    assert!(matches!(denied, Denied::Revoked));
}

#[tokio::test]
async fn without_a_refresh_token_of_entras_there_is_none_of_ours_and_the_session_ends_with_entras_token() {
    let fixture = fixture();
    let (_, tokens) = issued(&fixture, 600).await;
    assert!(tokens.refresh_token.is_none());
    fixture.pass(569);
    assert!(fixture.admits(&tokens.access_token).await);
    fixture.pass(1);
    assert!(!fixture.admits(&tokens.access_token).await);
}

#[tokio::test]
async fn each_refresh_gives_a_successor_and_old_access_tokens_live_out_their_time() {
    let fixture = fixture();
    let (first, mut refresh_token) = renewable(&fixture, 20 * HOUR).await;
    for _ in 0..5 {
        fixture.pass(60);
        let tokens = fixture.refresh(&refresh_token).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(tokens.expires_in, Duration::from_secs(HOUR));
        assert!(fixture.admits(&tokens.access_token).await && fixture.admits(&first.access_token).await);
        assert_ne!(tokens.refresh_token.as_ref(), Some(&refresh_token));
        refresh_token = tokens.refresh_token.unwrap();
    }
}

#[tokio::test]
async fn a_repetition_within_the_grace_gives_the_very_same_successor() {
    let fixture = fixture();
    let (_, refresh_token) = renewable(&fixture, 20 * HOUR).await;
    let next = successor(fixture.refresh(&refresh_token).await);
    for _ in 0..5 {
        fixture.pass(9);
        assert_eq!(successor(fixture.refresh(&refresh_token).await), next);
    }
    let after_next = successor(fixture.refresh(&next).await);
    assert_ne!(after_next, next);
}

/// Found by a schedule: of two replicas one wrote that the session goes on, and the other moved the counter, for as long as it had
/// read before that the session lives.
#[tokio::test]
async fn refreshes_that_cross_at_two_replicas_leave_the_session_all_of_its_idle_time() {
    let fixture = fixture();
    let (_, first) = renewable(&fixture, 240 * HOUR).await;
    fixture.pass(20 * HOUR);
    let (id, _) = fixture.sessions.open_refresh_token(CLIENT, &first).unwrap().named();
    let session = fixture.sessions.sealer.index(&id).unwrap();
    let other_replica = fixture.sessions.locks.acquire(session).await.unwrap().unwrap();
    let second = successor(fixture.refresh(&first).await);
    fixture.sessions.locks.release(other_replica).await;
    assert_eq!(successor(fixture.refresh(&first).await), second, "the one that writes comes second");
    fixture.pass(23 * HOUR);
    successor(fixture.refresh(&second).await);
}

#[tokio::test]
async fn a_reuse_ends_the_session_for_everybody() {
    // After the grace, and within it when the successor was used.
    for (wait, use_successor) in [(46, false), (0, true)] {
        let fixture = fixture();
        let (_, refresh_token) = renewable(&fixture, 20 * HOUR).await;
        let tokens = fixture.refresh(&refresh_token).await.unwrap_or_else(|error| panic!("{error}"));
        let mut newest = tokens.refresh_token.unwrap();
        if use_successor {
            newest = successor(fixture.refresh(&newest).await);
        }
        fixture.pass(wait);
        assert!(fixture.admits(&tokens.access_token).await);
        assert!(matches!(fixture.refresh(&refresh_token).await, Err(NotRefreshed::Over(Over::Reused))));
        assert!(!fixture.admits(&tokens.access_token).await);
        assert!(matches!(fixture.refresh(&newest).await, Err(NotRefreshed::Over(Over::Ended))));
    }
}

#[tokio::test]
async fn a_session_lives_for_its_idle_time_after_a_refresh_and_never_beyond_its_end() {
    let fixture = fixture();
    let (_, mut refresh_token) = renewable(&fixture, 30 * 24 * HOUR).await;
    for _ in 0..7 {
        fixture.pass(24 * HOUR - 61);
        refresh_token = successor(fixture.refresh(&refresh_token).await);
    }
    // Seven minutes are left of the seven days.
    let tokens = fixture.refresh(&refresh_token).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tokens.expires_in, Duration::from_secs(7 * 61));
    assert!(fixture.admits(&tokens.access_token).await);
    fixture.pass(7 * 61);
    assert!(!fixture.admits(&tokens.access_token).await);
    assert!(fixture.refresh(&tokens.refresh_token.unwrap()).await.is_err());

    let (_, idle) = renewable(&fixture, 30 * 24 * HOUR).await;
    fixture.pass(24 * HOUR);
    assert!(matches!(fixture.refresh(&idle).await, Err(NotRefreshed::Over(_))));
}

#[tokio::test]
async fn while_entra_is_out_a_token_serves_as_long_as_it_can_and_nobody_is_signed_out() {
    let fixture = fixture();
    let (_, refresh_token) = renewable(&fixture, HOUR).await;
    fixture.pass(HOUR - 200);
    let tokens = fixture.refresh(&refresh_token).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tokens.expires_in, Duration::from_secs(170), "what is left of Entra's, less the margin");
    let newest = tokens.refresh_token.unwrap();
    fixture.pass(150);
    for wait in [0, 10, 60, 600, HOUR] {
        fixture.pass(wait);
        let Err(NotRefreshed::Later { .. }) = fixture.refresh(&newest).await else { panic!("Entra is out") };
        assert!(matches!(fixture.refresh(&newest).await, Err(NotRefreshed::Later { retry_after: Some(_) })));
    }
}

#[tokio::test]
async fn tokens_are_their_clients_own_and_revoke_their_session() {
    let fixture = fixture();
    let (tokens, refresh_token) = renewable(&fixture, HOUR).await;
    assert!(fixture.sessions.open_refresh_token([2; 32], &refresh_token).is_err());
    let resources = || ["https://mcp.example.com/other", HERE].into_iter();
    for (client, token) in [
        ([2; 32], refresh_token.as_str()),
        ([2; 32], &tokens.access_token),
        (CLIENT, "sp1_rt_unknown"),
        (CLIENT, ""),
        (CLIENT, &refresh_token.replace("sp1_rt_", "sp1_at_")),
    ] {
        fixture.sessions.revoke(client, token, resources(), &Context::default()).await.unwrap();
        assert!(fixture.admits(&tokens.access_token).await, "{token}");
    }
    fixture.sessions.revoke(CLIENT, &tokens.access_token, resources(), &Context::default()).await.unwrap();
    assert!(!fixture.admits(&tokens.access_token).await);
    assert!(fixture.refresh(&refresh_token).await.is_err());

    let (tokens, refresh_token) = renewable(&fixture, HOUR).await;
    let newest = successor(fixture.refresh(&refresh_token).await);
    fixture.sessions.revoke(CLIENT, &refresh_token, resources(), &Context::default()).await.unwrap();
    assert!(!fixture.admits(&tokens.access_token).await, "a superseded token ends the session too");
    assert!(fixture.refresh(&newest).await.is_err());
}

#[tokio::test]
async fn a_session_survives_the_rotation_of_keys_until_its_own_has_left_the_ring() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let before = replica(ring(&[(1, "active"), (2, "open-only")]), store.clone(), &clock);
    let during = replica(ring(&[(1, "open-only"), (2, "active")]), store.clone(), &clock);
    let after = replica(ring(&[(1, "revoked"), (2, "active")]), store, &clock);
    let (first, refresh_token) = renewable(&before, 20 * HOUR).await;
    let second = during.refresh(&refresh_token).await.unwrap_or_else(|error| panic!("{error}"));
    let tokens = before.refresh(second.refresh_token.as_ref().unwrap()).await.unwrap_or_else(|error| panic!("{error}"));
    for replica in [&before, &during] {
        assert!(replica.admits(&first.access_token).await && replica.admits(&second.access_token).await);
    }
    // A replica that has another active key names the same generation in another way.
    clock.advance(Duration::from_secs(10));
    successor(before.refresh(&successor(during.refresh(second.refresh_token.as_ref().unwrap()).await)).await);
    assert!(!after.admits(&tokens.access_token).await);
    assert!(after.sessions.open_refresh_token(CLIENT, &refresh_token).is_err());
    let token = after.sessions.open_refresh_token(CLIENT, second.refresh_token.as_ref().unwrap()).unwrap();
    assert!(
        matches!(after.sessions.refresh(&token, &Context::default()).await, Err(NotRefreshed::Over(_))),
        "its record is lost"
    );
}

/// GU-18: under continuous access evaluation Entra's tokens live for a day and more.
#[tokio::test]
async fn a_token_of_entras_that_lives_long_makes_no_session_live_longer() {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
    let audit = Audit::to_log(sealer.clone(), clock.clone());
    let eight_hours = Duration::from_secs(8 * HOUR);
    let settings = Settings { session_idle: eight_hours, session_max: eight_hours, ..Settings::default() };
    let sessions =
        Arc::new(Sessions::new(settings, store, sealer, clock.clone(), Arc::new(nobody()), Access::default(), audit));
    let fixture = Fixture { sessions, clock };
    let (mut tokens, mut refresh_token) = renewable(&fixture, 28 * HOUR).await;
    assert_eq!(tokens.expires_in, Duration::from_secs(HOUR));
    for _ in 0..8 {
        fixture.pass(HOUR - 300);
        tokens = match fixture.refresh(&refresh_token).await {
            Ok(tokens) => tokens,
            Err(error) => panic!("{error}"),
        };
        refresh_token = tokens.refresh_token.clone().unwrap();
    }
    assert!(tokens.expires_in < Duration::from_secs(HOUR) && fixture.admits(&tokens.access_token).await);
    fixture.pass(HOUR);
    assert!(!fixture.admits(&tokens.access_token).await);
    assert!(matches!(fixture.refresh(&refresh_token).await, Err(NotRefreshed::Over(_))));
}
