//! B11: one renewal, one more try, and never more than that.

use std::time::Duration;

use fake_entra::{Fault, Match};
use futures_util::future::join_all;
use reqwest::Response;
use sallyport::clock::Clock;
use sallyport::oauth::Remember;
use serde_json::Value;

use super::guard::Guard;
use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::redis_server::RedisServer;

pub struct Fixture {
    pub guard: Guard,
    pub clock: Clock,
    pub gateway: Gateway,
    pub client: Client,
}

impl Fixture {
    pub async fn start() -> Self {
        let guard = Guard::start().await;
        let clock = Clock::manual(Clock::system().now());
        let gateway = Gateway::start_at(&guard.url, &clock, |settings, _| settings.remember = Remember::Always).await;
        let client = Client::register(&gateway).await;
        Self { guard, clock, gateway, client }
    }

    /// With a call made, and a token of Entra's that is not new any more.
    pub async fn signed_in(&self) -> Value {
        let tokens = self.client.tokens(&self.gateway, ADELE).await;
        assert_eq!(self.call(&tokens, "first").await.status(), 200);
        self.pass(61);
        tokens
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub async fn call(&self, tokens: &Value, body: &'static str) -> Response {
        call(&self.gateway, tokens, body).await
    }

    pub fn renewals(&self) -> u64 {
        renewals(&self.gateway)
    }

    pub fn fault_on_renewal(&self, fault: Fault) {
        let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
        self.gateway.entra.fault(Fault { matching, ..fault });
    }
}

pub async fn call(gateway: &Gateway, tokens: &Value, body: &'static str) -> Response {
    gateway.post("/mcp").bearer_auth(tokens["access_token"].as_str().unwrap()).body(body).send().await.unwrap()
}

pub fn renewals(gateway: &Gateway) -> u64 {
    gateway.entra.counters().token.get("refresh_token").copied().unwrap_or_default()
}

/// Our own challenge, and nothing of the upstream's.
pub async fn assert_plain_challenge(gateway: &Gateway, answer: Response) {
    assert_eq!(answer.status(), 401);
    let headers = answer.headers();
    let challenges: Vec<_> = headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", gateway.public_url());
    let ours = format!(r#"Bearer resource_metadata="{metadata}", scope="mcp.access", error="invalid_token""#);
    assert_eq!(challenges, [ours]);
    assert!(!headers.contains_key("x-inner"));
    assert!(!answer.text().await.unwrap().contains("inner"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_client_sees_its_answer() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known(&[]);
    let answer = fixture.call(&tokens, "second").await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "second"));
    assert_eq!(fixture.guard.executed(), ["first", "second"]);
    assert_eq!(fixture.renewals(), 1);
    let bearers = fixture.guard.bearers();
    assert!(bearers.len() == 3 && bearers[0] == bearers[1] && bearers[1] != bearers[2]);
    assert_eq!(fixture.call(&tokens, "third").await.status(), 200);
    assert_eq!((fixture.renewals(), fixture.guard.bearers().len()), (1, 4), "the new token is at hand");

    // A stream is asked for again as well.
    fixture.pass(61);
    fixture.guard.refuse_known(&[]);
    let get = fixture.gateway.get("/mcp").bearer_auth(tokens["access_token"].as_str().unwrap());
    assert_eq!(get.header("accept", "text/event-stream").send().await.unwrap().status(), 200);
    assert_eq!(fixture.renewals(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upstream_that_refuses_everything_costs_entra_one_renewal_a_minute() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_all(&[]);
    let answers = join_all((0..50).map(|_| fixture.call(&tokens, "again"))).await;
    for answer in answers {
        assert_plain_challenge(&fixture.gateway, answer).await;
    }
    assert_eq!(fixture.renewals(), 1);
    assert!(fixture.guard.bearers().len() <= 1 + 2 * 50, "each call at most twice");
    // Clients answer a 401 with a refresh; that does not ask Entra either, and the session lives.
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let (status, tokens) = fixture.client.refresh(&fixture.gateway, refresh_token).await;
    assert_eq!(status, 200);
    for _ in 0..5 {
        assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, "again").await).await;
    }
    assert_eq!(fixture.renewals(), 1);
    fixture.pass(61);
    assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, "again").await).await;
    assert_eq!((fixture.renewals(), fixture.guard.executed().len()), (2, 1));
}

