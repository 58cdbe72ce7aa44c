//! What only Redis can show: outages, users and dumps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::redis_server::free_port;
use super::*;
use crate::sealed::{KeyRing, Sealer};
use crate::secret::SecretKey;
use crate::store::{Redeemed, Table};

/// How long until the store says that it is unavailable.
async fn unavailable_after(store: &RedisStore) -> Duration {
    let started = Instant::now();
    let answer = store.get(NAME).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    started.elapsed()
}

/// How long until the store works again; every failure until then is one that a caller may try again after.
async fn available_after(store: &RedisStore) -> Duration {
    let started = Instant::now();
    loop {
        match store.put(NAME, &VALUE, MINUTE).await {
            Ok(()) => return started.elapsed(),
            Err(StoreError::Unavailable(_)) if started.elapsed() < 5 * SECOND => {}
            Err(error) => panic!("still {error} after {:?}", started.elapsed()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    let store = redis_store(&format!("redis://127.0.0.1:{}", free_port()));
    for _ in 0..3 {
        assert!(unavailable_after(&store).await < Duration::from_millis(1500));
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_unavailable_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = Arc::new(redis_store(&format!("redis://{}", listener.local_addr().unwrap())));
    assert!(unavailable_after(&store).await < Duration::from_millis(1500));
    let started = Instant::now();
    let asking = store.clone();
    at_once(move || {
        let store = asking.clone();
        async move { unavailable_after(&store).await }
    })
    .await;
    assert!(started.elapsed() < Duration::from_millis(1500), "callers wait together, not one after another");
}

#[tokio::test]
async fn a_server_that_comes_late_is_found_by_the_next_request() {
    let Some(mut server) = RedisServer::start() else { return };
    let store = redis_store(&server.url());
    server.stop();
    unavailable_after(&store).await;
    // Long enough for the attempt that follows in the background: it fails too, and its failure is what is remembered.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.start_again();
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.put(NAME, &VALUE, MINUTE).await.expect("the refusal is not remembered");
}

/// What was asked of a server that takes each question and then hangs up, without the greeting.
async fn asked_of_one_that_hangs_up<T>(ask: impl AsyncFn(&RedisStore) -> Result<T, StoreError>) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = redis_store(&format!("redis://{}", listener.local_addr().unwrap()));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut question).await {
                if !question[..length].windows(5).any(|word| word == b"HELLO") {
                    counted.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                stream.write_all(b"%0\r\n").await.unwrap();
            }
        }
    });
    assert!(matches!(ask(&store).await, Err(StoreError::Unavailable(_))));
    server.abort();
    asked.load(Ordering::SeqCst)
}

#[tokio::test]
async fn what_may_have_been_done_is_not_asked_again() {
    assert_eq!(asked_of_one_that_hangs_up(async |store| store.get(NAME).await).await, 2, "reading does no harm");
    assert_eq!(asked_of_one_that_hangs_up(async |store| store.put(NAME, &VALUE, MINUTE).await).await, 1);
    assert_eq!(asked_of_one_that_hangs_up(async |store| store.redeem(NAME, &claim(RIGHT)).await).await, 1);
    assert_eq!(asked_of_one_that_hangs_up(async |store| store.advance(NAME, step(0, 100)).await).await, 1);
    assert_eq!(asked_of_one_that_hangs_up(async |store| store.settle(NAME, &claim(RIGHT)).await).await, 1);
    assert_eq!(asked_of_one_that_hangs_up(async |store| store.put_new(NAME, &VALUE, MINUTE).await).await, 1);
}

#[tokio::test]
async fn a_restarted_server_works_again_within_two_seconds() {
    let Some(mut server) = RedisServer::start() else { return };
    let store = redis_store(&server.url());
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    for _ in 0..3 {
        server.stop();
        assert!(unavailable_after(&store).await < Duration::from_millis(1500));
        server.start_again();
        assert!(available_after(&store).await < 2 * SECOND);
        // The scripts went with the old process and are loaded again.
        assert_eq!(store.take(NAME).await.unwrap().unwrap(), VALUE);
    }
}

