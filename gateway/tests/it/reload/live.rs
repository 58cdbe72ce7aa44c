//! What a reload replaces while requests and streams go on.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::header::ACCEPT;
use sallyport::access::{Party, Requirement};
use sallyport::pool::HealthSettings;
use sallyport::rate::Rate;
use url::Url;

use super::rig::{Rig, eventually, upstream};
use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;

async fn call(gateway: &Gateway, path: &str, token: &str) -> u16 {
    let answer = http_client().post(gateway.url(path)).bearer_auth(token).body("{}").send().await.unwrap();
    answer.status().as_u16()
}

async fn token_for(gateway: &Gateway, path: &str) -> String {
    let client = Client::register(gateway).await;
    Client { resource: gateway.url(path), ..client }.token(gateway, ADELE).await
}

#[tokio::test]
async fn an_upstream_that_was_added_is_signed_in_to_and_called() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let token = token_for(gateway, "/mcp").await;
    let metadata = gateway.url("/.well-known/oauth-protected-resource/other");
    assert_eq!(call(gateway, "/other", &token).await, 404);
    assert_eq!(http_client().get(&metadata).send().await.unwrap().status(), 404);

    rig.change(|live| live.upstreams.push(upstream("other", "/other", &other.url, &gateway.entra.scope())));
    rig.reload().await;
    assert_eq!(http_client().get(&metadata).send().await.unwrap().status(), 200);
    assert_eq!(call(gateway, "/other", &token).await, 401, "a token is for its own resource");
    let of_other = token_for(gateway, "/other").await;
    assert_eq!(call(gateway, "/other", &of_other).await, 200);
    assert_eq!(call(gateway, "/mcp", &token).await, 200, "a session of before goes on");
    assert_eq!((one.seen().len(), other.seen().len()), (1, 1));
    let ready = r#"sallyport_upstream_servers{state="ready",upstream="other"}"#;
    assert_eq!(gateway.metric(ready).await, 1.0);
}

#[tokio::test]
async fn an_upstream_that_was_removed_gets_nothing_new_and_its_streams_go_on() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    rig.change(|live| live.upstreams.push(upstream("other", "/other", &other.url, &gateway.entra.scope())));
    rig.reload().await;
    let token = token_for(gateway, "/other").await;
    let request = http_client().get(gateway.url("/other")).bearer_auth(&token).header(ACCEPT, "text/event-stream");
    let mut stream = request.send().await.unwrap();
    other.send("data: 1\n\n").await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 1\n\n");

    rig.change(|live| live.upstreams.pop());
    rig.reload().await;
    assert_eq!(call(gateway, "/other", &token).await, 404);
    other.send("data: 2\n\n").await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: 2\n\n", "what runs goes on");
    assert_eq!(other.seen().len(), 1);
    let metrics = http_client().get(gateway.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("upstream=\"other\""), "{metrics}");
    let servers = http_client().get(gateway.admin_url("/servers")).send().await.unwrap().text().await.unwrap();
    assert!(servers.contains(&one.url) && !servers.contains(&other.url), "{servers}");
}

