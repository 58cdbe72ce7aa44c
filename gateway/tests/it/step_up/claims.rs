//! Claims challenges of an upstream: silently answered, or kept for the user; and upstreams that abuse them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fake_entra::{Fault, Match};
use futures_util::future::join_all;
use sallyport::clock::Clock;
use serde_json::Value;
use url::Url;

use super::guard::Guard;
use super::refused::{Fixture, assert_plain_challenge, call};
use crate::support::browser::{Browser, Page};
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client, query};
use crate::support::redis_server::RedisServer;

/// Of a policy, which fake-entra answers with a page about a second factor.
pub fn policy() -> String {
    challenge(r#"{"access_token":{"capolids":{"essential":true,"values":["p1"]}}}"#)
}

fn challenge(claims: &str) -> String {
    format!(r#"Bearer realm="", error="insufficient_claims", claims="{}""#, BASE64_STANDARD.encode(claims))
}

impl Fixture {
    /// A call that the user must answer.
    async fn step_up_is_pending(&self) -> Value {
        let tokens = self.signed_in().await;
        self.guard.refuse_known(&[&policy()]);
        self.fault_on_renewal(Fault { aadsts: Some(50076), ..Fault::default() });
        assert_plain_challenge(&self.gateway, self.call(&tokens, "second").await).await;
        assert_eq!(self.renewals(), 1);
        tokens
    }
}

pub fn refresh_token(tokens: &Value) -> &str {
    tokens["refresh_token"].as_str().unwrap()
}

/// Follows a bounce to Entra, approves the second factor there, and gives the page that the gateway then answers.
pub async fn follow_bounce(browser: &Browser, bounce: &Page) -> Page {
    assert_eq!(bounce.status, 303, "{}", bounce.body);
    let again = Url::parse(&bounce.next()).unwrap();
    assert!(again.path().ends_with("/oauth2/v2.0/authorize"), "{again}");
    assert!(query(&again, "claims").is_some());
    assert_eq!(query(&again, "login_hint").as_deref(), Some(ADELE));
    let factor = browser.get(again.as_str()).await;
    assert_eq!(factor.status, 200, "{}", factor.body);
    let form = [("flow", factor.hidden("flow")), ("mfa", "approve".to_owned())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.get(&browser.submit(&factor.action(), &form).await.next()).await
}

/// Whether a sign-in leads straight to the client.
async fn is_sent_to_the_client(gateway: &Gateway, client: &Client, user: &str) -> bool {
    client.authorize(gateway, &Browser::new(), user).await.as_str().starts_with("http://127.0.0.1:9/callback?code=")
}

#[tokio::test]
async fn a_challenge_that_a_new_token_answers_is_not_seen_by_the_client() {
    let fixture = Fixture::start().await;
    let tokens = fixture.client.tokens(&fixture.gateway, ADELE).await;
    assert_eq!(fixture.call(&tokens, "first").await.status(), 200);
    // The token is new, and the challenge says why it does not do all the same.
    fixture.guard.refuse_known(&[&challenge(r#"{"access_token":{"nbf":{"value":"1"}}}"#)]);
    assert_eq!(fixture.call(&tokens, "second").await.status(), 200);
    assert_eq!((fixture.renewals(), fixture.guard.executed().len()), (1, 2));
    assert!(is_sent_to_the_client(&fixture.gateway, &fixture.client, ADELE).await);
}

#[tokio::test]
async fn what_only_the_user_can_answer_is_asked_at_the_next_sign_in_once() {
    let fixture = Fixture::start().await;
    let (gateway, client) = (&fixture.gateway, &fixture.client);
    let tokens = fixture.step_up_is_pending().await;
    let (status, answer) = client.refresh(gateway, refresh_token(&tokens)).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(fixture.renewals(), 1);
    // A page that was left half-way does not change that.
    for _ in 0..2 {
        let browser = Browser::new();
        assert!(browser.get(&client.callback(gateway, &browser, ADELE).await).await.next().contains("claims="));
    }
    let browser = Browser::new();
    let bounce = browser.get(&client.callback(gateway, &browser, ADELE).await).await;
    let back = Url::parse(&follow_bounce(&browser, &bounce).await.next()).unwrap();
    let (status, tokens) = client.redeem(gateway, &query(&back, "code").unwrap()).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(fixture.call(&tokens, "third").await.status(), 200);
    assert_eq!(client.refresh(gateway, refresh_token(&tokens)).await.0, 200);
    assert!(is_sent_to_the_client(gateway, client, ADELE).await, "asked once");
}

#[tokio::test]
async fn nobody_else_is_asked_and_not_for_ever() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    let tokens = fixture.step_up_is_pending().await;
    assert!(is_sent_to_the_client(gateway, &fixture.client, ALEX).await, "another user");
    let other = Client::register(gateway).await;
    assert!(is_sent_to_the_client(gateway, &other, ADELE).await, "another client");
    fixture.pass(601);
    let (status, _) = fixture.client.refresh(gateway, refresh_token(&tokens)).await;
    assert_eq!(status, 200, "it is forgotten");
    assert!(is_sent_to_the_client(gateway, &fixture.client, ADELE).await);
}

#[tokio::test]
async fn a_client_that_wants_nobody_asked_learns_that_somebody_must_be() {
    let fixture = Fixture::start().await;
    let (gateway, client) = (&fixture.gateway, &fixture.client);
    let browser = Browser::new();
    client.authorize(gateway, &browser, ADELE).await;
    let silently = async || {
        let at_entra = browser.get(&format!("{}&prompt=none", client.authorize_url(gateway))).await.next();
        let callback = browser.get(&at_entra).await.next();
        Url::parse(&browser.get(&callback).await.next()).unwrap()
    };
    assert!(query(&silently().await, "code").is_some());
    fixture.step_up_is_pending().await;
    assert_eq!(query(&silently().await, "error").as_deref(), Some("interaction_required"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upstream_that_is_never_content_costs_entra_one_renewal_a_minute() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_all(&[&policy()]);
    for (minute, expected) in [(0, 1), (1, 2)] {
        let answers = join_all((0..30).map(|_| fixture.call(&tokens, "again"))).await;
        for answer in answers {
            assert_plain_challenge(&fixture.gateway, answer).await;
        }
        assert_eq!(fixture.renewals(), expected, "minute {minute}");
        fixture.pass(61);
    }
    // Entra saw no reason to ask the user: neither do we.
    assert_eq!(fixture.client.refresh(&fixture.gateway, refresh_token(&tokens)).await.0, 200);
    assert!(is_sent_to_the_client(&fixture.gateway, &fixture.client, ADELE).await);
}

#[tokio::test]
async fn junk_is_a_refusal_like_any_other() {
    let fixture = Fixture::start().await;
    let tokens = fixture.client.tokens(&fixture.gateway, ADELE).await;
    let long = challenge(&format!(r#"{{"access_token":{{"a":"{}"}}}}"#, "a".repeat(75_000)));
    let foreign = challenge(r#"{"userinfo":{"a":1},"access_token":{"xms_cc":{"values":["cp1"]}}}"#);
    let half = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3"#;
    for junk in
        [long.as_str(), foreign.as_str(), half, &challenge("no JSON"), "Bearer error=insufficient_claims, claims=*"]
    {
        fixture.guard.refuse_all(&[junk]);
        let answer = fixture.call(&tokens, "again").await;
        assert_plain_challenge(&fixture.gateway, answer).await;
    }
    assert_eq!(fixture.renewals(), 0, "the token is new, and nobody has said what it lacks");
    // What Entra itself does not understand ends no session, and is no outage.
    fixture.guard.refuse_all(&[&challenge(r#"{"access_token":{"junk":{"value":"x"}}}"#)]);
    fixture.fault_on_renewal(Fault { aadsts: Some(90023), ..Fault::default() });
    for _ in 0..3 {
        assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, "again").await).await;
    }
    assert_eq!(fixture.renewals(), 1);
    assert_eq!(fixture.client.refresh(&fixture.gateway, refresh_token(&tokens)).await.0, 200);
}

#[tokio::test]
async fn trouble_at_entra_is_no_reason_to_ask_the_user() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known(&[&policy()]);
    fixture.fault_on_renewal(Fault { status: Some(503), times: 2, ..Fault::default() });
    let answer = fixture.call(&tokens, "second").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after") && !answer.headers().contains_key("www-authenticate"));
    fixture.pass(5);
    assert_eq!(fixture.call(&tokens, "second").await.status(), 200);
}

/// A renewal that nobody's claims have caused: the next sign-in answers Entra's.
#[tokio::test]
async fn what_entra_itself_asks_at_a_renewal_is_kept_as_well() {
    let fixture = Fixture::start().await;
    let tokens = fixture.signed_in().await;
    fixture.guard.refuse_known(&[]);
    fixture.fault_on_renewal(Fault { aadsts: Some(50076), ..Fault::default() });
    assert_plain_challenge(&fixture.gateway, fixture.call(&tokens, "second").await).await;
    let browser = Browser::new();
    let bounce = browser.get(&fixture.client.callback(&fixture.gateway, &browser, ADELE).await).await;
    let back = Url::parse(&follow_bounce(&browser, &bounce).await.next()).unwrap();
    assert!(query(&back, "code").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_share_what_waits_for_the_user_and_redis_cannot_read_it() {
    let Some(redis) = RedisServer::start() else { return };
    let guard = Guard::start().await;
    let clock = Clock::manual(Clock::system().now());
    let [first, second] = Gateway::replicas(&guard.url, &redis.url(), &clock).await;
    let client = Client::register(&first).await;
    let tokens = client.tokens(&first, ADELE).await;
    assert_eq!(call(&second, &tokens, "first").await.status(), 200);
    guard.refuse_known(&[&policy()]);
    let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
    first.entra.fault(Fault { matching, aadsts: Some(50076), ..Fault::default() });
    assert_plain_challenge(&first, call(&second, &tokens, "second").await).await;
    assert_eq!(client.refresh(&first, refresh_token(&tokens)).await.0, 400);
    let dump = redis.dump();
    let holds = |text: &str| dump.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("sallyport:step-up:") && !holds("capolids"));

    let browser = Browser::new();
    let bounce = browser.get(&client.callback(&first, &browser, ADELE).await).await;
    let back = Url::parse(&follow_bounce(&browser, &bounce).await.next()).unwrap();
    let (status, tokens) = client.redeem(&first, &query(&back, "code").unwrap()).await;
    assert_eq!((status, call(&second, &tokens, "second").await.status().as_u16()), (200, 200));
    let dump = redis.dump();
    assert!(!dump.windows(18).any(|window| window == b"sallyport:step-up:"));
}
