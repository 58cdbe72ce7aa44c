//! Three replicas with everything around them: a fault proxy before their Redis, a balancer before them, an upstream that
//! says whom it sees, and as many users as are wanted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fake_entra::directory::User;
use fake_entra::{FakeEntra, Fault, Match, Seed};
use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::header::HOST;
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;
use serde_json::Value;

use super::echo::Echo;
use super::{eventually, seed};
use crate::support::browser::http_client;
use crate::support::fault_proxy::FaultProxy;
use crate::support::gateway::Gateway;
use crate::support::journey::Client;
use crate::support::redis_server::RedisServer;
use crate::support::{free_port, install_crypto_provider};

/// What a test wants otherwise.
pub struct Wanted {
    pub users: usize,
    /// How many sessions each replica keeps at hand.
    pub cached: [usize; 3],
    /// Stands still until [`Rig::pass`]; otherwise it is the machine's.
    pub still: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { users: 3, cached: [10_000; 3], still: false }
    }
}

/// Dropped in this order: first who asks, then who is asked.
pub struct Rig {
    pub replicas: [Gateway; 3],
    /// Any of them by chance, at each connection anew.
    pub front: Gateway,
    pub balancer: FaultProxy,
    /// Between the replicas and Redis.
    pub to_redis: FaultProxy,
    pub redis: RedisServer,
    pub client: Client,
    pub http: reqwest::Client,
    pub ring: Ring,
    clock: Clock,
    listeners: usize,
    _echo: Echo,
}

/// Someone who is signed in.
#[derive(Clone, Debug)]
pub struct Signed {
    pub oid: String,
    pub access: String,
    pub refresh: String,
}

/// The file of the key ring that the replicas share.
pub struct Ring(pub PathBuf);

impl Drop for Ring {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Rig {
    /// All replicas hear each other. `None` without Redis.
    pub async fn start(wanted: Wanted) -> Option<Self> {
        let redis = RedisServer::start()?;
        install_crypto_provider();
        let mut directory = Seed::default();
        directory.users = (0..wanted.users).map(|number| user(&directory.users[0], number)).collect();
        directory.policies.expires_in = Some(3600);
        let options = fake_entra::Options { seed: directory, ..fake_entra::Options::default() };
        let entra = Arc::new(FakeEntra::start(options).await.unwrap());
        let clock = if wanted.still { Clock::manual(Clock::system().now()) } else { Clock::system() };
        let path = std::env::temp_dir().join(format!("sallyport-chaos-{}-{}.json", std::process::id(), free_port()));
        let ring = Ring(path);
        KeyRing::create(&ring.0, clock.now()).unwrap();
        let echo = Echo::start().await;
        let to_redis = FaultProxy::before(port_of(&redis.url()), seed());
        let redis_url = format!("redis://127.0.0.1:{}", to_redis.port());
        let ports = [free_port(), free_port(), free_port()];
        let balancer = FaultProxy::balancing(0, &ports, seed());
        let cached = wanted.cached;
        let replicas = Gateway::fleet(
            entra,
            ports,
            balancer.port(),
            &echo.url,
            &redis_url,
            &clock,
            &ring.0,
            |number, settings| settings.sessions.cached = cached[number],
        )
        .await;
        let front = Gateway::behind(&replicas);
        let client = Client::register(&front).await;
        let http = http_client();
        // Who keeps nothing at hand has nothing to hear.
        let listeners = cached.iter().filter(|cached| **cached > 0).count();
        let rig =
            Self { replicas, front, balancer, to_redis, redis, client, http, ring, clock, listeners, _echo: echo };
        let first = rig.sign_in(0).await;
        rig.warm(&[first]).await;
        rig.until_heard().await;
        Some(rig)
    }

    /// Until each replica hears what the others announce.
    pub async fn until_heard(&self) -> Duration {
        let subscribed = async || {
            let clients = self.redis.tell("CLIENT LIST TYPE pubsub");
            clients.lines().filter(|line| line.contains(" sub=1 ")).count() == self.listeners
        };
        let took = eventually("all subscriptions", subscribed).await;
        // Redis knows a moment before the replicas do.
        tokio::time::sleep(Duration::from_millis(100)).await;
        took
    }

    pub async fn sign_in(&self, user: usize) -> Signed {
        let tokens = self.client.tokens(&self.front, &upn(user)).await;
        Signed::new(user, &tokens)
    }

    /// The first so many users, a few at a time.
    pub async fn sign_in_all(&self, users: usize) -> Vec<Signed> {
        iter((0..users).map(|user| self.sign_in(user))).buffered(6).collect().await
    }

    /// Each session is seen by each replica.
    pub async fn warm(&self, sessions: &[Signed]) {
        for signed in sessions {
            for replica in 0..3 {
                assert_eq!(self.call(replica, signed).await, 200, "replica {replica}");
            }
        }
    }

    /// A request to one replica, named as clients name it.
    pub fn post(&self, replica: usize, path: &str) -> reqwest::RequestBuilder {
        let host = format!("localhost:{}", self.front.port);
        self.http.post(format!("http://127.0.0.1:{}{path}", self.replicas[replica].port)).header(HOST, host)
    }

    /// The status of a call, whose answer is about the caller if it is one.
    pub async fn call(&self, replica: usize, signed: &Signed) -> u16 {
        self.call_and_token(replica, signed).await.0
    }

    /// Also which of Entra's tokens the upstream was shown.
    pub async fn call_and_token(&self, replica: usize, signed: &Signed) -> (u16, Option<String>) {
        let answer = self.post(replica, "/mcp").bearer_auth(&signed.access).body("{}").send().await.unwrap();
        let status = answer.status().as_u16();
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
        if status != 200 {
            return (status, None);
        }
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["oid"], signed.oid.as_str(), "another's answer");
        (status, Some(answer["token"].as_str().unwrap().to_owned()))
    }

    /// One refresh at one replica.
    pub async fn refresh(&self, replica: usize, refresh_token: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", &self.client.id),
            ("resource", &self.client.resource),
        ];
        let answer = self.post(replica, "/token").form(&form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub fn entra(&self) -> &FakeEntra {
        &self.replicas[0].entra
    }

    /// How often Entra was asked to renew a token.
    pub fn renewals(&self) -> u64 {
        self.entra().counters().token.get("refresh_token").copied().unwrap_or_default()
    }

    pub fn fault_on_renewal(&self, fault: Fault) {
        let matching = Match { grant: Some("refresh_token".into()), ..Match::default() };
        self.entra().fault(Fault { matching, ..fault });
    }

    /// Everybody's time, Entra's too.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        let ahead = self.clock.now().unix() - Clock::system().now().unix();
        self.entra().set_clock_offset(ahead.try_into().unwrap());
    }
}

impl Signed {
    pub fn new(user: usize, tokens: &Value) -> Self {
        let text = |key: &str| tokens[key].as_str().unwrap_or_else(|| panic!("no {key}: {tokens}")).to_owned();
        Self { oid: oid(user), access: text("access_token"), refresh: text("refresh_token") }
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

pub fn upn(user: usize) -> String {
    format!("user{user}@contoso.example")
}

fn oid(user: usize) -> String {
    format!("5d0c7e91-64fa-4b38-93e2-{user:012x}")
}

pub fn user(like: &User, number: usize) -> User {
    User { oid: oid(number), upn: upn(number), mail: Some(upn(number)), ..like.clone() }
}
