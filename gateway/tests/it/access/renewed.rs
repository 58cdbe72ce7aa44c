//! Roles and groups change while people are signed in: what Entra says at a renewal counts from then on, at every replica.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fake_entra::FakeEntra;
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;

use super::*;
use crate::support::browser::Browser;
use crate::support::free_port;
use crate::support::install_crypto_provider;
use crate::support::redis_server::RedisServer;

/// Two replicas with one rule each on signing in and on a tool.
struct Two {
    replicas: [Gateway; 2],
    clock: Clock,
    client: Client,
    _upstream: Upstream,
    _redis: RedisServer,
}

impl Two {
    /// `None` without Redis.
    async fn start(roles: &[&str], groups: &[&str]) -> Option<Self> {
        let redis = RedisServer::start()?;
        install_crypto_provider();
        let upstream = Upstream::start().await;
        let groups: Vec<_> = groups.iter().map(|group| (*group).to_owned()).collect();
        let options = fake_entra::Options { seed: directory(roles, &groups), ..fake_entra::Options::default() };
        let entra = Arc::new(FakeEntra::start(options).await.unwrap());
        let ring = std::env::temp_dir().join(format!("sallyport-renewed-{}-{}.json", std::process::id(), free_port()));
        let clock = Clock::manual(Clock::system().now());
        KeyRing::create(&ring, clock.now()).unwrap();
        let ports = [free_port(), free_port()];
        let replicas =
            Gateway::fleet(entra, ports, ports[0], &upstream.url, &redis.url(), &clock, &ring, |_, settings| {
                let parties = [Party::Role("Edge.User".to_owned()), Party::Group(GROUP.to_owned())];
                settings.sign_in = Some(Requirement::any_of(parties));
                settings.upstreams[0].access.tools = tool_rules();
            })
            .await;
        std::fs::remove_file(&ring).unwrap();
        let client = Client::register(&replicas[0]).await;
        Some(Self { replicas, clock, client, _upstream: upstream, _redis: redis })
    }

    /// What an administrator assigns to Adele from now on.
    async fn assign(&self, roles: &[&str], groups: &[&str]) {
        let entra = &self.replicas[0].entra;
        let url = format!("{}/_emu/users/{ADELE}/memberships", entra.control_url());
        let assigned = json!({"roles": {entra.gateway_client_id(): roles}, "groups": groups});
        let answer = http_client().put(url).bearer_auth(entra.control_token()).json(&assigned).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    async fn call(&self, replica: usize, token: &str, tool: &str) -> (u16, Value) {
        let request = self.replicas[replica].post("/mcp").bearer_auth(token).header("content-type", "application/json");
        let answer = request.body(call(tool)).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn status(&self, replica: usize, token: &str) -> u16 {
        self.call(replica, token, "x").await.0
    }

    /// Both have the session at hand, and its tokens of Entra's are due by now.
    async fn until_due(&self, token: &str) {
        for replica in [0, 1] {
            assert_eq!(self.status(replica, token).await, 200);
        }
        self.clock.advance(Duration::from_secs(3100));
        for replica in [1, 0] {
            // What is at hand is older than half a minute: read again, and at hand.
            assert_eq!(self.status(replica, token).await, 200, "the token there is serves while it is renewed");
        }
    }

    fn renewals(&self) -> u64 {
        self.replicas[0].entra.counters().token.get("refresh_token").copied().unwrap_or_default()
    }
}

/// Tokens of an hour, not of one to one and a half.
async fn hour(two: &Two) {
    crate::entra_life::let_tokens_live(&two.replicas[0].entra, 3600).await;
}

/// Bounded: five seconds.
async fn soon(what: &str, condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(5), "not within five seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_loses_a_role_is_refused_at_every_replica_once_the_tokens_are_renewed() {
    for (roles, groups) in [(&["Edge.User"][..], &[][..]), (&[][..], &[GROUP][..])] {
        let Some(two) = Two::start(roles, groups).await else { return };
        hour(&two).await;
        let tokens = two.client.tokens(&two.replicas[0], ADELE).await;
        let (token, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        two.assign(&[], &[]).await;
        for replica in [0, 1] {
            assert_eq!(two.status(replica, token).await, 200, "until the renewal nobody knows");
        }
        two.until_due(token).await;
        soon("the renewal", async || two.renewals() == 1).await;
        // No clock moves: what each replica has at hand would serve for half a minute yet.
        for replica in [0, 1] {
            soon("the refusal", async || two.status(replica, token).await == 401).await;
        }
        assert!(two.replicas[1].metric(r#"sallyport_access_refused_total{kind="session"}"#).await >= 1.0);
        for replica in &two.replicas {
            let (status, answer) = two.client.refresh(replica, refresh).await;
            assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
        }
        // A new sign-in says why.
        let browser = Browser::new();
        let callback = two.client.callback(&two.replicas[0], &browser, ADELE).await;
        let page = browser.get(&callback).await;
        assert!(page.status == 403 && page.body.contains("SP-1303"), "{}", page.body);
        assert_eq!(two.renewals(), 1);
    }
}

/// The same by the client's own refresh, which is a renewal too.
#[tokio::test]
async fn a_refresh_that_finds_the_role_gone_is_refused() {
    let Some(two) = Two::start(&["Edge.User"], &[]).await else { return };
    hour(&two).await;
    let tokens = two.client.tokens(&two.replicas[0], ADELE).await;
    let (token, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    assert_eq!(two.status(1, token).await, 200);
    two.assign(&["Another.Role"], &[]).await;
    two.clock.advance(Duration::from_secs(3100));
    let (status, answer) = two.client.refresh(&two.replicas[0], refresh).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!((two.status(0, token).await, two.renewals()), (401, 1));
    soon("the refusal at the other replica", async || two.status(1, token).await == 401).await;
}

#[tokio::test]
async fn a_role_that_was_given_counts_without_a_new_sign_in() {
    let Some(two) = Two::start(&["Edge.User"], &[]).await else { return };
    hour(&two).await;
    let tokens = two.client.tokens(&two.replicas[0], ADELE).await;
    let token = tokens["access_token"].as_str().unwrap();
    for replica in [0, 1] {
        assert_eq!(two.call(replica, token, "delete_all").await.1["error"]["code"], -32003);
    }
    two.assign(&["Edge.User", "Tools.Admin"], &[]).await;
    two.until_due(token).await;
    for replica in [0, 1] {
        soon("the tool", async || two.call(replica, token, "delete_all").await.1.get("error").is_none()).await;
        assert_eq!(two.status(replica, token).await, 200);
    }
    assert_eq!(two.renewals(), 1);
}
