//! The life of the key ring at a running gateway: rotated under load, revoked, replaced by something bad.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sallyport::clock::Clock;
use sallyport::sealed::{KeyId, KeyRing, Revoked, Rotated, Successor};
use serde_json::Value;

use crate::support::browser::http_client;
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::upstream::Upstream;

/// A folder with a ring, as a Secret is mounted in Kubernetes: the file is a link through a link to a folder.
struct Ring(PathBuf);

impl Ring {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sallyport-keys-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir_all(folder.join("1")).unwrap();
        KeyRing::create(&folder.join("1/keys.json"), Clock::system().now()).unwrap();
        std::os::unix::fs::symlink("1", folder.join("data")).unwrap();
        std::os::unix::fs::symlink("data/keys.json", folder.join("keys.json")).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    /// Changes a copy in another folder and turns the link to it, as the kubelet does.
    fn swap(&self, folder: &str, change: impl FnOnce(&Path)) {
        let new = self.0.join(folder);
        std::fs::create_dir(&new).unwrap();
        std::fs::copy(self.path(), new.join("keys.json")).unwrap();
        change(&new.join("keys.json"));
        std::os::unix::fs::symlink(folder, self.0.join("new")).unwrap();
        std::fs::rename(self.0.join("new"), self.0.join("data")).unwrap();
    }

    /// Puts other content in the file's place, whole at once.
    fn put(&self, content: &[u8]) {
        let new = self.0.join("1/new.json");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, self.0.join("1/keys.json")).unwrap();
    }

    fn rotate(&self) -> Rotated {
        KeyRing::rotate(&self.path(), Clock::system().now(), Duration::ZERO).unwrap()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The value of a series, 0 when it is not there.
async fn series(gateway: &Gateway, name: &str) -> u64 {
    let text = http_client().get(gateway.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

const RELOADED: &str = "sallyport_keyring_reloads_total{result=\"ok\"}";
const FAILED: &str = "sallyport_keyring_reloads_total{result=\"failed\"}";

/// How long it took; at most ten seconds, within which a revocation has to count.
async fn until(what: &str, condition: impl AsyncFn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    started.elapsed()
}

async fn call(gateway: &Gateway, access_token: &str) -> u16 {
    gateway.post("/mcp").bearer_auth(access_token).body("{}").send().await.unwrap().status().as_u16()
}

fn access_token(tokens: &Value) -> &str {
    tokens["access_token"].as_str().unwrap()
}

fn refresh_token(tokens: &Value) -> &str {
    tokens["refresh_token"].as_str().unwrap()
}

/// The id of the key that sealed it, which is in clear behind the version.
fn key_of(token: &str) -> u32 {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(&token["sp1_at_".len()..]).unwrap();
    u32::from_be_bytes(sealed[1..5].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_in_two_steps_loses_nobody_and_a_revocation_counts_within_ten_seconds() {
    let ring = Ring::new();
    let upstream = Upstream::start().await;
    let gateway = Arc::new(Gateway::start_with_ring(&upstream.url, &ring.path()).await);
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.tokens(&gateway, ADELE).await, client.tokens(&gateway, ALEX).await);
    assert_eq!(key_of(access_token(&adele)), 1);

    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = [&adele, &alex]
        .map(access_token)
        .map(str::to_owned)
        .into_iter()
        .map(|token| {
            let (gateway, over, answered) = (gateway.clone(), over.clone(), answered.clone());
            tokio::spawn(async move {
                let mut refused = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    match call(&gateway, &token).await {
                        200 => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        status => refused.push(status),
                    }
                }
                refused
            })
        })
        .collect();

    assert_eq!(ring.rotate(), Rotated::Added { next: KeyId::new(2) });
    until("the next key", async || series(&gateway, "sallyport_keyring_keys{state=\"next\"}").await == 1).await;
    assert_eq!(key_of(&client.token(&gateway, ADELE).await), 1, "the next key does not seal");
    assert_eq!(ring.rotate(), Rotated::Activated { active: KeyId::new(2), before: KeyId::new(1) });
    until("the second step", async || series(&gateway, RELOADED).await == 2).await;

    // Begun after the rotation, by a client registered before it.
    let new = client.tokens(&gateway, ADELE).await;
    assert_eq!(key_of(access_token(&new)), 2);
    // Refreshed after the rotation, begun before it.
    let (status, refreshed) = client.refresh(&gateway, refresh_token(&alex)).await;
    assert_eq!((status, key_of(access_token(&refreshed))), (200, 2), "{refreshed}");
    assert_eq!(call(&gateway, access_token(&refreshed)).await, 200);
    assert!(series(&gateway, "sallyport_seals_total{key=\"1\"}").await > 0);
    assert!(series(&gateway, "sallyport_seals_total{key=\"2\"}").await > 0);

    let before = answered.load(Ordering::Relaxed);
    until("more calls", async || answered.load(Ordering::Relaxed) > before + 50).await;
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), [0u16; 0], "refused during the rotation");
    }

    ring.swap("2", |file| {
        let revoked = KeyRing::revoke(file, KeyId::new(1), Successor::Next, Clock::system().now()).unwrap();
        assert_eq!(revoked, Revoked::Now { active: KeyId::new(2) });
    });
    let took = until("the revocation", async || call(&gateway, access_token(&adele)).await == 401).await;
    println!("revoked after {took:?}");
    assert_eq!(call(&gateway, access_token(&alex)).await, 401);
    // The token is under the new key, but the session was begun under the old one.
    assert_eq!(call(&gateway, access_token(&refreshed)).await, 401);
    let (status, answer) = client.refresh(&gateway, refresh_token(&alex)).await;
    assert!(matches!(status, 400 | 401), "{status} {answer}");
    // Begun under the key that stays.
    assert_eq!(call(&gateway, access_token(&new)).await, 200);
    let back = http_client().get(client.authorize_url(&gateway)).send().await.unwrap();
    assert_eq!(back.status(), 400, "the client's id is under the revoked key");
    let again = Client::register(&gateway).await.token(&gateway, ALEX).await;
    assert_eq!(call(&gateway, &again).await, 200);
}

