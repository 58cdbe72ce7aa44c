//! Redis as people run it: with TLS, behind sentinels, as a cluster; full, demoted, promoted and failing over.

pub mod rig;

use std::io::Write;
use std::time::Instant;

use super::redis_server::free_port;
use super::*;
use rig::{Certificates, Cluster, Folder, Service, admin, port, tell, text};

fn store(settings: RedisSettings) -> Arc<RedisStore> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    Arc::new(RedisStore::new(settings).unwrap())
}

pub fn cause<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable(cause)) => cause,
        answer => panic!("{answer:?}"),
    }
}

/// Past the harness, which hides what a passing test prints: these figures are looked for.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("\nMEASURED {line}\n").as_bytes()).unwrap();
}

/// How long writes failed, from the first failure until they succeeded for good: a node of a cluster may say that all is
/// well before the others know. Each failure is one to try again after, and none takes longer than connecting may.
async fn unavailability(store: &RedisStore, name: &str) -> (Duration, Instant) {
    let started = Instant::now();
    let (mut failing_since, mut well_since) = (None, None);
    loop {
        let asked = Instant::now();
        let answer = store.put(name, &VALUE, MINUTE).await;
        assert!(asked.elapsed() < Duration::from_millis(1500), "an answer after {:?}", asked.elapsed());
        match answer {
            Ok(()) => well_since = well_since.or(Some(Instant::now())),
            Err(StoreError::Unavailable(_)) => (failing_since, well_since) = (failing_since.or(Some(asked)), None),
            Err(error) => panic!("{error}"),
        }
        if let (Some(failing), Some(well)) = (failing_since, well_since)
            && well.elapsed() > FOR_GOOD
        {
            return (well.duration_since(failing), well);
        }
        assert!(started.elapsed() < Duration::from_secs(10), "still not after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// After what the listener was listening to has gone.
async fn hears_again(store: &RedisStore, listener: &mut Box<dyn Listener>) {
    assert_eq!(heard(listener).await, Announcement::Lost);
    assert_eq!(heard(listener).await, Announcement::Listening);
    store.announce(TOPIC, b"heard").await.unwrap();
    assert_eq!(heard(listener).await, Announcement::Said(b"heard".to_vec()));
}

const FOR_GOOD: Duration = Duration::from_millis(500);

/// When a server became a primary, looked for until it is one.
fn promotion(server: &RedisServer) -> std::thread::JoinHandle<Instant> {
    let url = rig::admin_url(server);
    std::thread::spawn(move || {
        rig::wait_until("a promotion", || {
            // Sentinels cut the connections of whom they promote.
            let connection = ::redis::Client::open(url.as_str()).unwrap().get_connection();
            let role = connection.and_then(|mut it| ::redis::cmd("INFO").arg("replication").query::<String>(&mut it));
            role.is_ok_and(|role| role.contains("role:master"))
        });
        Instant::now()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_tls_of_a_private_ca_and_the_least_user() {
    let folder = Folder::new();
    let (certificates, tls_port) = (Certificates::new(&folder), free_port());
    let mut arguments = certificates.arguments(tls_port);
    arguments.extend(["--aclfile".to_owned(), folder.users()]);
    let Some(server) = rig::start(&arguments) else { return };
    let url = format!("rediss://sallyport@127.0.0.1:{tls_port}/1");
    let settings = RedisSettings {
        password: Some(zeroize::Zeroizing::new(rig::PASSWORD.to_owned())),
        ca: Some(certificates.ca.clone().into_bytes()),
        ..RedisSettings::new(url.parse().unwrap())
    };
    keeps_every_promise(store(settings.clone())).await;
    let unknown = store(RedisSettings { ca: None, ..settings.clone() });
    let unknown = cause(unknown.get(NAME).await);
    assert!(unknown.contains("TLS with Redis fails") && unknown.contains("UnknownIssuer"), "{unknown}");
    // A URL without TLS is not helped out, nor is one with TLS at a port without.
    let plain = url.replace("rediss:", "redis:").parse().unwrap();
    cause(store(RedisSettings { url: plain, ca: None, ..settings.clone() }).get(NAME).await);
    let other = format!("rediss://sallyport@127.0.0.1:{}", port(&server)).parse().unwrap();
    cause(store(RedisSettings { url: other, ..settings }).get(NAME).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_sentinels_a_killed_primary_is_replaced() {
    let Some(mut service) = Service::start(false) else { return };
    let store = store(service.settings());
    keeps_every_promise(store.clone()).await;
    store.put("sallyport:test:kept", b"kept", MINUTE).await.unwrap();
    let value = Guarded { guard: &RIGHT, epitaph: &EPITAPH, value: &VALUE };
    store.put_guarded("sallyport:test:code", value, MINUTE).await.unwrap();
    tell(&mut admin(&service.primary), "WAIT 1 1000");
    let mut listener = store.listen(TOPIC);
    assert_eq!(heard(&mut listener).await, Announcement::Listening);

    let (promoted, announced) = (promotion(&service.replica), service.announcement());
    service.primary.stop();
    let (away, back) = unavailability(&store, NAME).await;
    let after = [promoted, announced].map(|when| back.saturating_duration_since(when.join().unwrap()));
    say(&format!(
        "sentinel, primary killed: unavailable {away:?}; back {:?} after the promotion, {:?} after the sentinels name it",
        after[0], after[1]
    ));
    assert!(away <= Duration::from_secs(4), "{away:?}");
    assert!(after[1] <= SECOND, "{after:?}");
    hears_again(&store, &mut listener).await;
    assert_eq!(store.get("sallyport:test:kept").await.unwrap().unwrap(), b"kept");
    let redeemed = async || redeem(&*store, "sallyport:test:code", claim(RIGHT)).await.unwrap();
    assert_eq!(redeemed().await, Redemption::Value(VALUE.to_vec()));
    assert_eq!(redeemed().await, Redemption::Spent(EPITAPH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_sentinels_with_tls_a_frozen_primary_is_replaced() {
    let Some(service) = Service::start(true) else { return };
    let store = store(service.settings());
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    let promoted = promotion(&service.replica);
    service.primary.freeze();
    let (away, back) = unavailability(&store, NAME).await;
    let after = back.saturating_duration_since(promoted.join().unwrap());
    say(&format!("sentinel with TLS, primary frozen: unavailable {away:?}; back {after:?} after the promotion"));
    assert!(away <= Duration::from_secs(5), "{away:?}");
    // Sentinels themselves look once a second whether it is done.
    assert!(after <= 2 * SECOND, "{after:?}");
    service.primary.thaw();
    store.put_new("sallyport:test:new", &VALUE, MINUTE).await.unwrap();
}

#[tokio::test]
async fn sentinels_that_know_no_such_service_are_unavailable_soon() {
    let Some(service) = Service::start(false) else { return };
    let mut settings = service.settings();
    settings.url = settings.url.as_str().replace(rig::SERVICE, "another").parse().unwrap();
    let asked = Instant::now();
    assert!(cause(store(settings).get(NAME).await).contains("sentinels know no primary"));
    assert!(asked.elapsed() < Duration::from_millis(1500));
    // And one that is away delays nobody who asks the others.
    let mut settings = service.settings();
    let url = settings.url.as_str().replace("@", &format!("@127.0.0.1:{},", free_port()));
    settings.url = url.parse().unwrap();
    store(settings).put(NAME, &VALUE, MINUTE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_cluster_slots_move_and_primaries_fail_over() {
    let Some(mut cluster) = Cluster::start(false) else { return };
    let store = store(cluster.settings());
    keeps_every_promise(store.clone()).await;
    slots_move(&cluster, &store).await;

    let (lost, other) = (Cluster::name_at(0), Cluster::name_at(1));
    store.put(&lost, &VALUE, MINUTE).await.unwrap();
    tell(&mut admin(&cluster.nodes[0]), "WAIT 1 1000");
    let mut listener = store.listen(TOPIC);
    assert_eq!(heard(&mut listener).await, Announcement::Listening);
    cluster.nodes[0].stop();
    // Others are served meanwhile, but for the moment in which the client notices.
    let meanwhile = {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut failed, started) = (Duration::ZERO, Instant::now());
            while started.elapsed() < 2 * SECOND {
                let asked = Instant::now();
                if store.put(&other, &VALUE, MINUTE).await.is_err() {
                    failed += asked.elapsed();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            failed
        })
    };
    let (away, _) = unavailability(&store, &lost).await;
    let others = meanwhile.await.unwrap();
    say(&format!("cluster, primary killed: its slots unavailable {away:?}, those of others {others:?}"));
    assert!(away <= Duration::from_secs(4), "{away:?}");
    assert!(others <= SECOND, "{others:?}");
    hears_again(&store, &mut listener).await;
    assert_eq!(store.get(&lost).await.unwrap().unwrap(), VALUE);
    assert_eq!(store.take(&lost).await.unwrap().unwrap(), VALUE, "the scripts are loaded where they are missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_with_tls_of_a_private_ca() {
    let Some(cluster) = Cluster::start(true) else { return };
    let settings = cluster.settings();
    assert!(settings.url.as_str().starts_with("rediss+cluster:"));
    let encrypted = store(settings.clone());
    keeps_every_promise(encrypted.clone()).await;
    for primary in 0..3 {
        let name = Cluster::name_at(primary);
        encrypted.put(&name, &VALUE, MINUTE).await.unwrap();
        assert_eq!(encrypted.get(&name).await.unwrap().unwrap(), VALUE, "primary {primary}");
    }
    // Neither without the CA nor without TLS.
    cause(store(RedisSettings { ca: None, ..settings.clone() }).get(NAME).await);
    let plain = settings.url.as_str().replace("rediss", "redis").parse().unwrap();
    cause(store(RedisSettings { url: plain, ca: None, ..settings }).get(NAME).await);
}

/// From the second primary to the third, with a record that is there before, one that is there after, and a script.
async fn slots_move(cluster: &Cluster, store: &RedisStore) {
    let name = Cluster::name_at(1);
    let slot = Cluster::slot(&name);
    let value = Guarded { guard: &RIGHT, epitaph: &EPITAPH, value: &VALUE };
    store.put_guarded(&name, value, MINUTE).await.unwrap();
    let (mut from, mut to) = (admin(&cluster.nodes[1]), admin(&cluster.nodes[2]));
    let [from_id, to_id] = [&mut from, &mut to].map(|connection| text(tell(connection, "CLUSTER MYID")));
    tell(&mut to, &format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    tell(&mut from, &format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    tell(&mut to, "SCRIPT FLUSH");
    let to_port = port(&cluster.nodes[2]);
    tell(&mut from, &format!("MIGRATE 127.0.0.1 {to_port} {name} 0 1000 AUTH2 admin any"));
    // ASK: the old node says that the record is at the new one, which takes the question only as an exception.
    assert_eq!(redeem(store, &name, claim(WRONG)).await.unwrap(), Redemption::Mismatch);
    assert_eq!(redeem(store, &name, claim(RIGHT)).await.unwrap(), Redemption::Value(VALUE.to_vec()));
    store.put(&name, b"while it moves", MINUTE).await.unwrap();
    assert_eq!(store.get(&name).await.unwrap().unwrap(), b"while it moves");
    for connection in [&mut to, &mut from] {
        tell(connection, &format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    }
    // MOVED: the client learns the new place.
    assert_eq!(store.take(&name).await.unwrap().unwrap(), b"while it moves");
    assert_eq!(store.take(&name).await.unwrap(), None);
    // Back, so that the rest of the test finds what it expects.
    tell(&mut from, &format!("CLUSTER SETSLOT {slot} IMPORTING {to_id}"));
    tell(&mut to, &format!("CLUSTER SETSLOT {slot} MIGRATING {from_id}"));
    for connection in [&mut from, &mut to] {
        tell(connection, &format!("CLUSTER SETSLOT {slot} NODE {from_id}"));
    }
    store.put(&name, &VALUE, MINUTE).await.unwrap();
}

#[tokio::test]
async fn what_does_not_answer_is_left_alone_for_a_while() {
    let Some(server) = RedisServer::start() else { return };
    let store = redis_store(&server.url());
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    server.freeze();
    for _ in 0..5 {
        assert!(cause(store.get(NAME).await).contains("in time"));
    }
    let opened = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..1000 {
        let asked = Instant::now();
        assert!(cause(store.get(NAME).await).contains("was not asked"));
        longest = longest.max(asked.elapsed());
    }
    assert!(opened.elapsed() < Duration::from_millis(900), "1000 answers took {:?}", opened.elapsed());
    server.thaw();
    while store.get(NAME).await.is_err() {
        assert!(opened.elapsed() < Duration::from_millis(1500), "still not after {:?}", opened.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let closed = opened.elapsed();
    say(&format!(
        "breaker: 1000 answers while it was open, the longest {longest:?}; closed {closed:?} after it opened"
    ));
    for _ in 0..100 {
        assert_eq!(store.get(NAME).await.unwrap().unwrap(), VALUE);
    }
}

#[tokio::test]
async fn a_full_server_is_read_and_not_written() {
    let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]) else { return };
    let store = redis_store(&server.url());
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    store
        .put_guarded("sallyport:test:code", Guarded { guard: &RIGHT, epitaph: &EPITAPH, value: &VALUE }, MINUTE)
        .await
        .unwrap();
    let mut connection = ::redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    tell(&mut connection, "CONFIG SET maxmemory 1");
    for _ in 0..20 {
        assert!(cause(store.put("sallyport:test:more", &VALUE, MINUTE).await).contains("OOM"));
        assert_eq!(store.get(NAME).await.unwrap().unwrap(), VALUE, "refused writes keep nobody from reading");
    }
    // Nothing is half done: the code is still there afterwards.
    assert!(cause(redeem(&store, "sallyport:test:code", claim(RIGHT)).await).contains("OOM"));
    store.remove(NAME).await.expect("what makes room is let through");
    tell(&mut connection, "CONFIG SET maxmemory 0");
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    assert_eq!(redeem(&store, "sallyport:test:code", claim(RIGHT)).await.unwrap(), Redemption::Value(VALUE.to_vec()));
}

#[tokio::test]
async fn a_replica_is_read_and_not_written_until_it_is_promoted() {
    let Some(primary) = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]) else { return };
    let Some(replica) = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port(&primary).to_string()]) else {
        return;
    };
    let mut connection = ::redis::Client::open(replica.url()).unwrap().get_connection().unwrap();
    rig::wait_until("the replica follows", || {
        text(tell(&mut connection, "INFO replication")).contains("master_link_status:up")
    });
    redis_store(&primary.url()).put(NAME, &VALUE, MINUTE).await.unwrap();
    // Not by WAIT at the primary: that is for what its own connection wrote.
    rig::wait_until("the replica has it", || {
        tell(&mut connection, &format!("EXISTS {NAME}")) == ::redis::Value::Int(1)
    });
    let store = redis_store(&replica.url());
    assert_eq!(store.get(NAME).await.unwrap().unwrap(), VALUE);
    for _ in 0..10 {
        assert!(cause(store.put(NAME, b"other", MINUTE).await).contains("READONLY"));
        assert!(cause(store.take(NAME).await).contains("READONLY"));
    }
    tell(&mut connection, "REPLICAOF NO ONE");
    assert_eq!(store.take(NAME).await.unwrap().unwrap(), VALUE, "refused is not done");
}
