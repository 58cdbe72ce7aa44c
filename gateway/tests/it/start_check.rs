//! What a replica finds out about Entra at its start, and what becomes of it later (GU-11, GU-14).

use std::time::{Duration, Instant};

use fake_entra::{Fault, Match};

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, Client};
use crate::support::upstream::Upstream;

/// As often as the check can meet it.
const ALWAYS: u32 = 10_000;

async fn call(gateway: &Gateway, token: &str) -> u16 {
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await;
    answer.unwrap().status().as_u16()
}

fn on(grant: &str) -> Match {
    Match { grant: Some(grant.into()), ..Match::default() }
}

/// A federated credential that was made a moment ago is refused for a while.
#[tokio::test]
async fn until_entra_knows_the_gateway_it_is_not_ready_and_says_why() {
    let upstream = Upstream::start().await;
    let fault = Fault { matching: on("client_credentials"), aadsts: Some(700213), times: 2, ..Fault::default() };
    let gateway = Gateway::start_at_entra(&upstream.url, |entra, _| entra.fault(fault)).await;
    let started = Instant::now();
    loop {
        let (status, said) = gateway.readiness().await;
        assert_eq!(status, 503, "{said}");
        if said.contains("AADSTS700213") {
            assert!(said.contains("add a federated credential"), "{said}");
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{said}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let alive = http_client().get(gateway.admin_url("/healthz")).send().await.unwrap();
    assert_eq!(alive.status(), 200, "degraded, not dead");
    let metadata = http_client().get(gateway.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
    assert_eq!(metadata.status(), 200);
    // After pauses of one second and of two.
    gateway.wait_until_ready(Duration::from_secs(20)).await;
    let series = r#"sallyport_entra_requests_total{error="700213",op="client_credentials",outcome="set_up"}"#;
    assert_eq!(gateway.metric(series).await, 2.0);
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    assert_eq!(call(&gateway, &token).await, 200);
}

#[tokio::test]
async fn an_authority_that_does_not_answer_is_asked_again() {
    let upstream = Upstream::start().await;
    let fault = Fault { times: 1, status: Some(503), html: true, ..Fault::on("openid-configuration") };
    let gateway = Gateway::start_at_entra(&upstream.url, |entra, _| entra.fault(fault)).await;
    gateway.wait_until_ready(Duration::from_secs(20)).await;
    let series = r#"sallyport_entra_requests_total{error="none",op="discovery",outcome="try_later"}"#;
    assert_eq!(gateway.metric(series).await, 1.0);
}

/// A replica that is serving stays in its balancer, and who is signed in goes on: else an outage of Entra's would be one of
/// everything.
#[tokio::test]
async fn a_later_outage_of_entras_makes_no_replica_unready() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    for path in ["/token", "/keys", "openid-configuration"] {
        gateway.entra.fault(Fault { status: Some(503), times: ALWAYS, ..Fault::on(path) });
    }
    for _ in 0..20 {
        assert_eq!(gateway.readiness().await, (200, "ready\n".to_owned()));
        assert_eq!(call(&gateway, &token).await, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn requests_to_entra_and_the_age_of_what_is_kept_can_be_seen() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    Client::register(&gateway).await.token(&gateway, ADELE).await;
    let ok = |op: &str| format!(r#"sallyport_entra_requests_total{{error="none",op="{op}",outcome="ok"}}"#);
    for op in ["discovery", "keys", "client_credentials", "authorization_code"] {
        assert_eq!(gateway.metric(&ok(op)).await, 1.0, "{op}");
        let took = format!(r#"sallyport_entra_request_duration_seconds_count{{op="{op}"}}"#);
        assert_eq!(gateway.metric(&took).await, 1.0, "{op}");
    }
    let metrics = http_client().get(gateway.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"sallyport_entra_requests_in_flight{op="refresh_token"} 0"#), "{metrics}");
    for age in ["sallyport_entra_keys_age_seconds", "sallyport_entra_credential_age_seconds"] {
        let age = gateway.metric(age).await;
        assert!(age > 0.0 && age < 60.0, "{age}");
    }
}
