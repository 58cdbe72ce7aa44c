//! The records that are not sealed, a generation and a lock: what a writer to Redis gets by them is the end of a session, or
//! an old refresh token that counts again for whoever has it, and never another user.

use std::time::Duration;

use sallyport::clock::Clock;

use super::vault::Vault;
use super::{Fixture, call, count_panics, every_call_was_its_users, is_alive, sign_in};
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_that_means_nothing_refuses_the_refresh_and_put_right_counts_again() {
    let Some(fixture) = Fixture::start().await else { return };
    let vault = &fixture.vault;
    let (adele, alex) = (fixture.sign_in(ADELE).await, fixture.sign_in(ALEX).await);
    let record = adele.record("generation");
    let (kept, own) = (vault.keep(&record), vault.read(&record));
    let mut strange: Vec<Vec<u8>> = (0..own.len() - 10).map(|length| own[..length].to_vec()).collect();
    strange.extend([
        b"D0:1".to_vec(),
        b"C-1:0".to_vec(),
        b"C0x0:0".to_vec(),
        b"Cnan:nan".to_vec(),
        b"C0:0:0".to_vec(),
        [&own[..], b"\0"].concat(),
        [&[2], &own[..]].concat(),
        vault.read(&adele.record("session")),
        vault.read(&alex.record("listing")),
        vec![b'9'; 1 << 20],
    ]);
    for value in &strange {
        vault.write(&record, value);
        let (status, answer) = fixture.refresh(&adele.refresh).await;
        assert_eq!(status, 400, "{answer} for {}", String::from_utf8_lossy(&value[..value.len().min(40)]));
        assert_eq!(fixture.call(ADELE, &adele.access).await, 200, "the session is as it was");
    }
    vault.write_list(&record);
    assert_eq!(fixture.refresh(&adele.refresh).await.0, 503);
    fixture.is_sound().await;
    vault.put_back(&kept);
    let (status, tokens) = fixture.refresh(&adele.refresh).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(fixture.call(ADELE, tokens["access_token"].as_str().unwrap()).await, 200);
    fixture.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_that_was_moved_ends_the_session_or_lets_an_old_token_of_it_count_and_nothing_else() {
    let Some(fixture) = Fixture::start().await else { return };
    let vault = &fixture.vault;
    for (value, expected) in [
        ("C0:0", 200),
        ("C0:99999999999999999999", 200),
        ("C1:99999999999999999999", 200),
        ("C5:0", 400),
        ("C4294967295:0", 400),
        ("C99999999999999999999999:0", 400),
    ] {
        let adele = fixture.sign_in(ADELE).await;
        let record = adele.record("generation");
        let kept = vault.keep(&record);
        vault.write(&record, value.as_bytes());
        let (status, tokens) = fixture.refresh(&adele.refresh).await;
        assert_eq!(status, expected, "{value}: {tokens}");
        vault.put_back(&kept);
        if status == 200 {
            assert_eq!(fixture.call(ADELE, tokens["access_token"].as_str().unwrap()).await, 200);
        } else {
            assert_eq!(fixture.call(ADELE, &adele.access).await, 401, "{value}");
        }
        fixture.is_sound().await;
    }
    // Exchanged with another user's, which stands elsewhere: her counter now is where his was.
    let (adele, alex) = (fixture.sign_in(ADELE).await, fixture.sign_in(ALEX).await);
    let first = adele.refresh.clone();
    let (_, second) = fixture.refresh(&first).await;
    vault.write(&adele.record("generation"), &vault.read(&alex.record("generation")));
    let (status, tokens) = fixture.refresh(&first).await;
    assert_eq!((status, &tokens["refresh_token"]), (200, &second["refresh_token"]), "the same successor as before");
    assert_eq!(fixture.call(ADELE, tokens["access_token"].as_str().unwrap()).await, 200);
    assert_eq!(fixture.call(ALEX, &alex.access).await, 200);
    fixture.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_put_back_as_it_was_for_its_own_user_alone() {
    count_panics();
    let Some(redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let clock = Clock::manual(Clock::system().now());
    let [gateway, other] = Gateway::replicas(&upstream.url, &redis.url(), &clock).await;
    let client = Client::register(&gateway).await;
    let vault = Vault::open(&redis.url());
    let adele = sign_in(&gateway, &client, &vault, ADELE).await;
    let old = ["session", "generation"].map(|kind| vault.keep(&adele.record(kind)));

    // With Entra's tokens of before a renewal: they have ended, and are renewed again or not at all.
    clock.advance(Duration::from_secs(2 * 3600));
    let (status, second) = client.refresh(&gateway, &adele.refresh).await;
    assert_eq!(status, 200, "{second}");
    let renewed = vault.keep(&adele.record("session"));
    vault.put_back(&old[0]);
    assert_eq!(call(&other, ADELE, &adele.access).await, 401, "it has ended");
    assert_eq!(call(&other, ADELE, second["access_token"].as_str().unwrap()).await, 401, "Entra's token has ended");
    let (status, third) = client.refresh(&other, second["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, 200, "{third}");
    vault.put_back(&renewed);
    assert_eq!(call(&gateway, ADELE, third["access_token"].as_str().unwrap()).await, 200);

    // Ended and put back: a replica that knows of the end refuses it for five minutes. Afterwards it is what it was, for who
    // has its tokens; the records say nothing of the end, and only a revoked key is stronger than that.
    let live = ["session", "generation"].map(|kind| vault.keep(&adele.record(kind)));
    let form = [("token", third["access_token"].as_str().unwrap()), ("client_id", &client.id)];
    assert_eq!(gateway.post("/revoke").form(&form).send().await.unwrap().status(), 200);
    live.iter().for_each(|kept| vault.put_back(kept));
    assert_eq!(call(&gateway, ADELE, third["access_token"].as_str().unwrap()).await, 401);
    clock.advance(Duration::from_secs(301));
    assert_eq!(call(&gateway, ADELE, third["access_token"].as_str().unwrap()).await, 200);
    clock.advance(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(call(&gateway, ADELE, third["access_token"].as_str().unwrap()).await, 401);
    let (status, answer) = client.refresh(&gateway, third["refresh_token"].as_str().unwrap()).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")), "its end is sealed with it");
    every_call_was_its_users(&upstream);
    is_alive(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_nobody_opens_means_try_again_and_removed_the_session_goes_on() {
    count_panics();
    let Some(redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let clock = Clock::manual(Clock::system().now());
    let [gateway, other] = Gateway::replicas(&upstream.url, &redis.url(), &clock).await;
    let client = Client::register(&gateway).await;
    let vault = Vault::open(&redis.url());
    let adele = sign_in(&gateway, &client, &vault, ADELE).await;
    let lock = adele.record("lock");
    clock.advance(Duration::from_secs(2 * 3600));
    for value in [Some(b"".to_vec()), Some(vec![0xff; 1 << 20]), Some(vault.read(&adele.record("session"))), None] {
        match &value {
            Some(value) => vault.write(&lock, value),
            None => vault.write_list(&lock),
        }
        let (status, answer) = client.refresh(&gateway, &adele.refresh).await;
        assert_eq!((status, answer["error"].as_str()), (503, Some("temporarily_unavailable")), "{answer}");
        is_alive(&gateway).await;
    }
    vault.remove(&lock);
    let (status, tokens) = client.refresh(&other, &adele.refresh).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(call(&gateway, ADELE, tokens["access_token"].as_str().unwrap()).await, 200);
    every_call_was_its_users(&upstream);
}
