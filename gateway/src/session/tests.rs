use std::time::Duration;

use entra::{Secret, SignIn, User};
use http::HeaderValue;

use super::*;
use crate::sealed::{KeyRing, OpenError};
use crate::store::MemoryStore;

const HERE: &str = "https://mcp.example.com/mcp";

struct Fixture {
    clock: Clock,
    sessions: Sessions,
}

fn fixture() -> Fixture {
    let clock = Clock::manual(Timestamp::from_unix(1_000_000));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
    Fixture { sessions: Sessions::new(Settings::default(), store, sealer, clock.clone()), clock }
}

fn sign_in(expires_in: u64) -> SignIn {
    SignIn {
        user: User { tenant_id: "t".into(), object_id: "o".into(), name: None, username: None },
        access_token: entra::AccessToken {
            token: Secret::new("entra-token".into()),
            expires_in: Duration::from_secs(expires_in),
            scope: String::new(),
        },
        refresh_token: None,
    }
}

async fn issued(fixture: &Fixture, expires_in: u64) -> (Handle, IssuedToken) {
    let handle = fixture.sessions.begin(&sign_in(expires_in)).await.unwrap();
    let grant = Grant { client: [1; 32], resource: HERE.to_owned() };
    let token = fixture.sessions.issue(&handle, &grant);
    (handle, token)
}

fn authorization(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).unwrap()
}

#[tokio::test]
async fn a_token_admits_with_entras_token_and_hides_it_from_debug() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 3600).await;
    let admitted = fixture.sessions.admit(Some(&authorization(&issued.token)), HERE).await.unwrap();
    assert_eq!(admitted.bearer(), "Bearer entra-token");
    assert!(!format!("{admitted:?}").contains("entra-token"));
}

#[tokio::test]
async fn the_scheme_is_required_and_its_case_does_not_matter() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 3600).await;
    for scheme in ["bearer", "BEARER"] {
        let header = HeaderValue::try_from(format!("{scheme} {}", issued.token)).unwrap();
        assert!(fixture.sessions.admit(Some(&header), HERE).await.is_ok());
    }
    for header in [issued.token.clone(), format!("Basic {}", issued.token)] {
        let header = HeaderValue::try_from(header).unwrap();
        assert!(matches!(fixture.sessions.admit(Some(&header), HERE).await, Err(Denied::Missing)));
    }
    assert!(matches!(fixture.sessions.admit(None, HERE).await, Err(Denied::Missing)));
}

#[tokio::test]
async fn a_token_is_a_forgery_at_another_resource() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 3600).await;
    let denied =
        fixture.sessions.admit(Some(&authorization(&issued.token)), "https://mcp.example.com/other").await.unwrap_err();
    assert!(matches!(denied, Denied::Token(OpenError::Forged)));
}

#[tokio::test]
async fn lifetimes_are_entras_minus_a_margin() {
    let fixture = fixture();
    let (_, issued) = issued(&fixture, 300).await;
    assert_eq!(issued.expires_in, Duration::from_secs(270));
    fixture.clock.advance(issued.expires_in);
    let denied = fixture.sessions.admit(Some(&authorization(&issued.token)), HERE).await.unwrap_err();
    assert!(matches!(denied, Denied::Expired));
}

#[tokio::test]
async fn an_ended_session_admits_nobody() {
    let fixture = fixture();
    let (handle, issued) = issued(&fixture, 3600).await;
    fixture.sessions.end(fixture.sessions.index(&handle).unwrap()).await.unwrap();
    let denied = fixture.sessions.admit(Some(&authorization(&issued.token)), HERE).await.unwrap_err();
    assert!(matches!(denied, Denied::Ended));
}
