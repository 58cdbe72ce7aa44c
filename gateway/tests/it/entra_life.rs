//! A life with Entra: tokens that end all the time, assertions that are rotated, outages, and codes and tokens as large as real
//! ones (GU-7, GU-8, GU-10, GU-17).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use entra::Credential;
use fake_entra::{FakeEntra, Fault};
use futures_util::future::join_all;
use sallyport::clock::Clock;
use serde_json::Value;

use crate::support::browser::{Browser, http_client};
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;

pub async fn let_tokens_live(entra: &FakeEntra, seconds: i64) {
    let url = format!("{}/_emu/policies", entra.control_url());
    let policies = http_client().get(&url).bearer_auth(entra.control_token()).send().await.unwrap();
    let mut policies: Value = policies.json().await.unwrap();
    policies["expires_in"] = seconds.into();
    let changed = http_client().put(&url).bearer_auth(entra.control_token()).json(&policies).send().await.unwrap();
    assert!(changed.status().is_success());
}

async fn call(gateway: &Gateway, tokens: &Value) -> u16 {
    let access_token = tokens["access_token"].as_str().unwrap();
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(access_token).body("{}").send().await;
    answer.unwrap().status().as_u16()
}

fn renewals(gateway: &Gateway) -> u64 {
    gateway.entra.counters().token.get("refresh_token").copied().unwrap_or_default()
}

/// A hundred calls within thirty lives of Entra's token: the proportion of two seconds in a minute, in the gateway's own time.
/// The client does as clients do, and refreshes when its token is about to end.
#[tokio::test]
async fn a_hundred_calls_over_thirty_lives_of_entras_token_and_none_is_401() {
    let upstream = Upstream::start().await;
    let clock = Clock::manual(Clock::system().now());
    let gateway = Gateway::start_at(&upstream.url, &clock, |_, _| {}).await;
    let_tokens_live(&gateway.entra, 60).await;
    let client = Client::register(&gateway).await;
    let mut tokens = client.tokens(&gateway, ADELE).await;
    let mut left = tokens["expires_in"].as_u64().unwrap();
    assert!((50..60).contains(&left), "{left}");
    for number in 0..100 {
        assert_eq!(call(&gateway, &tokens).await, 200, "call {number}");
        clock.advance(Duration::from_secs(18));
        left = left.saturating_sub(18);
        if left < 20 {
            let (status, renewed) = client.refresh(&gateway, tokens["refresh_token"].as_str().unwrap()).await;
            assert_eq!(status, 200, "call {number}: {renewed}");
            left = renewed["expires_in"].as_u64().unwrap();
            tokens = renewed;
        }
    }
    assert!(renewals(&gateway) >= 25, "{} renewals", renewals(&gateway));
}

/// Ten minutes without Entra, from when renewals are due: nobody with a good token notices.
#[tokio::test]
async fn ten_minutes_without_entra_are_seen_by_nobody_who_has_a_good_token() {
    let upstream = Upstream::start().await;
    let clock = Clock::manual(Clock::system().now());
    let gateway = Gateway::start_at(&upstream.url, &clock, |_, _| {}).await;
    let_tokens_live(&gateway.entra, 3600).await;
    let tokens = Client::register(&gateway).await.tokens(&gateway, ADELE).await;
    clock.advance(Duration::from_secs(2800));
    for path in ["/token", "/keys", "openid-configuration", "/metadata/"] {
        gateway.entra.fault(Fault { status: Some(503), html: true, times: 100_000, ..Fault::on(path) });
    }
    for _ in 0..60 {
        assert_eq!(call(&gateway, &tokens).await, 200);
        assert_eq!(gateway.readiness().await.0, 200);
        clock.advance(Duration::from_secs(10));
    }
    let tried =
        gateway.metric(r#"sallyport_entra_requests_total{error="none",op="refresh_token",outcome="try_later"}"#);
    let tried = tried.await;
    assert!(
        (1.0..=18.0).contains(&tried),
        "three attempts in five minutes, each with its retry, and not one more: {tried}"
    );
}

/// In a folder of its own, as the kubelet's.
struct Rotated {
    folder: PathBuf,
}

impl Rotated {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sallyport-rotated-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("token")
    }

    fn rotate(&self, token: &str) {
        let next = self.folder.join("next");
        std::fs::write(&next, token).unwrap();
        std::fs::rename(&next, self.file()).unwrap();
    }
}

impl Drop for Rotated {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(Path::new(&self.folder));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_file_that_is_rotated_under_load_fails_nobody() {
    const SUBJECT: &str = "system:serviceaccount:sallyport:sallyport";
    let upstream = Upstream::start().await;
    let rotated = Arc::new(Rotated::new());
    let gateway = Gateway::start_at_entra(&upstream.url, |entra, settings| {
        rotated.rotate(&entra.mint_service_account_token(SUBJECT));
        settings.credential = Credential::WorkloadIdentity { token_file: rotated.file() };
    })
    .await;
    gateway.wait_until_ready(Duration::from_secs(20)).await;
    let over = Arc::new(AtomicBool::new(false));
    let (file, entra, until) = (rotated.clone(), gateway.entra.clone(), over.clone());
    let rotation = std::thread::spawn(move || {
        let mut rotations = 0;
        while !until.load(Ordering::Relaxed) {
            file.rotate(&entra.mint_service_account_token(SUBJECT));
            rotations += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        rotations
    });
    let client = Client::register(&gateway).await;
    for _ in 0..10 {
        let signed = join_all((0..8).map(|_| client.tokens(&gateway, ADELE))).await;
        assert!(signed.iter().all(|tokens| tokens["access_token"].is_string()), "{signed:?}");
    }
    over.store(true, Ordering::Relaxed);
    let rotations = rotation.join().unwrap();
    let counters = gateway.entra.counters();
    assert_eq!(counters.token["authorization_code"], 80);
    println!("MEASURED {rotations} rotations, 80 sign-ins, 0 errors");
    assert!(rotations > 20, "{rotations}");
}

/// GU-17: Entra's codes have been seen beyond 1.5 KiB. What belongs to the sign-in may be ten times as long.
#[tokio::test]
async fn a_callback_of_sixteen_kibibytes_is_read() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    let callback = client.callback(&gateway, &browser, ADELE).await;
    let more = 15 * 1024 - callback.len();
    let long = format!("{callback}&client_info={}", "s".repeat(more));
    let back = browser.get(&long).await;
    assert_eq!(back.status, 303, "{}", back.body);
    assert!(back.next().contains("code="), "{}", back.next());
}
