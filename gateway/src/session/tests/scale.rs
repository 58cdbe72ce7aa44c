//! Many sessions in a real Redis, each begun by the code that begins all: memory, what commands cost, the listing, the kill
//! switch, saving and starting again. docs/scaling.md has the figures; `make scaling` writes them anew.
#![expect(clippy::print_stdout, reason = "it says what it has measured")]

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::iter;

use super::*;
use crate::store::conformance::redis_server::RedisServer;
use crate::store::{RedisSettings, RedisStore};

/// Of Entra's tokens in bytes, as the stand-in gives them (`a_session_takes_as_many_bytes_as_the_plan_says` says how many).
const ENTRA_TOKEN: usize = 1406;
const ENTRA_REFRESH_TOKEN: usize = 1204;
const CLIENTS: usize = 32;
/// What is asked of sessions by chance.
const ASKED: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and memory; `make scaling` runs it"]
async fn many_sessions_are_kept_found_listed_and_ended() {
    let wanted = std::env::var("SESSIONS").map_or(100_000, |count| count.parse().unwrap());
    let mut redis = RedisServer::start().unwrap();
    let settings = RedisSettings::new(redis.url().parse().unwrap());
    let patient = RedisSettings { response_timeout: Duration::from_secs(10), ..settings };
    let store: Arc<dyn Store> = Arc::new(RedisStore::new(patient).unwrap());
    let clock = Clock::system();
    let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
    // Nothing is at hand: each request asks Redis.
    let settings = Settings { cached: 0, ..Settings::default() };
    let audit = Audit::to_log(sealer.clone(), clock.clone());
    let sessions =
        Arc::new(Sessions::new(settings, store, sealer, clock, Arc::new(nobody()), Access::default(), audit));

    let empty: u64 = told(&redis, "memory", "used_memory").parse().unwrap();
    let begun = Instant::now();
    let tokens: Vec<String> =
        iter(0..wanted).map(|number| signed_in(&sessions, number)).buffered(CLIENTS).collect().await;
    let (full, took) = (told(&redis, "memory", "used_memory").parse::<u64>().unwrap(), begun.elapsed());
    println!(
        "MEASURED scale sessions={wanted} redis={} keys={} bytes_a_session={} begun_in={took:.1?}",
        told(&redis, "server", "redis_version"),
        redis.tell("DBSIZE"),
        (full - empty) / wanted as u64
    );

    println!("MEASURED scale of a sign-in, {}", costs(&redis));
    redis.tell("CONFIG RESETSTAT");
    let begun = Instant::now();
    let asked = iter((0..ASKED).map(|number| &tokens[number * 7919 % tokens.len()]));
    let admitted = asked.map(|token| async { sessions.admit(Some(&authorization(token)), HERE).await.is_ok() });
    let admitted = admitted.buffered(CLIENTS).filter(|admitted| std::future::ready(*admitted)).count().await;
    println!("MEASURED scale admitted={admitted} in={:.1?}, {}", begun.elapsed(), costs(&redis));
    assert_eq!(admitted, ASKED);

    let begun = Instant::now();
    let list = sessions.roster().list(&Selector::All, 10_000).await.unwrap();
    println!("MEASURED scale listed={} more={} in={:.2?}", list.sessions.len(), list.more, begun.elapsed());
    let begun = Instant::now();
    let list = sessions.roster().list(&user(0), 100).await.unwrap();
    println!("MEASURED scale of one user listed={} in={:.2?}", list.sessions.len(), begun.elapsed());
    assert_eq!(list.sessions.len(), 1);

    // What a replica of Redis is sent when it comes, and what a restart reads.
    let begun = Instant::now();
    let bytes = redis.dump().len();
    println!("MEASURED scale saved_bytes={bytes} in={:.2?}", begun.elapsed());
    redis.stop();
    let begun = Instant::now();
    redis.start_again();
    println!("MEASURED scale read_again_in={:.2?} keys={}", begun.elapsed(), redis.tell("DBSIZE"));
    assert_eq!(redis.tell("CONFIG SET appendonly yes"), "+OK");
    let begun = Instant::now();
    while told(&redis, "persistence", "aof_rewrite_in_progress") != "0"
        || told(&redis, "persistence", "aof_rewrite_scheduled") != "0"
    {
        assert!(begun.elapsed() < Duration::from_secs(120), "the log is not written anew");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "MEASURED scale log_bytes={} written_anew_in={:.2?} fork_us={}",
        told(&redis, "persistence", "aof_base_size"),
        begun.elapsed(),
        told(&redis, "stats", "latest_fork_usec")
    );
    assert_eq!(redis.tell("CONFIG SET appendonly no"), "+OK");

    let begun = Instant::now();
    let revoked = sessions.revoke_selected(&user(1), "test", &Context::default()).await;
    println!("MEASURED scale of one user ended={} in={:.2?}", revoked.ended, begun.elapsed());
    redis.tell("CONFIG RESETSTAT");
    let begun = Instant::now();
    let revoked = sessions.revoke_selected(&Selector::All, "test", &Context::default()).await;
    println!("MEASURED scale ended={} in={:.1?}, {}", revoked.ended, begun.elapsed(), costs(&redis));
    assert!(revoked.is_complete() && revoked.ended == wanted - 1, "{revoked:?}");
}

/// A user's only session; gives its token.
async fn signed_in(sessions: &Sessions, number: usize) -> String {
    let person = User {
        tenant_id: TENANT.to_owned(),
        object_id: object_id(number),
        name: Some(format!("Person {number:09}")),
        username: Some(format!("person{number:09}@contoso.example")),
    };
    let token = |length: usize| Secret::new(format!("{number:0>length$}"));
    let access_token = entra::AccessToken { token: token(ENTRA_TOKEN), ..sign_in(HOUR).access_token };
    let sign_in =
        SignIn { user: person, access_token, refresh_token: Some(token(ENTRA_REFRESH_TOKEN)), ..sign_in(HOUR) };
    let grant = Grant { client: CLIENT, resource: HERE.to_owned() };
    let scope = "api://33333333-3333-3333-3333-333333333333/access_as_user offline_access openid profile";
    let begun = sessions.begin(&sign_in, scope, &grant, "Test client").await.unwrap();
    sessions.issue(&begun, &grant).access_token
}

fn object_id(number: usize) -> String {
    format!("5d0c7e91-64fa-4b38-93e2-{number:012x}")
}

fn user(number: usize) -> Selector {
    Selector::user(&object_id(number), &[TENANT.to_owned()]).unwrap()
}

/// A line of what Redis tells of itself.
fn told(redis: &RedisServer, what: &str, key: &str) -> String {
    let text = redis.tell(&format!("INFO {what}"));
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {key} in {text}"))
}

/// What Redis says of its commands since it was last told to forget: how many, and microseconds of its CPU for each.
fn costs(redis: &RedisServer) -> String {
    let text = redis.tell("INFO commandstats");
    let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    let mut costs: Vec<String> = lines
        .filter(|(command, _)| !command.starts_with("info") && !command.starts_with("config"))
        .filter_map(|(command, rest)| {
            let calls = rest.split(',').next()?;
            Some(format!("{command}={calls}x{}us", rest.split_once("usec_per_call=")?.1.split(',').next()?))
        })
        .collect();
    costs.sort();
    costs.join(" ")
}
