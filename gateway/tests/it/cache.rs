//! Two tiers of sessions, at two replicas that share one Redis: what is served without it, and how soon an end counts.

use std::time::{Duration, Instant};

use fake_entra::{Fault, Match};
use futures_util::future::join_all;
use sallyport::clock::Clock;
use serde_json::Value;

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

struct Fixture {
    redis: RedisServer,
    upstream: Upstream,
    clock: Clock,
    replicas: [Gateway; 2],
    client: Client,
}

impl Fixture {
    /// Both replicas hear each other. `None` without Redis.
    async fn start() -> Option<Self> {
        let redis = RedisServer::start()?;
        let upstream = Upstream::start().await;
        let clock = Clock::manual(Clock::system().now());
        let replicas = Gateway::replicas(&upstream.url, &redis.url(), &clock).await;
        let client = Client::register(&replicas[0]).await;
        let fixture = Self { redis, upstream, clock, replicas, client };
        let first = fixture.sign_in().await;
        fixture.warm(&first).await;
        fixture.until_subscribed().await;
        Some(fixture)
    }

    /// An access token.
    async fn sign_in(&self) -> String {
        text(&self.client.tokens(&self.replicas[0], ADELE).await, "access_token")
    }

    async fn call(&self, replica: usize, token: &str) -> u16 {
        let request = self.replicas[replica].post("/mcp").bearer_auth(token).body("{}");
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
        status
    }

    /// What so many calls at once are answered, spread over the replicas.
    async fn calls(&self, many: usize, token: &str) -> Vec<u16> {
        join_all((0..many).map(|number| self.call(number % 2, token))).await
    }

    async fn warm(&self, token: &str) {
        assert_eq!(self.calls(2, token).await, [200, 200]);
    }

