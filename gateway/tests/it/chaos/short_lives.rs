//! Entra's tokens live for two seconds of true time, and a client calls on (GU-7).

use std::time::{Duration, Instant};

use sallyport::clock::Clock;
use tokio::time::sleep;

use super::{Tally, sized};
use crate::entra_life::let_tokens_live;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

/// What is told as whole seconds may be one less: for so long a client can trust the shortest life there is.
const TRUSTED: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(600);

/// A hundred calls in a minute, at two replicas in turn. The client refreshes as clients do, when its token is about to end, which is
/// before nearly every call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_in_a_minute_over_tokens_of_two_seconds_and_none_is_401() {
    let Some(redis) = RedisServer::start() else { return };
    let upstream = Upstream::start().await;
    let replicas = Gateway::replicas(&upstream.url, &redis.url(), &Clock::system()).await;
    let entra = replicas[0].entra.clone();
    let_tokens_live(&entra, 2).await;
    let client = Client::register(&replicas[0]).await;
    let mut tokens = client.tokens(&replicas[0], ADELE).await;
    let (calls, started) = (sized(10, 100), Instant::now());
    let (mut obtained, mut refreshes) = (Instant::now(), Tally::default());
    let mut answers = Tally::default();
    for number in 0..calls {
        let replica = &replicas[number % 2];
        // Bounded: who is told to come later does so, a second in all.
        for _ in 0..20 {
            let left = tokens["expires_in"].as_u64().unwrap().saturating_sub(TRUSTED.as_secs());
            if obtained.elapsed() + BETWEEN / 2 < Duration::from_secs(left) {
                break;
            }
            let asked = Instant::now();
            let (status, answer) = client.refresh(replica, tokens["refresh_token"].as_str().unwrap()).await;
            refreshes.add(status);
            match status {
                200 => (tokens, obtained) = (answer, asked),
                503 => sleep(Duration::from_millis(50)).await,
                _ => panic!("refresh {number}: {status} {answer}"),
            }
        }
        let token = tokens["access_token"].as_str().unwrap();
        let answer = replica.post("/mcp").bearer_auth(token).body("{}").send().await.unwrap();
        answers.add(answer.status().as_u16());
        sleep((started + BETWEEN * (number as u32 + 1)).saturating_duration_since(Instant::now())).await;
    }
    let renewals = entra.counters().token.get("refresh_token").copied().unwrap_or_default();
    let took = started.elapsed();
    println!("MEASURED short-lives calls=[{answers}] refreshes=[{refreshes}] entra_calls={renewals} took={took:.1?}");
    assert_eq!(answers.of(200), calls as u64, "{answers}");
    // Each token served for a second or two.
    assert!(renewals as usize >= calls * 2 / 10, "{renewals} renewals");
}
