//! Redis in an attacker's hands (T36, T37): every kind of record that a gateway writes is altered, cut, exchanged, put back
//! and replaced behind its back. Nobody is ever served as another, the process lives, and what is put right works again.

mod attack;
mod clocks;
mod dump;
mod sealed_records;
mod sets;
mod unsealed_records;
mod vault;

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sallyport::store;
use serde_json::Value;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ALEX, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::{Seen, Upstream};
use vault::Vault;

/// One gateway that asks Redis at every request, and another installation beside it that uses the same Redis.
struct Fixture {
    gateway: Gateway,
    client: Client,
    vault: Vault,
    upstream: Upstream,
    _redis: RedisServer,
    foreign: Gateway,
}

/// A user's tokens, and how the store knows the session.
struct Signed {
    access: String,
    refresh: String,
    /// What follows `sallyport:session:`.
    index: String,
}

impl Signed {
    fn record(&self, kind: &str) -> String {
        format!("sallyport:{kind}:{}", self.index)
    }
}

impl Fixture {
    /// `None` without Redis.
    async fn start() -> Option<Self> {
        count_panics();
        let redis = RedisServer::start()?;
        let upstream = Upstream::start().await;
        let gateway = with_redis(&upstream, &redis).await;
        let foreign = with_redis(&upstream, &redis).await;
        let client = Client::register(&gateway).await;
        let vault = Vault::open(&redis.url());
        Some(Self { gateway, client, vault, upstream, _redis: redis, foreign })
    }

    async fn sign_in(&self, user: &str) -> Signed {
        sign_in(&self.gateway, &self.client, &self.vault, user).await
    }

    /// Somebody of the other installation.
    async fn sign_in_elsewhere(&self) -> Signed {
        sign_in(&self.foreign, &Client::register(&self.foreign).await, &self.vault, ALEX).await
    }

    async fn call(&self, user: &str, access: &str) -> u16 {
        call(&self.gateway, user, access).await
    }

    /// What a refresh is answered; an error is one that the client is meant to see.
    async fn refresh(&self, refresh: &str) -> (u16, Value) {
        let (status, answer) = self.client.refresh(&self.gateway, refresh).await;
        match status {
            200 => {}
            400 => assert_eq!(answer["error"], "invalid_grant", "{answer}"),
            503 => assert_eq!(answer["error"], "temporarily_unavailable", "{answer}"),
            _ => panic!("{status} {answer}"),
        }
        (status, answer)
    }

    /// The process lives, no thread of it has panicked, and whoever reached the upstream was who they said they are.
    async fn is_sound(&self) {
        is_alive(&self.gateway).await;
        every_call_was_its_users(&self.upstream);
    }
}

async fn with_redis(upstream: &Upstream, redis: &RedisServer) -> Gateway {
    let redis = store::RedisSettings::new(redis.url().parse().unwrap());
    Gateway::start_changed(&upstream.url, |settings, _| {
        settings.store = store::Settings::Redis(redis);
        settings.sessions.cached = 0;
    })
    .await
}

async fn sign_in(gateway: &Gateway, client: &Client, vault: &Vault, user: &str) -> Signed {
    let before = vault.names("session");
    let tokens = client.tokens(gateway, user).await;
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let index = vault.index_of_new("session", &before);
    Signed { access: text("access_token"), refresh: text("refresh_token"), index }
}

/// As `user`, which the upstream hears as well.
async fn call(gateway: &Gateway, user: &str, access: &str) -> u16 {
    let request = gateway.post("/mcp").bearer_auth(access).json(&serde_json::json!({ "user": user }));
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
    assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
    assert!(matches!(status, 200 | 401 | 503), "{status}");
    status
}

async fn is_alive(gateway: &Gateway) {
    let answer = http_client().get(gateway.admin_url("/healthz")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), PANICS.load(Ordering::SeqCst)), (200, 0));
}

fn every_call_was_its_users(upstream: &Upstream) {
    for seen in upstream.seen() {
        let said: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(user_of(&seen), said["user"], "served as somebody else");
    }
}

/// Whose token of Entra's the upstream got.
fn user_of(seen: &Seen) -> Value {
    let token = seen.headers["authorization"].to_str().unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["preferred_username"].clone()
}

/// The gateway is in this process; what panics in it and is caught would go unnoticed.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A test that fails panics too.
            if !panic.location().is_some_and(|place| place.file().contains("gateway/tests")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
}

static PANICS: AtomicUsize = AtomicUsize::new(0);