#[tokio::test]
async fn a_frozen_server_is_unavailable_soon_and_nobody_gets_a_late_answer() {
    let Some(server) = RedisServer::start() else { return };
    let store = redis_store(&server.url());
    store.put(NAME, b"hers", MINUTE).await.unwrap();
    server.freeze();
    for _ in 0..3 {
        assert!(unavailable_after(&store).await < Duration::from_millis(500));
    }
    server.thaw();
    assert!(available_after(&store).await < 2 * SECOND);
    for _ in 0..10 {
        assert_eq!(store.get("sallyport:test:nobody's").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_subscription_that_is_cut_or_frozen_is_lost_aloud_and_found_again_within_a_second() {
    let Some(mut server) = RedisServer::start() else { return };
    let store = redis_store(&server.url());
    let mut listener = store.listen(TOPIC);
    for freeze in [false, true] {
        assert_eq!(heard(&mut listener).await, Announcement::Listening);
        let started = Instant::now();
        match freeze {
            false => server.stop(),
            true => server.freeze(),
        }
        assert_eq!(heard(&mut listener).await, Announcement::Lost);
        eprintln!("frozen: {freeze}; noticed after {:?}", started.elapsed());
        assert!(started.elapsed() < if freeze { 5 * SECOND } else { SECOND });
        let next = tokio::time::timeout(2 * SECOND, listener.next()).await;
        assert!(next.is_err(), "there is nobody to listen to: {next:?}");
        match freeze {
            false => server.start_again(),
            true => server.thaw(),
        }
        let started = Instant::now();
        assert_eq!(heard(&mut listener).await, Announcement::Listening);
        eprintln!("listening again after {:?}", started.elapsed());
        assert!(started.elapsed() < SECOND);
        available_after(&store).await;
        store.announce(TOPIC, b"heard").await.unwrap();
        assert_eq!(heard(&mut listener).await, Announcement::Said(b"heard".to_vec()));
        listener = store.listen(TOPIC);
    }
}

#[tokio::test]
async fn who_only_begins_to_listen_while_redis_is_out_listens_when_it_is_back() {
    let Some(mut server) = RedisServer::start() else { return };
    server.stop();
    let mut listener = redis_store(&server.url()).listen(TOPIC);
    assert!(tokio::time::timeout(SECOND, listener.next()).await.is_err());
    server.start_again();
    assert_eq!(heard(&mut listener).await, Announcement::Listening);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelled_requests_mix_up_nobody() {
    let Some(server) = RedisServer::start() else { return };
    let store = Arc::new(redis_store(&server.url()));
    let mut users = tokio::task::JoinSet::new();
    for user in 0..50_u64 {
        let store = store.clone();
        users.spawn(async move {
            let name = format!("sallyport:test:user-{user}");
            store.put(&name, &user.to_be_bytes(), MINUTE).await.unwrap();
            for round in 0..40 {
                let patience = Duration::from_micros((user * 7 + round * 13) % 300);
                // Whether this one was in time does not matter: the next must still get its own answer.
                let _ = tokio::time::timeout(patience, store.get(&name)).await;
                assert_eq!(store.get(&name).await.unwrap().unwrap(), user.to_be_bytes());
            }
        });
    }
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
}

#[tokio::test]
async fn a_dump_shows_nothing_in_clear() {
    const CANARIES: [&str; 3] = ["canary-of-the-session", "canary-of-the-code", "canary-of-the-epitaph"];
    let Some(server) = RedisServer::start() else { return };
    let store = Arc::new(redis_store(&server.url()));
    let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
    let table = Table::new(store.clone(), sealer.clone(), Clock::system(), "test");
    let (session, code, secret) = (sealer.new_id(), sealer.new_id(), SecretKey::random());
    table.put(&session, &secret, &CANARIES[0].to_owned(), MINUTE).await.unwrap();
    table.put_guarded(&code, &secret, &CANARIES[1].to_owned(), &RIGHT, &EPITAPH, MINUTE).await.unwrap();
    store.put(NAME, b"visible", MINUTE).await.unwrap();

    let dump = server.dump();
    let shows = |needle: &[u8]| dump.windows(needle.len()).any(|window| window == needle);
    assert!(shows(b"visible"), "what is not sealed would be found");
    assert!(shows(b"sallyport:test:"));
    for canary in CANARIES {
        assert!(!shows(canary.as_bytes()), "{canary}");
    }
    assert!(!shows(secret.expose()));
    assert!(!shows(session.to_text().as_bytes()), "names are keyed hashes of ids");
    assert_eq!(table.redeem(&code, &secret, &RIGHT).await.unwrap(), Redeemed::Value(CANARIES[1].to_owned()));
}

const PASSWORD: &str = "correct horse battery staple";

fn server_with_least_user() -> Option<RedisServer> {
    let acl = std::env::temp_dir().join(format!("sallyport-users-{}-{}.acl", std::process::id(), free_port()));
    let digest: String = Sha256::digest(PASSWORD).iter().map(|byte| format!("{byte:02x}")).collect();
    let users = include_str!("../../../../deploy/redis/users.acl");
    assert!(users.contains("#SHA-256-OF-THE-PASSWORD-IN-HEX"));
    let users = users.replace("SHA-256-OF-THE-PASSWORD-IN-HEX", &digest);
    std::fs::write(&acl, users + "user admin on nopass +@all\n").unwrap();
    let server = RedisServer::start_with(&["--aclfile", acl.to_str().unwrap()]);
    std::fs::remove_file(&acl).unwrap();
    server
}

fn url_as(server: &RedisServer, user: &str) -> String {
    server.url().replace("redis://", &format!("redis://{user}@"))
}

fn least_user(server: &RedisServer, password: &str) -> RedisSettings {
    let url = url_as(server, "sallyport") + "/3";
    RedisSettings { password: Some(Zeroizing::new(password.to_owned())), ..RedisSettings::new(url.parse().unwrap()) }
}

#[tokio::test]
async fn the_least_user_may_do_what_the_store_does_and_nothing_else() {
    let Some(server) = server_with_least_user() else { return };
    let settings = least_user(&server, PASSWORD);
    let store: Arc<dyn Store> = Arc::new(RedisStore::new(settings).unwrap());
    let subject = Subject { store: store.clone(), clock: None, _server: None };
    store.put(NAME, &VALUE, MINUTE).await.unwrap();
    assert_eq!(store.get(NAME).await.unwrap().unwrap(), VALUE);
    assert_eq!(store.take(NAME).await.unwrap().unwrap(), VALUE);
    subject.put_guarded(MINUTE).await;
    assert_eq!(subject.redeem(WRONG).await, Redemption::Mismatch);
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Value(VALUE.to_vec()));
    assert_eq!(subject.redeem(RIGHT).await, Redemption::Spent(EPITAPH));
    store.remove(NAME).await.unwrap();
    assert!(store.put_new(NAME, &VALUE, MINUTE).await.unwrap());
    assert!(store.replace(NAME, b"other", MINUTE).await.unwrap());
    assert!(store.remove_if(NAME, b"other").await.unwrap());
    store.start_counter(NAME, at(100), MINUTE).await.unwrap();
    assert_eq!(store.advance(NAME, step(0, 100)).await.unwrap(), Advance::Rotated(1));
    let mut listener = store.listen(TOPIC);
    assert_eq!(heard(&mut listener).await, Announcement::Listening);
    store.announce(TOPIC, b"heard").await.unwrap();
    assert_eq!(heard(&mut listener).await, Announcement::Said(b"heard".to_vec()));
    let foreign = store.announce("sallyport:other", b"").await.unwrap_err().to_string();
    assert!(foreign.contains("NOPERM"), "{foreign}");
    let foreign = store.put("other:name", &VALUE, MINUTE).await.unwrap_err().to_string();
    assert!(foreign.contains("NOPERM"), "{foreign}");

    let url = url_as(&server, &format!("sallyport:{}", PASSWORD.replace(' ', "%20")));
    let mut connection = ::redis::Client::open(url).unwrap().get_connection().unwrap();
    for command in [
        "KEYS *",
        "FLUSHALL",
        "CONFIG GET *",
        "DUMP sallyport:a",
        "EVAL return 0",
        "ACL LIST",
        "SCAN 0",
        "CLUSTER RESET",
        "SUBSCRIBE other",
        "PSUBSCRIBE *",
    ] {
        let mut words = command.split(' ');
        let mut request = ::redis::cmd(words.next().unwrap());
        words.for_each(|word| _ = request.arg(word));
        let refused = request.exec(&mut connection).unwrap_err();
        assert_eq!(refused.code(), Some("NOPERM"), "{command}: {refused}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_unavailable_says_no_secret_and_is_not_remembered() {
    let Some(server) = server_with_least_user() else { return };
    let store = RedisStore::new(least_user(&server, "hunter2")).unwrap();
    let error = store.get(NAME).await.unwrap_err().to_string();
    assert!(error.contains("refuses the user name or the password"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");

    let url = url_as(&server, "admin:any");
    let mut admin = ::redis::Client::open(url).unwrap().get_connection().unwrap();
    ::redis::cmd("ACL").arg("SETUSER").arg("sallyport").arg(">hunter2").exec(&mut admin).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.put(NAME, &VALUE, MINUTE).await.expect("the refusal is not remembered");
}