#[tokio::test]
async fn a_token_that_is_new_is_not_renewed() {
    let fixture = Fixture::start().await;
    let tokens = fixture.client.tokens(&fixture.gateway, ADELE).await;
    fixture.guard.refuse_all(&["Basic realm=\"inner\""]);
    assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, "{}").await).await;
    assert_eq!((fixture.renewals(), fixture.guard.bearers().len()), (0, 1));
}

#[tokio::test]
async fn trouble_at_entra_is_503_and_the_session_lives() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known(&[]);
    fixture.fault_on_renewal(Fault { status: Some(503), times: 2, ..Fault::default() });
    for _ in 0..3 {
        let answer = fixture.call(&tokens, "second").await;
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after") && !answer.headers().contains_key("www-authenticate"));
    }
    assert_eq!(fixture.renewals(), 2, "one call and its retry, then a pause");
    fixture.pass(5);
    assert_eq!(fixture.call(&tokens, "second").await.status(), 200);
    assert_eq!(fixture.guard.executed(), ["first", "second"]);
}

#[tokio::test]
async fn a_user_who_was_revoked_is_signed_out() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known(&[]);
    fixture.fault_on_renewal(Fault { aadsts: Some(50173), ..Fault::default() });
    assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, "second").await).await;
    let (status, answer) = fixture.client.refresh(&fixture.gateway, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(fixture.renewals(), 1);
}

#[tokio::test]
async fn a_body_too_long_to_keep_is_the_clients_to_send_again() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known(&[]);
    let long = &*Box::leak("x".repeat(70 * 1024).into_boxed_str());
    assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, long).await).await;
    assert_eq!(fixture.renewals(), 1);
    assert_eq!(fixture.call(&tokens, long).await.status(), 200, "its next try finds the new token");
    assert_eq!((fixture.renewals(), fixture.guard.executed().len()), (1, 2));
}

/// The rest of the body goes to the second try.
#[tokio::test]
async fn a_refusal_before_the_end_of_the_body_loses_nothing_of_it() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known_early();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<&'static str, std::io::Error>>(2);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let request = http_client().post(fixture.gateway.url("/mcp")).bearer_auth(tokens["access_token"].as_str().unwrap());
    let answer = tokio::spawn(request.body(reqwest::Body::wrap_stream(stream)).send());
    sender.send(Ok("begin, ")).await.unwrap();
    for _ in 0..500 {
        if fixture.guard.bearers().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sender.send(Ok("end")).await.unwrap();
    drop(sender);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "begin, end"));
    assert_eq!((fixture.renewals(), fixture.guard.bearers().len()), (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_refused_calls_at_two_replicas_are_one_renewal() {
    let Some(redis) = RedisServer::start() else { return };
    let guard = Guard::start().await;
    let clock = Clock::manual(Clock::system().now());
    let replicas = Gateway::replicas(&guard.url, &redis.url(), &clock).await;
    let client = Client::register(&replicas[0]).await;
    let tokens = client.tokens(&replicas[0], ADELE).await;
    for replica in &replicas {
        assert_eq!(call(replica, &tokens, "first").await.status(), 200);
    }
    clock.advance(Duration::from_secs(61));
    guard.refuse_known(&[]);
    let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
    replicas[0].entra.fault(Fault { matching, delay_ms: 300, ..Fault::default() });
    let answers = join_all((0..50).map(|number| call(&replicas[number % 2], &tokens, "second"))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!((renewals(&replicas[0]), guard.executed().len()), (1, 52));
}