    async fn revoke(&self, replica: usize, token: &str) -> u16 {
        let form = [("token", token), ("client_id", &self.client.id)];
        self.replicas[replica].post("/revoke").form(&form).send().await.unwrap().status().as_u16()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn subscribers(&self) -> usize {
        let clients = self.redis.tell("CLIENT LIST TYPE pubsub");
        clients.lines().filter(|line| line.contains(" sub=1 ")).count()
    }

    async fn until_subscribed(&self) {
        eventually(async || self.subscribers() == 2).await;
        // Redis knows a moment before the replica does.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// How often Redis was asked for a record since it started.
    fn reads(&self) -> u64 {
        let statistics = self.redis.tell("INFO commandstats");
        let line = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    fn renewals(&self) -> u64 {
        self.replicas[0].entra.counters().token.get("refresh_token").copied().unwrap_or_default()
    }

    fn fault_on_renewal(&self, fault: Fault) {
        let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
        self.replicas[0].entra.fault(Fault { matching, ..fault });
    }

    /// From now on Entra's tokens live for an hour, and the client's for half a minute less.
    async fn let_tokens_live_for_an_hour(&self) {
        let entra = &self.replicas[0].entra;
        let url = format!("{}/_emu/policies", entra.control_url());
        let request = |request: reqwest::RequestBuilder| request.bearer_auth(entra.control_token());
        let policies = request(http_client().get(&url)).send().await.unwrap();
        let mut policies: Value = policies.json().await.unwrap();
        policies["expires_in"] = 3600.into();
        let answer = request(http_client().put(&url)).json(&policies).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    async fn found(&self, replica: usize, tier: &str) -> u64 {
        let metrics = http_client().get(self.replicas[replica].admin_url("/metrics")).send().await.unwrap();
        let series = format!("sallyport_session_lookups_total{{tier=\"{tier}\"}} ");
        let metrics = metrics.text().await.unwrap();
        metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
    }

    fn last_bearer(&self) -> String {
        self.upstream.seen().pop().unwrap().headers["authorization"].to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_is_revoked_at_one_replica_is_refused_at_the_other_within_a_second() {
    let Some(fixture) = Fixture::start().await else { return };
    let mut took = Vec::new();
    for number in 0..12 {
        let token = fixture.sign_in().await;
        fixture.warm(&token).await;
        let revoked = Instant::now();
        assert_eq!(fixture.revoke(number % 2, &token).await, 200);
        let answered = revoked.elapsed();
        assert_eq!(fixture.call(number % 2, &token).await, 401, "at once where it was asked for");
        while fixture.call(1 - number % 2, &token).await != 401 {
            assert!(revoked.elapsed() < Duration::from_secs(1), "still served after {:?}", revoked.elapsed());
        }
        took.push((revoked.elapsed(), answered));
    }
    took.sort();
    println!("refused at the other replica after (the answer to /revoke after): {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fresh_session_costs_redis_nothing() {
    let Some(fixture) = Fixture::start().await else { return };
    let token = fixture.sign_in().await;
    fixture.warm(&token).await;
    let before = (fixture.reads(), fixture.found(0, "cache").await, fixture.found(1, "cache").await);
    for _ in 0..5 {
        assert_eq!(fixture.calls(100, &token).await, [200; 100]);
    }
    println!("{} reads of Redis for 500 calls", fixture.reads() - before.0);
    assert_eq!(fixture.reads(), before.0);
    assert_eq!(fixture.found(0, "cache").await - before.1, 250);
    assert_eq!(fixture.found(1, "cache").await - before.2, 250);
    // Everybody at once when it is old: one question from each replica.
    fixture.pass(30);
    assert_eq!(fixture.calls(200, &token).await, [200; 200]);
    let reads = fixture.reads() - before.0;
    println!("{reads} reads of Redis for 200 calls at once when the session was old");
    assert_eq!(reads, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_redis_the_known_are_served_for_five_minutes_and_the_revoked_never() {
    for kill in [false, true] {
        let Some(mut fixture) = Fixture::start().await else { return };
        let (known, unknown, revoked) = (fixture.sign_in().await, fixture.sign_in().await, fixture.sign_in().await);
        fixture.warm(&known).await;
        fixture.warm(&revoked).await;
        assert_eq!(fixture.revoke(0, &revoked).await, 200);
        eventually(async || fixture.call(1, &revoked).await == 401).await;
        match kill {
            false => fixture.redis.freeze(),
            true => fixture.redis.stop(),
        }
        let (mut slowest, started) = (Duration::ZERO, Instant::now());
        // The session was confirmed just before.
        let mut age = 0;
        for seconds in [0, 30, 30, 60, 179] {
            fixture.pass(seconds);
            age += seconds;
            for _ in 0..5 {
                let round = Instant::now();
                assert_eq!(fixture.calls(40, &known).await, [200; 40], "{age}");
                slowest = slowest.max(round.elapsed());
            }
            assert_eq!(fixture.calls(4, &unknown).await, [503; 4], "{age}");
            assert_eq!(fixture.calls(4, &revoked).await, [401; 4], "{age}");
        }
        let what = if kill { "killed" } else { "frozen" };
        println!("{what}: 1000 of 1000 calls served, 40 at once within {slowest:?}, all in {:?}", started.elapsed());
        assert!(fixture.found(0, "stale").await >= 400);
        fixture.pass(1);
        for token in [&known, &unknown, &revoked] {
            assert_eq!(fixture.calls(4, token).await, [503; 4], "after five minutes nobody knows");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_cannot_hear_looks_every_second_and_says_nothing_old_when_it_hears_again() {
    let Some(fixture) = Fixture::start().await else { return };
    let (one, other) = (fixture.sign_in().await, fixture.sign_in().await);
    fixture.warm(&one).await;
    fixture.warm(&other).await;
    assert_eq!(fixture.redis.tell("ACL SETUSER default -subscribe"), "+OK");
    assert_eq!(fixture.redis.tell("CLIENT KILL TYPE pubsub"), ":2");
    eventually(async || fixture.subscribers() == 0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fixture.revoke(0, &one).await, 200);
    assert_eq!(fixture.call(0, &one).await, 401);
    assert_eq!(fixture.call(1, &one).await, 200, "it was not told, and the clock stands still");
    fixture.pass(1);
    assert_eq!(fixture.call(1, &one).await, 401, "a second later it asks");
    assert_eq!(fixture.calls(2, &other).await, [200, 200]);

    assert_eq!(fixture.revoke(0, &other).await, 200);
    assert_eq!(fixture.call(1, &other).await, 200);
    assert_eq!(fixture.redis.tell("ACL SETUSER default +subscribe"), "+OK");
    let started = Instant::now();
    eventually(async || fixture.call(1, &other).await == 401).await;
    println!("without the clock moving, what was missed counted {:?} after hearing was possible", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_calls_with_a_token_near_its_end_are_one_renewal_that_nobody_waits_for() {
    let Some(fixture) = Fixture::start().await else { return };
    fixture.let_tokens_live_for_an_hour().await;
    let token = fixture.sign_in().await;
    fixture.warm(&token).await;
    let before = fixture.last_bearer();
    fixture.pass(3600 - 100);
    fixture.fault_on_renewal(Fault { delay_ms: 4000, times: 10, ..Fault::default() });
    let started = Instant::now();
    assert_eq!(fixture.calls(200, &token).await, [200; 200]);
    println!("200 calls took {:?} while Entra took four seconds", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(fixture.last_bearer(), before, "the token that still serves");
    eventually(async || {
        // Either replica may have been the one to ask Entra; the other one has its old token at hand for a while.
        for replica in [0, 1] {
            assert_eq!(fixture.call(replica, &token).await, 200);
            if fixture.last_bearer() != before {
                return true;
            }
        }
        false
    })
    .await;
    fixture.pass(30);
    fixture.warm(&token).await;
    assert_ne!(fixture.last_bearer(), before);
    assert_eq!(fixture.renewals(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_entra_is_out_calls_go_on_and_are_not_a_storm_of_renewals() {
    let Some(fixture) = Fixture::start().await else { return };
    fixture.let_tokens_live_for_an_hour().await;
    let token = fixture.sign_in().await;
    fixture.warm(&token).await;
    fixture.pass(3600 - 280);
    fixture.fault_on_renewal(Fault { status: Some(503), times: 1000, ..Fault::default() });
    for _ in 0..50 {
        fixture.pass(4);
        assert_eq!(fixture.calls(10, &token).await, [200; 10]);
    }
    // Three attempts in five minutes, each a call and its retry.
    println!("{} calls to Entra for 500 requests in 200 s", fixture.renewals());
    assert!((1..=6).contains(&fixture.renewals()), "{}", fixture.renewals());
}

fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key}: {answer}")).to_owned()
}

/// Bounded: 10 seconds.
async fn eventually(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not happen within 10 seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