#[tokio::test]
async fn a_bad_file_keeps_the_ring_in_use_until_it_is_good_again() {
    let ring = Ring::new();
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with_ring(&upstream.url, &ring.path()).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let good = std::fs::read(ring.path()).unwrap();

    let other = ring.0.join("other.json");
    KeyRing::create(&other, Clock::system().now()).unwrap();
    let another_installation = std::fs::read(&other).unwrap();
    let files: [&[u8]; 4] = [b"", b"{\"version\":9}", &good[..good.len() / 2], &another_installation];
    for (before, bad) in files.into_iter().enumerate() {
        ring.put(bad);
        until("a failure", async || series(&gateway, FAILED).await == before as u64 + 1).await;
        assert_eq!(call(&gateway, &token).await, 200);
    }
    std::fs::remove_file(ring.0.join("1/keys.json")).unwrap();
    until("the last failure", async || series(&gateway, FAILED).await == 5).await;
    assert_eq!(call(&gateway, &token).await, 200);
    assert_eq!(series(&gateway, RELOADED).await, 0);

    ring.put(&good);
    until("the good one", async || series(&gateway, RELOADED).await == 1).await;
    assert_eq!(call(&gateway, &token).await, 200);
    assert_eq!(series(&gateway, FAILED).await, 5, "each file failed once, however often it was looked at");
}

/// The commands as an operator gives them: what they say, and that they never say what a key is made of.
#[test]
fn the_commands_lead_through_a_rotation_and_show_no_key() {
    let ring = Ring::new();
    let run = |arguments: &[&str]| {
        let file = ring.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        command.arg("keys").args(arguments).arg("--file").arg(&file);
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for key in text["keys"].as_array().unwrap().iter().filter_map(|key| key["key"].as_str()) {
            assert!(!said.contains(key), "{said}");
        }
        (output.status.code().unwrap(), said)
    };
    let expect = |arguments: &[&str], code: i32, words: &str| {
        let (found, said) = run(arguments);
        assert!(found == code && said.contains(words), "{arguments:?}: {found} {said}");
    };
    expect(&["revoke", "--key", "1"], 1, "--force-new");
    expect(&["rotate"], 0, "Key 2 is the next one");
    expect(&["rotate"], 1, "Wait 5 minutes more");
    expect(&["rotate", "--now"], 0, "Key 2 is active");
    expect(&["revoke", "--key", "1"], 0, "Key 1 is revoked for good, and key 2 is active");
    expect(&["revoke", "--key", "1"], 0, "revoked already");
    expect(&["revoke", "--key", "7"], 1, "no key 7");
    expect(&["revoke", "--key", "2", "--force-new"], 0, "key 3 is active");
    expect(&["list"], 0, "  3  active");
    expect(&["list"], 0, "  2  revoked");
    std::fs::write(ring.path(), "{\"version\":1,\"keys\":[]}").unwrap();
    expect(&["list"], 1, "holds no key: restore it from a backup");
}
