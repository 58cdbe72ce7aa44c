//! Two replicas whose clocks are five minutes apart: what lives longer than that works at both, what lives shorter is
//! refused with an error that says to begin again.

use std::time::Duration;

use sallyport::clock::{Clock, Timestamp};
use sallyport::sealed::KeyRing;

use super::{call, count_panics, every_call_was_its_users, is_alive};
use crate::support::browser::Browser;
use crate::support::free_port;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client, query};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::Upstream;

const APART: Duration = Duration::from_secs(300);

struct Apart {
    /// Sign-ins are at the first one.
    replicas: [Gateway; 2],
    client: Client,
    clocks: [Clock; 2],
    upstream: Upstream,
    _redis: RedisServer,
}

impl Apart {
    /// `None` without Redis.
    async fn start(clocks: [Timestamp; 2]) -> Option<Self> {
        count_panics();
        let redis = RedisServer::start()?;
        let upstream = Upstream::start().await;
        let ring = std::env::temp_dir().join(format!("sallyport-apart-{}-{}.json", std::process::id(), free_port()));
        let clocks = clocks.map(Clock::manual);
        KeyRing::create(&ring, clocks[0].now()).unwrap();
        let replicas =
            Gateway::replicas_with_clocks(&upstream.url, &redis.url(), [&clocks[0], &clocks[1]], &ring).await;
        std::fs::remove_file(&ring).unwrap();
        let client = Client::register(&replicas[0]).await;
        Some(Self { replicas, client, clocks, upstream, _redis: redis })
    }

    /// A code of the first replica's, redeemed at one of them.
    async fn redeem_at(&self, replica: usize, user: &str) -> (u16, serde_json::Value) {
        let back = self.client.authorize(&self.replicas[0], &Browser::new(), user).await;
        let code = query(&back, "code").unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", crate::support::journey::REDIRECT_URI),
            ("client_id", &self.client.id),
            ("code_verifier", crate::support::journey::VERIFIER),
            ("resource", &self.client.resource),
        ];
        let answer = self.replicas[replica].post("/token").form(&form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn call_both(&self, user: &str, tokens: &serde_json::Value) -> [u16; 2] {
        let access = tokens["access_token"].as_str().unwrap();
        [call(&self.replicas[0], user, access).await, call(&self.replicas[1], user, access).await]
    }

    async fn is_sound(&self) {
        for replica in &self.replicas {
            is_alive(replica).await;
        }
        every_call_was_its_users(&self.upstream);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_replica_that_is_five_minutes_ahead_sessions_go_on_and_a_code_has_ended() {
    let Some(apart) = Apart::start([now(), now().after(APART)]).await else { return };
    let (adele, alex) =
        (apart.client.tokens(&apart.replicas[0], ADELE).await, apart.client.tokens(&apart.replicas[0], ALEX).await);
    assert_eq!(apart.call_both(ADELE, &adele).await, [200, 200]);
    assert_eq!(apart.call_both(ALEX, &alex).await, [200, 200]);
    let (status, answer) = apart.redeem_at(1, ADELE).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")), "a minute has passed there");
    let mut refresh = adele["refresh_token"].as_str().unwrap().to_owned();
    for replica in [0, 1, 0, 1] {
        let (status, tokens) = apart.client.refresh(&apart.replicas[replica], &refresh).await;
        assert_eq!(status, 200, "{tokens}");
        assert_eq!(apart.call_both(ADELE, &tokens).await, [200, 200]);
        refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    }
    // Repeated where more than the grace seems to have passed: it counts as reuse, and the session ends.
    let first = alex["refresh_token"].as_str().unwrap();
    assert_eq!(apart.client.refresh(&apart.replicas[0], first).await.0, 200);
    let (status, answer) = apart.client.refresh(&apart.replicas[1], first).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(call(&apart.replicas[1], ALEX, alex["access_token"].as_str().unwrap()).await, 401);
    let again = apart.client.tokens(&apart.replicas[0], ALEX).await;
    assert_eq!(apart.call_both(ALEX, &again).await, [200, 200]);
    apart.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_replica_that_is_five_minutes_behind_all_goes_on_and_a_token_ends_by_its_time() {
    let Some(apart) = Apart::start([now(), behind()]).await else { return };
    let (status, adele) = apart.redeem_at(1, ADELE).await;
    assert_eq!(status, 200, "{adele}");
    assert_eq!(apart.call_both(ADELE, &adele).await, [200, 200]);
    let first = adele["refresh_token"].as_str().unwrap();
    for replica in [0, 1, 0] {
        // The same successor each time: it was moved a moment ago, or, by the other clock, has not been moved yet.
        let (status, tokens) = apart.client.refresh(&apart.replicas[replica], first).await;
        assert_eq!(status, 200, "{tokens}");
        assert_eq!(apart.call_both(ADELE, &tokens).await, [200, 200]);
    }
    // An access token ends by each replica's own time, and is renewed at either.
    apart.clocks.iter().for_each(|clock| clock.advance(Duration::from_secs(3600) - APART / 2));
    assert_eq!(apart.call_both(ADELE, &adele).await, [401, 200]);
    apart.clocks.iter().for_each(|clock| clock.advance(APART));
    assert_eq!(apart.call_both(ADELE, &adele).await, [401, 401]);
    apart.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_where_the_clock_is_ahead_is_signed_in_and_where_it_is_behind_is_told_aloud() {
    let Some(apart) = Apart::start([now().after(APART), now()]).await else { return };
    let (status, tokens) = apart.redeem_at(1, ADELE).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(apart.call_both(ADELE, &tokens).await, [200, 200]);
    apart.is_sound().await;

    // Entra's id token begins five minutes from now, by that clock.
    let Some(apart) = Apart::start([behind(), now()]).await else { return };
    let browser = Browser::new();
    let callback = apart.client.callback(&apart.replicas[0], &browser, ADELE).await;
    let back = browser.get(&callback).await;
    assert_eq!(back.status, 303, "{}", back.body);
    let back = url::Url::parse(&back.next()).unwrap();
    assert_eq!((query(&back, "error").as_deref(), query(&back, "code")), (Some("server_error"), None), "{back}");
    apart.is_sound().await;
}

fn now() -> Timestamp {
    Clock::system().now()
}

fn behind() -> Timestamp {
    Timestamp::from_unix(now().unix() - APART.as_secs())
}
