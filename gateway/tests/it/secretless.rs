//! Without any password: Redis is signed in to by the token of the machine's identity.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake_entra::{FakeEntra, Seed};
use sallyport::store;
use sha2::{Digest, Sha256};

use crate::support::browser::http_client;
use crate::support::gateway::{Gateway, Options};
use crate::support::journey::{ADELE, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

/// Does for Redis what Azure does for its own: lets the user in by each token there is.
fn azure(redis: Arc<RedisServer>, entra: Arc<FakeEntra>, user: String, stop: Arc<AtomicBool>) {
    let mut known = 0;
    while !stop.load(Ordering::SeqCst) {
        let tokens = entra.canaries();
        for token in &tokens[known..] {
            let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(redis.tell(&format!("ACL SETUSER {user} on #{digest} ~* &* +@all")), "+OK");
        }
        known = tokens.len();
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn users_sign_in_and_call_with_a_redis_that_knows_no_password() {
    let Some(redis) = RedisServer::start().map(Arc::new) else { return };
    let upstream = Upstream::start().await;
    let principal = Seed::default().identities[0].principal_id.clone();
    let settings = store::RedisSettings {
        entra_user: Some(store::EntraUser::new(principal.clone())),
        ..store::RedisSettings::new(redis.url().parse().unwrap())
    };
    let options = Options { store: store::Settings::Redis(settings), ..Options::simple(&upstream.url) };
    let gateway = Gateway::start_with(options).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (server, entra, user, until) = (redis.clone(), gateway.entra.clone(), principal.clone(), stop.clone());
    let azure = std::thread::spawn(move || azure(server, entra, user, until));

    // The user exists as soon as there is a token.
    let started = Instant::now();
    while !redis.tell("ACL LIST").starts_with("*2") {
        assert!(started.elapsed() < Duration::from_secs(5), "no token was asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(&token).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let connected = redis.tell("CLIENT LIST");
    assert!(connected.contains(&format!("user={principal}")), "{connected}");
    assert!(redis.dump().windows(18).any(|window| window == b"sallyport:session:"));
    stop.store(true, Ordering::SeqCst);
    azure.join().unwrap();
}