/// Neither a request nor its connection is lost, and what replaces a pool takes its calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reloads_under_load_lose_no_call() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let token = token_for(gateway, "/mcp").await;
    let (done, calls, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (url, token, done) = (gateway.url("/mcp"), token.clone(), done.clone());
            let (calls, failed) = (calls.clone(), failed.clone());
            tokio::spawn(async move {
                let client = http_client();
                while !done.load(Ordering::Relaxed) {
                    let answer = client.post(&url).bearer_auth(&token).body("{}").send().await;
                    calls.fetch_add(1, Ordering::Relaxed);
                    if !answer.is_ok_and(|answer| answer.status() == 200) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for number in 0..50 {
        let server = if number % 2 == 0 { &other.url } else { &one.url };
        rig.change(|live| live.upstreams[0].pool.servers = vec![Url::parse(server).unwrap()]);
        rig.reload().await;
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let (calls, failed) = (calls.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    println!("{calls} calls during 50 reloads, {failed} failed");
    assert!(calls >= 100, "{calls}");
    assert_eq!(failed, 0);
    assert!(!one.seen().is_empty() && !other.seen().is_empty());
}

#[tokio::test]
async fn nobody_asks_after_the_health_of_a_pool_that_has_left() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&one.url).await;
    let checks = || other.seen().len();
    rig.change(|live| {
        let mut added = upstream("other", "/other", &other.url, "scope");
        added.pool.health = Some(HealthSettings { path: "/healthz".to_owned(), interval: Duration::from_millis(50) });
        live.upstreams.push(added);
    });
    rig.reload().await;
    eventually(async || checks() >= 3).await;
    // The same pool goes on, and is asked no more often than before.
    for _ in 0..5 {
        rig.reload().await;
    }
    rig.change(|live| live.upstreams.pop());
    rig.reload().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = checks();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(checks(), before);
}

#[tokio::test]
async fn what_an_operator_drained_stays_drained() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let token = token_for(gateway, "/mcp").await;
    let wanted = serde_json::json!({ "upstream": "mcp", "server": one.url });
    let answer = http_client().post(gateway.admin_url("/servers/drain")).json(&wanted).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    rig.change(|live| live.upstreams[0].pool.servers.push(Url::parse(&other.url).unwrap()));
    rig.reload().await;
    for _ in 0..4 {
        assert_eq!(call(gateway, "/mcp", &token).await, 200);
    }
    assert_eq!((one.seen().len(), other.seen().len()), (0, 4));
}

/// Who names no role yet is told to sign in again, where Entra says what the user is.
#[tokio::test]
async fn a_rule_counts_from_the_next_request_on() {
    let one = Upstream::start().await;
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let token = token_for(gateway, "/mcp").await;
    assert_eq!(call(gateway, "/mcp", &token).await, 200);
    let nobodys = Requirement::any_of([Party::Role("Nobody.Has.It".to_owned())]);
    rig.change(|live| live.upstreams[0].access.allow = Some(nobodys));
    rig.reload().await;
    assert_eq!(call(gateway, "/mcp", &token).await, 401);
    rig.change(|live| live.upstreams[0].access.allow = None);
    rig.reload().await;
    assert_eq!(call(gateway, "/mcp", &token).await, 200);
}

#[tokio::test]
async fn a_client_that_is_denied_and_a_closed_registration_are_refused_at_once() {
    let one = Upstream::start().await;
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let client = Client::register(gateway).await;
    let tokens = client.tokens(gateway, ADELE).await;
    rig.change(|live| (live.clients.denied, live.clients.registration) = (vec![client.id.clone()], false));
    rig.reload().await;
    let authorize = http_client().get(client.authorize_url(gateway)).send().await.unwrap();
    assert_eq!(authorize.status(), 403);
    let refreshed = client.refresh(gateway, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!((refreshed.0, refreshed.1["error"].as_str()), (400, Some("unauthorized_client")));
    let body = serde_json::json!({ "redirect_uris": ["http://127.0.0.1:9/"] });
    let registered = http_client().post(gateway.url("/register")).json(&body).send().await.unwrap();
    assert_eq!(registered.status(), 403);
}

#[tokio::test]
async fn a_limit_counts_at_once_and_one_that_stays_gives_no_fresh_start() {
    let one = Upstream::start().await;
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let token = token_for(gateway, "/mcp").await;
    let three = NonZeroU32::new(3).unwrap();
    rig.change(|live| live.edge_limits.requests = Rate::per_minute(three));
    rig.reload().await;
    for _ in 0..3 {
        assert_eq!(call(gateway, "/mcp", &token).await, 200);
    }
    assert_eq!(call(gateway, "/mcp", &token).await, 429);
    rig.reload().await;
    assert_eq!(call(gateway, "/mcp", &token).await, 429);
    rig.change(|live| live.edge_limits.requests = Rate::UNBOUNDED);
    rig.reload().await;
    assert_eq!(call(gateway, "/mcp", &token).await, 200);
}

/// Two pools, the second of which cannot be built: the first is not replaced either.
#[tokio::test]
async fn all_or_nothing() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let token = token_for(gateway, "/mcp").await;
    rig.change(|live| {
        live.upstreams[0].pool.servers = vec![Url::parse(&other.url).unwrap()];
        let mut lost = upstream("lost", "/lost", "http://nowhere.invalid", "scope");
        lost.pool.resolver = sallyport::pool::Resolver::new(|_, _| Err(std::io::Error::other("no such name")));
        live.upstreams.push(lost);
    });
    rig.reload_in_vain().await;
    assert_eq!(call(gateway, "/mcp", &token).await, 200);
    assert_eq!((one.seen().len(), other.seen().len()), (1, 0));
    assert_eq!(gateway.metric("sallyport_config_reload_success").await, 0.0);
    assert_eq!(gateway.readiness().await.0, 200);
    rig.change(|live| live.upstreams.pop());
    rig.reload().await;
    assert_eq!(call(gateway, "/mcp", &token).await, 200);
    assert_eq!((one.seen().len(), other.seen().len()), (1, 1));
    assert_eq!(gateway.metric("sallyport_config_reload_success").await, 1.0);
}

/// What was checked for another origin is not taken for this one.
#[tokio::test]
async fn with_another_public_url_nothing_is_replaced_and_all_is_named() {
    let one = Upstream::start().await;
    let rig = Rig::start(&one.url).await;
    let gateway = &rig.gateway;
    let client = Client::register(gateway).await;
    rig.change_public_url("https://elsewhere.example");
    rig.set_key("public_url", false);
    rig.set_key("clients.denied", true);
    rig.change(|live| live.clients.denied = vec![client.id.clone()]);
    rig.reload().await;
    for key in ["public_url", "clients.denied"] {
        assert_eq!(gateway.metric(&format!("sallyport_config_restart_needed{{key=\"{key}\"}}")).await, 1.0, "{key}");
    }
    let authorize = http_client().get(client.authorize_url(gateway)).send().await.unwrap();
    assert_eq!(authorize.status(), 303);
}
