//! Staying signed in and signing out, at two replicas that share one Redis and one key ring.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fake_entra::{Fault, Match};
use futures_util::future::join_all;
use sallyport::clock::Clock;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client, query};
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
    /// `None` without Redis.
    async fn start() -> Option<Self> {
        let redis = RedisServer::start()?;
        let upstream = Upstream::start().await;
        let clock = Clock::manual(Clock::system().now());
        let replicas = Gateway::replicas(&upstream.url, &redis.url(), &clock).await;
        let client = Client::register(&replicas[0]).await;
        Some(Self { redis, upstream, clock, replicas, client })
    }

    async fn sign_in(&self) -> Value {
        self.client.tokens(&self.replicas[0], ADELE).await
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn renewals(&self) -> u64 {
        self.replicas[0].entra.counters().token.get("refresh_token").copied().unwrap_or_default()
    }

    fn fault_on_renewal(&self, fault: Fault) {
        let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
        self.replicas[0].entra.fault(Fault { matching, ..fault });
    }

    /// Fifty refreshes at once with one token, spread over the replicas.
    async fn fifty(&self, refresh_token: &str) -> Vec<(u16, Value)> {
        join_all((0..50).map(|number| self.client.refresh(&self.replicas[number % 2], refresh_token))).await
    }

    fn redis_holds(&self, text: &str) -> bool {
        self.redis.dump().windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// What each replica answers to a call with the token.
    async fn calls(&self, tokens: &Value) -> [u16; 2] {
        let call = async |replica: &Gateway| {
            let request = replica.post("/mcp").bearer_auth(tokens["access_token"].as_str().unwrap());
            request.body("{}").send().await.unwrap().status().as_u16()
        };
        [call(&self.replicas[0]).await, call(&self.replicas[1]).await]
    }
}

impl Fixture {
    /// Bounded by the second that an end may take to be heard everywhere. Here it counts at once.
    async fn refused_everywhere(&self, here: usize, tokens: &Value) {
        let ended = Instant::now();
        assert_eq!(self.calls(tokens).await[here], 401);
        while self.calls(tokens).await != [401, 401] {
            assert!(ended.elapsed() < Duration::from_secs(1));
        }
    }
}

fn refresh_token(tokens: &Value) -> &str {
    tokens["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {tokens}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_refreshes_at_two_replicas_are_one_renewal_with_one_successor_and_a_late_replay_ends_it() {
    let Some(fixture) = Fixture::start().await else { return };
    let first = fixture.sign_in().await;
    fixture.pass(2 * 3600);
    assert_eq!(fixture.calls(&first).await, [401, 401], "the access token has ended");
    // Long enough for all fifty to be waiting.
    fixture.fault_on_renewal(Fault { delay_ms: 500, times: 50, ..Fault::default() });
    let answers = fixture.fifty(refresh_token(&first)).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let successors: BTreeSet<_> = answers.iter().map(|(_, tokens)| refresh_token(tokens)).collect();
    assert_eq!((successors.len(), fixture.renewals()), (1, 1));
    for (_, tokens) in &answers {
        assert_eq!(fixture.calls(tokens).await, [200, 200]);
    }
    let bearer = fixture.upstream.seen().pop().unwrap().headers["authorization"].to_str().unwrap().to_owned();
    assert!(bearer.starts_with("Bearer ey"));

    // A client that lost the answer comes again, elsewhere.
    fixture.pass(40);
    let (status, again) = fixture.client.refresh(&fixture.replicas[1], refresh_token(&first)).await;
    assert_eq!((status, refresh_token(&again)), (200, *successors.first().unwrap()));

    fixture.pass(6);
    let (status, answer) = fixture.client.refresh(&fixture.replicas[1], refresh_token(&first)).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    // The late replay ended the session.
    fixture.refused_everywhere(1, &again).await;
    let (status, answer) = fixture.client.refresh(&fixture.replicas[0], refresh_token(&again)).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(fixture.renewals(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_entra_is_out_fifty_refreshes_are_one_attempt_and_nobody_is_signed_out() {
    let Some(fixture) = Fixture::start().await else { return };
    let tokens = fixture.sign_in().await;
    fixture.pass(2 * 3600);
    fixture.fault_on_renewal(Fault { status: Some(503), delay_ms: 100, times: 2, ..Fault::default() });
    let answers = fixture.fifty(refresh_token(&tokens)).await;
    for (status, answer) in answers {
        assert_eq!((status, answer["error"].as_str()), (503, Some("temporarily_unavailable")), "{answer}");
    }
    assert_eq!(fixture.renewals(), 2, "one call and its retry");
    fixture.pass(5);
    let (status, tokens) = fixture.client.refresh(&fixture.replicas[1], refresh_token(&tokens)).await;
    assert_eq!(status, 200, "nothing was consumed: {tokens}");
    assert_eq!(fixture.calls(&tokens).await, [200, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_entra_is_slow_one_waits_for_it_and_the_others_are_told_to_come_again() {
    let Some(fixture) = Fixture::start().await else { return };
    let tokens = fixture.sign_in().await;
    fixture.pass(2 * 3600);
    fixture.fault_on_renewal(Fault { delay_ms: 3500, ..Fault::default() });
    let answers = fixture.fifty(refresh_token(&tokens)).await;
    let served = answers.iter().filter(|(status, _)| *status == 200).count();
    let later = answers.iter().filter(|(status, _)| *status == 503).count();
    assert_eq!((served, later, fixture.renewals()), (1, 49, 1));
    let answers = fixture.fifty(refresh_token(&tokens)).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(fixture.renewals(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn signing_out_at_one_replica_counts_at_the_other_too() {
    let Some(fixture) = Fixture::start().await else { return };
    for kind in ["refresh_token", "access_token"] {
        let tokens = fixture.sign_in().await;
        assert_eq!(fixture.calls(&tokens).await, [200, 200]);
        let form = [("token", tokens[kind].as_str().unwrap()), ("client_id", &fixture.client.id)];
        assert_eq!(fixture.replicas[0].post("/revoke").form(&form).send().await.unwrap().status(), 200);
        fixture.refused_everywhere(0, &tokens).await;
        let (status, answer) = fixture.client.refresh(&fixture.replicas[1], refresh_token(&tokens)).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_is_revoked_while_it_is_renewed_stays_dead() {
    let Some(fixture) = Fixture::start().await else { return };
    let tokens = fixture.sign_in().await;
    fixture.pass(2 * 3600);
    fixture.fault_on_renewal(Fault { delay_ms: 1000, ..Fault::default() });
    let form = [("token", refresh_token(&tokens)), ("client_id", &fixture.client.id)];
    let revoke = async {
        while !fixture.redis_holds("sallyport:lock:") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The lock is there: Entra is being asked, or will be in a moment.
        tokio::time::sleep(Duration::from_millis(200)).await;
        fixture.replicas[1].post("/revoke").form(&form).send().await.unwrap().status()
    };
    let refresh = fixture.client.refresh(&fixture.replicas[0], refresh_token(&tokens));
    let ((status, answer), revoked) = tokio::join!(refresh, revoke);
    assert_eq!((revoked.as_u16(), fixture.renewals()), (200, 1));
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    for kind in ["session", "generation", "lock"] {
        assert!(!fixture.redis_holds(&format!("sallyport:{kind}:")), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_holds_no_refresh_token_in_clear() {
    let Some(fixture) = Fixture::start().await else { return };
    let first = fixture.sign_in().await;
    fixture.pass(2 * 3600);
    let (status, second) = fixture.client.refresh(&fixture.replicas[1], refresh_token(&first)).await;
    assert_eq!(status, 200);
    let dump = fixture.redis.dump();
    let holds = |text: &str| dump.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("sallyport:session:") && holds("sallyport:generation:"));
    let canaries = fixture.replicas[0].entra.canaries();
    assert!(canaries.iter().filter(|canary| canary.starts_with("1.AX")).count() >= 3, "a code and two refresh tokens");
    let ours = [refresh_token(&first), refresh_token(&second)];
    for canary in canaries.iter().map(String::as_str).chain(ours) {
        assert!(!holds(canary), "{}…", &canary[..12]);
        assert!(ours.contains(&canary) || !second.to_string().contains(canary));
    }
}

#[tokio::test]
async fn a_policy_that_wants_another_factor_is_met_in_the_same_sign_in() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let browser = Browser::new();
    let callback = client.callback(&gateway, &browser, ADELE).await;
    // AADSTS50076 comes with a claims challenge.
    gateway.entra.fault(Fault { aadsts: Some(50076), ..Fault::on("/v2.0/token") });
    let again = browser.get(&callback).await;
    assert_eq!(again.status, 303);
    let factor = browser.get(&again.next()).await;
    assert_eq!(factor.status, 200, "{}", factor.body);
    let form = [("flow", factor.hidden("flow")), ("mfa", "approve".to_owned())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let callback = browser.submit(&factor.action(), &form).await.next();
    let back = url::Url::parse(&browser.get(&callback).await.next()).unwrap();
    let (status, answer) = client.redeem(&gateway, &query(&back, "code").unwrap()).await;
    assert_eq!(status, 200, "{answer}");
}
