//! Who may sign in, and who may use an upstream.

use std::sync::Arc;

use fake_entra::FakeEntra;
use reqwest::header::WWW_AUTHENTICATE;
use sallyport::access::{Party, Requirement, ToolRules, Who};
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;
use url::Url;

use super::*;
use crate::support::browser::{Browser, Page};
use crate::support::free_port;
use crate::support::journey::{ALEX, query};
use crate::support::redis_server::RedisServer;
use crate::support::{gateway, install_crypto_provider};

/// The page that ends a sign-in, and what the client would be told from there.
async fn refused(gateway: &Gateway, client: &Client, user: &str) -> (Page, Url) {
    let browser = Browser::new();
    let callback = client.callback(gateway, &browser, user).await;
    let page = browser.get(&callback).await;
    assert_eq!(page.status, 403, "{}", page.body);
    let back = page.body.split("class=\"primary\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let back = Url::parse(&back.replace("&#38;", "&").replace("&amp;", "&")).unwrap();
    (page, back)
}

#[tokio::test]
async fn only_whom_the_rules_name_may_sign_in() {
    let upstream = Upstream::start().await;
    let seed = directory(&["Edge.User"], &[]);
    let gateway = Gateway::start_seeded(Options::simple(&upstream.url), seed, |settings| {
        settings.sign_in = Some(role("Edge.User"))
    })
    .await;
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (page, back) = refused(&gateway, &client, ALEX).await;
    assert!(page.body.contains("SP-1303") && page.body.contains("Your account may not use this server"));
    assert_eq!(query(&back, "error").unwrap(), "access_denied");
    assert_eq!(query(&back, "state").unwrap(), "the state");
    assert!(query(&back, "iss").is_some() && query(&back, "code").is_none());
    assert!(query(&back, "error_description").unwrap().contains("SP-1303"));
    assert_eq!(gateway.metric(r#"sallyport_access_refused_total{kind="sign_in"}"#).await, 1.0);
}

#[tokio::test]
async fn each_upstream_has_its_own_rule() {
    let upstream = Upstream::start().await;
    let (seed, url) = (directory(&[], &[GROUP.to_owned()]), upstream.url.clone());
    let gateway = Gateway::start_seeded(Options::simple(&upstream.url), seed, |settings| {
        settings.upstreams[0].access.allow = Some(Requirement::any_of([Party::Group(GROUP.to_owned())]));
        let scope = settings.upstreams[0].scope.clone();
        settings.upstreams.push(sallyport::server::UpstreamSettings {
            path: "/other".to_owned(),
            scope,
            pool: sallyport::pool::Settings::single("other", &url),
            access: sallyport::access::UpstreamAccess::default(),
        });
    })
    .await;
    let here = Client::register(&gateway).await;
    here.token(&gateway, ADELE).await;
    let (page, _) = refused(&gateway, &here, ALEX).await;
    assert!(page.body.contains("SP-1303"));
    assert_eq!(gateway.metric(r#"sallyport_access_refused_total{kind="upstream"}"#).await, 1.0);
    let there = Client { id: here.id, resource: gateway.url("/other") };
    let token = there.token(&gateway, ALEX).await;
    let answer = |path: &str| http_client().post(gateway.url(path)).bearer_auth(&token).body("{}").send();
    assert_eq!(answer("/other").await.unwrap().status(), 200);
    assert_eq!(answer("/mcp").await.unwrap().status(), 401, "its token is for the other one");
}

/// More than 200 groups: Entra says only where to ask (entra.md section 7). Nobody is let in on that.
#[tokio::test]
async fn groups_that_entra_does_not_tell_let_nobody_in() {
    let upstream = Upstream::start().await;
    let groups = |count: usize| -> Vec<_> {
        (0..count).map(|number| if number == 0 { GROUP.to_owned() } else { format!("g{number}") }).collect()
    };
    let allow = || Requirement::any_of([Party::Group(GROUP.to_owned()), Party::Role("Edge.User".to_owned())]);
    for (roles, count, fault) in
        [(&[][..], 200, None), (&[][..], 201, Some("SP-1304")), (&["Edge.User"][..], 201, None)]
    {
        let seed = directory(roles, &groups(count));
        let gateway =
            Gateway::start_seeded(Options::simple(&upstream.url), seed, |settings| settings.sign_in = Some(allow()))
                .await;
        let client = Client::register(&gateway).await;
        match fault {
            None => _ = client.token(&gateway, ADELE).await,
            Some(code) => {
                let (page, back) = refused(&gateway, &client, ADELE).await;
                assert!(page.body.contains(code), "{}", page.body);
                assert!(query(&back, "error_description").unwrap().contains(code));
                // Who is in few groups is told plainly.
                assert!(refused(&gateway, &client, ALEX).await.0.body.contains("SP-1303"));
            }
        }
    }
}

/// Two replicas, of which the second has newer rules.
#[tokio::test]
async fn a_session_that_is_older_than_a_rule_leads_to_a_new_sign_in() {
    let Some(redis) = RedisServer::start() else { return };
    install_crypto_provider();
    let upstream = Upstream::start().await;
    for newer in ["sign_in", "allow", "tools"] {
        let seed = directory(&["Edge.User"], &[]);
        let options = fake_entra::Options { seed, ..fake_entra::Options::default() };
        let entra = Arc::new(FakeEntra::start(options).await.unwrap());
        let ring = std::env::temp_dir().join(format!("sallyport-access-{}-{}.json", std::process::id(), free_port()));
        let clock = Clock::manual(Clock::system().now());
        KeyRing::create(&ring, clock.now()).unwrap();
        let ports = [free_port(), free_port()];
        let replicas =
            Gateway::fleet(entra, ports, ports[0], &upstream.url, &redis.url(), &clock, &ring, |at, settings| {
                let access = &mut settings.upstreams[0].access;
                match (at, newer) {
                    (0, _) => {}
                    (_, "sign_in") => settings.sign_in = Some(role("Edge.User")),
                    (_, "allow") => access.allow = Some(role("Edge.User")),
                    _ => access.tools = ToolRules::new(vec![rule(&["x"], Who::Only(role("Edge.User")))]),
                }
            })
            .await;
        std::fs::remove_file(&ring).unwrap();
        let [before, after] = &replicas;
        let client = Client::register(before).await;
        let tokens = client.tokens(before, ADELE).await;
        let (token, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        let ask = |replica: &gateway::Gateway| replica.post("/mcp").bearer_auth(token).body("{}").send();
        assert_eq!(ask(before).await.unwrap().status(), 200);
        let answer = ask(after).await.unwrap();
        assert_eq!(answer.status(), 401, "{newer}");
        assert!(answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
        assert_eq!(after.metric(r#"sallyport_access_refused_total{kind="session"}"#).await, 1.0);
        // A refresh would lead nowhere, and says so; nothing of the session is lost for it.
        let (status, answer) = client.refresh(after, refresh).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some("invalid_grant")), "{newer}");
        assert_eq!(ask(before).await.unwrap().status(), 200);
        assert_eq!(client.refresh(before, refresh).await.0, 200);
    }
}
