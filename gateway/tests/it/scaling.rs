//! What a user costs in Redis, measured at records of real sign-ins; docs/scaling.md reckons with it. What many sessions do to
//! Redis is measured in `session::tests::scale`, with records of this size.

use std::collections::BTreeMap;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

use sallyport::clock::Clock;

/// Sign-ins of each of two users.
const SIGN_INS: u64 = 5;
/// What docs/scaling.md says that a session takes, with all that goes with it. More must be said there.
const PER_SESSION: u64 = 5 * 1024;
/// What is left of a sign-in for at most ten minutes.
const PER_SIGN_IN: u64 = 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_takes_as_many_bytes_as_the_plan_says() {
    let Some(redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let [gateway, other] = Gateway::replicas(&upstream.url, &redis.url(), &Clock::system()).await;
    let client = Client::register(&gateway).await;
    for user in [ADELE, ALEX] {
        for _ in 0..SIGN_INS {
            let tokens = client.tokens(&gateway, user).await;
            let answer =
                other.post("/mcp").bearer_auth(tokens["access_token"].as_str().unwrap()).body("{}").send().await;
            assert_eq!(answer.unwrap().status(), 200);
            let (status, _) = client.refresh(&other, tokens["refresh_token"].as_str().unwrap()).await;
            assert_eq!(status, 200);
        }
    }
    let (mut seals, http) = (0.0, http_client());
    for replica in [&gateway, &other] {
        let metrics = http.get(replica.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
        let counted = metrics.lines().filter(|line| line.starts_with("sallyport_seals_total{"));
        seals += counted.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>();
    }
    let kinds = Kinds::of(&redis);
    let longest = |is: fn(&str) -> bool| gateway.entra.canaries().iter().filter(|it| is(it)).map(String::len).max();
    println!(
        "MEASURED redis sign_ins={} seals={seals} entra_token={:?} entra_refresh_token={:?}",
        2 * SIGN_INS,
        longest(|it| it.starts_with("ey")).unwrap(),
        longest(|it| !it.starts_with("ey")).unwrap()
    );
    for (kind, Kind { keys, bytes }) in &kinds.0 {
        println!("MEASURED redis kind={kind} keys={keys} bytes={bytes} bytes_a_key={}", bytes / keys);
    }
    let lasting = kinds.bytes(|kind| LASTING.contains(&kind)) / (2 * SIGN_INS);
    let passing = kinds.bytes(|kind| !LASTING.contains(&kind)) / (2 * SIGN_INS);
    println!("MEASURED redis bytes_a_session={lasting} bytes_left_of_a_sign_in={passing}");
    for kind in LASTING {
        assert!(kinds.0.contains_key(kind), "there is no {kind}: {:?}", kinds.0.keys());
    }
    assert!((1024..=PER_SESSION).contains(&lasting), "{lasting} bytes a session");
    assert!(passing <= PER_SIGN_IN, "{passing} bytes of a sign-in");
}

/// What lives as long as a session.
const LASTING: [&str; 5] = ["generation", "listing", "session", "sessions", "user"];

/// By the second part of its name, what there is of a record and how much memory Redis gives it.
struct Kinds(BTreeMap<String, Kind>);

#[derive(Default)]
struct Kind {
    keys: u64,
    bytes: u64,
}

impl Kinds {
    fn of(redis: &RedisServer) -> Self {
        // Every key is ASCII: read as one text by a script, which also adds up what belongs together.
        let script = "local said = {} for _, name in ipairs(redis.call('KEYS', '*')) do \
                      said[#said + 1] = string.match(name, '^sallyport:([^:]+)') .. ' ' .. redis.call('MEMORY', 'USAGE', name, 'SAMPLES', 0) end \
                      return table.concat(said, ',')";
        let mut kinds = BTreeMap::<String, Kind>::new();
        for said in redis.tell(&format!("EVAL \"{script}\" 0")).split(',') {
            let (kind, bytes) = said.split_once(' ').unwrap_or_else(|| panic!("{said}"));
            let kind = kinds.entry(kind.to_owned()).or_default();
            kind.keys += 1;
            kind.bytes += bytes.parse::<u64>().unwrap();
        }
        Self(kinds)
    }

    fn bytes(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.0.iter().filter(|(kind, _)| wanted(kind)).map(|(_, kind)| kind.bytes).sum()
    }
}
