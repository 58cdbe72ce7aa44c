use std::time::{Duration, Instant};

use fake_entra::{Fault, Match};
use serde_json::json;

use crate::support::{ADELE, ALEX, Answer, bench, claims, jose_header};

#[tokio::test]
async fn the_control_port_wants_its_token() {
    let bench = bench().await;
    for path in ["journal", "counters", "policies"] {
        let url = format!("{}/_emu/{path}", bench.entra.control_url());
        assert_eq!(bench.get(&url).await.status, 401);
        let wrong = bench.http.get(&url).bearer_auth("wrong").send().await.unwrap();
        assert_eq!(wrong.status(), 401);
        assert_eq!(bench.control("GET", &format!("/{path}"), json!(null)).await.status, 200);
        // Not on the public port.
        assert_eq!(bench.get(&format!("{}/_emu/{path}", bench.entra.authority())).await.status, 404);
    }
    assert_ne!(bench.entra.control_url(), bench.entra.authority());
}

#[tokio::test]
async fn the_journal_tells_what_was_sent_without_the_secrets() {
    let bench = bench().await;
    let tokens = bench.tokens(ADELE).await;
    bench.refresh(tokens["refresh_token"].as_str().unwrap(), &[]).await;
    bench.on_behalf_of(tokens["access_token"].as_str().unwrap(), &[]).await;
    bench.graph("/v1.0/me", tokens["access_token"].as_str().unwrap()).await;

    let journal = bench.entra.journal();
    let token_call = journal.iter().find(|entry| entry.path.ends_with("/token") && entry.method == "POST").unwrap();
    assert_eq!(token_call.grant_type.as_deref(), Some("authorization_code"));
    assert_eq!(token_call.client_id.as_deref(), Some(bench.entra.gateway_client_id()));
    assert!(token_call.client_assertion && !token_call.client_secret && !token_call.resource && !token_call.origin);
    assert_eq!((token_call.status, token_call.outcome.as_str()), (200, "tokens issued"));
    let names: Vec<&str> = token_call.parameters.iter().map(String::as_str).collect();
    let expected = [
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "code",
        "code_verifier",
        "grant_type",
        "redirect_uri",
        "scope",
    ];
    assert_eq!(names, expected);
    assert_eq!(token_call.digests["code"].len(), 12);

    let outside = bench.control("GET", "/journal", json!(null)).await;
    let counters = bench.control("GET", "/counters", json!(null)).await;
    assert_eq!(outside.json().as_array().unwrap().len(), journal.len());
    let canaries = bench.entra.canaries();
    // Code, three assertions shown and fetched, and the tokens of code, refresh and exchange.
    assert!(canaries.len() >= 10, "{}", canaries.len());
    for name in ["access_token", "refresh_token", "id_token"] {
        assert!(canaries.iter().any(|canary| canary == tokens[name].as_str().unwrap()), "{name}");
    }
    for canary in &canaries {
        assert!(!outside.body.contains(canary) && !counters.body.contains(canary));
    }
    assert!(!outside.body.contains(crate::support::VERIFIER));

    let last = journal.last().unwrap().sequence;
    let since = bench.control("GET", &format!("/journal?since={}", last - 1), json!(null)).await;
    assert_eq!(since.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn misplaced_secrets_do_not_reach_the_journal() {
    let bench = bench().await;
    let secret = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    bench.token(&vec![("grant_type".into(), secret.clone()), ("client_id".into(), secret.clone())]).await;
    bench.token(&vec![(secret.clone(), "x".into())]).await;
    let journal = bench.control("GET", "/journal", json!(null)).await;
    assert!(!journal.body.contains(&secret[..40]));
}

#[tokio::test]
async fn counters_count_by_grant() {
    let bench = bench().await;
    let tokens = bench.tokens(ADELE).await;
    bench.refresh(tokens["refresh_token"].as_str().unwrap(), &[]).await;
    bench.get(&bench.url("/discovery/v2.0/keys")).await;
    bench.get(&bench.url("/v2.0/.well-known/openid-configuration")).await;
    let counters = bench.entra.counters();
    assert_eq!(counters.token["authorization_code"], 1);
    assert_eq!(counters.token["refresh_token"], 1);
    assert_eq!(counters.token_calls(), 2);
    assert_eq!((counters.authorize, counters.keys, counters.discovery, counters.imds), (1, 1, 1, 2));
    assert_eq!((counters.graph, counters.faults), (0, 0));
}

#[tokio::test]
async fn keys_roll_step_by_step() {
    let bench = bench().await;
    let kids = async || {
        let keys = bench.get(&bench.url("/discovery/v2.0/keys")).await.json();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let signing = async || {
        let token = bench.imds(bench.entra.gateway_identity()).await;
        jose_header(&token)["kid"].as_str().unwrap().to_owned()
    };
    let first = signing().await;
    let step = async |mode: &str| bench.order("/keys/rotate", json!({"mode": mode})).await;

    step("publish").await;
    assert_eq!((kids().await.len(), signing().await), (3, first.clone()));
    step("activate").await;
    let second = signing().await;
    assert!(second != first && kids().await.contains(&first));
    step("retire").await;
    assert_eq!(kids().await, std::slice::from_ref(&second));
    step("emergency").await;
    let third = signing().await;
    assert!(third != second && kids().await == [third]);
}

#[tokio::test]
async fn the_clock_moves_everything() {
    let bench = bench().await;
    bench.order("/clock", json!({"offset_s": 86_400})).await;
    let issued = claims(&bench.imds(bench.entra.gateway_identity()).await)["iat"].as_i64().unwrap();
    let now = bench.control("GET", "/clock", json!(null)).await.json();
    assert_eq!(now["offset_s"], json!(86_400));
    let real = now["real_ms"].as_i64().unwrap() / 1000;
    assert!((86_395..86_405).contains(&(issued - real)), "{issued} {real}");
}

#[tokio::test]
async fn reset_forgets_everything_but_keys() {
    let bench = bench().await;
    let before = bench.get(&bench.url("/discovery/v2.0/keys")).await.json();
    let tokens = bench.tokens(ADELE).await;
    bench.order(&format!("/users/{ADELE}/disable"), json!(null)).await;
    bench.order("/faults", json!({"status": 500})).await;
    bench.order("/clock", json!({"offset_s": 50})).await;
    bench.order("/next-login", json!({"upn": ADELE})).await;
    bench.order("/reset", json!(null)).await;
    assert!(bench.entra.journal().is_empty());
    assert_eq!(bench.entra.counters(), fake_entra::Counters::default());
    assert_eq!(bench.authorize(&[]).await.status, 200, "no fault, no queued sign-in");
    assert_eq!(bench.refresh(tokens["refresh_token"].as_str().unwrap(), &[]).await.error().1, 70000);
    assert_eq!(bench.get(&bench.url("/discovery/v2.0/keys")).await.json(), before);
    bench.tokens(ADELE).await;
}

#[tokio::test]
async fn faults_hit_whom_they_are_meant_for() {
    let bench = bench().await;
    let adele = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    let alex = bench.tokens(ALEX).await["refresh_token"].as_str().unwrap().to_owned();
    let matching = Match { grant: Some("refresh_token".into()), user: Some(ADELE.into()), ..Match::default() };
    bench.entra.fault(Fault { matching, aadsts: Some(70043), ..Fault::default() });
    assert_eq!(bench.refresh(&alex, &[]).await.status, 200);
    assert_eq!(bench.refresh(&adele, &[]).await.error(), ("invalid_grant".into(), 70043));
    assert_eq!(bench.refresh(&adele, &[]).await.status, 200, "once only");
    assert_eq!(bench.entra.counters().faults, 1);
    assert!(bench.entra.journal().iter().any(|entry| entry.outcome == "fault: invalid_grant AADSTS70043"));

    let client = json!({"match": {"client": bench.entra.gateway_client_id(), "path": "/v2.0/token"}, "aadsts": 700213, "times": 2});
    bench.order("/faults", client).await;
    for _ in 0..2 {
        assert_eq!(bench.refresh(&adele, &[]).await.error(), ("invalid_client".into(), 700213));
    }
    assert_eq!(bench.refresh(&adele, &[]).await.status, 200);
    assert_eq!(bench.control("POST", "/faults", json!({"tims": 2})).await.status, 422, "typing errors are told");
}

#[tokio::test]
async fn faults_of_the_token_endpoint() {
    let bench = bench().await;
    let token = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    let arm = |fault: Fault| bench.entra.fault(Fault { matching: Fault::on("/oauth2/v2.0/token").matching, ..fault });

    arm(Fault { status: Some(429), retry_after: Some("3".into()), ..Fault::default() });
    let busy = bench.refresh(&token, &[]).await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, "3"));
    assert_eq!(busy.json()["error_codes"], json!([90055]));

    arm(Fault { status: Some(503), html: true, ..Fault::default() });
    let down = bench.refresh(&token, &[]).await;
    assert_eq!(down.status, 503);
    assert!(down.header("content-type").starts_with("text/html"));

    let headers = [("location".to_owned(), "https://evil.example/".to_owned())].into();
    arm(Fault { status: Some(302), headers, ..Fault::default() });
    let moved = bench.refresh(&token, &[]).await;
    assert_eq!((moved.status, moved.header("location")), (302, "https://evil.example/"));

    arm(Fault { body: Some(json!({"error": "strange"})), status: Some(400), ..Fault::default() });
    assert_eq!(bench.refresh(&token, &[]).await.json(), json!({"error": "strange"}));

    arm(Fault { delay_ms: 300, ..Fault::default() });
    let begun = Instant::now();
    assert_eq!(bench.refresh(&token, &[]).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn connections_break_on_request() {
    let bench = bench().await;
    let token = bench.tokens(ADELE).await["refresh_token"].as_str().unwrap().to_owned();
    let form = bench.redeem_form("x", &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
    let send = || bench.http.post(bench.url("/oauth2/v2.0/token")).form(&form).send();

    bench.entra.fault(Fault { drop_connection: true, ..Fault::on("/oauth2/v2.0/token") });
    assert!(send().await.is_err(), "no answer at all");

    bench.entra.fault(Fault { truncate_body: true, ..Fault::on("/oauth2/v2.0/token") });
    let half = send().await.unwrap();
    assert_eq!(half.status(), 200);
    assert!(half.text().await.is_err(), "less than promised");
    let issued = bench.entra.journal().iter().filter(|entry| entry.outcome == "tokens issued").count();
    assert_eq!(issued, 2, "the sign-in and the answer that was cut");

    assert_eq!(Answer::of(send().await.unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_slow_fault_holds_up_nobody_else() {
    let bench = bench().await;
    bench.entra.fault(Fault { delay_ms: 1_000, ..Fault::on("/v2.0/keys") });
    let (keys, document) = (bench.url("/discovery/v2.0/keys"), bench.url("/v2.0/.well-known/openid-configuration"));
    let begun = Instant::now();
    let (slow, quick) = tokio::join!(bench.get(&keys), async { (bench.get(&document).await.status, begun.elapsed()) });
    assert_eq!((slow.status, quick.0), (200, 200));
    assert!(begun.elapsed() >= Duration::from_millis(1_000) && quick.1 < Duration::from_millis(900));
}

#[tokio::test]
async fn it_listens_on_loopback_and_stops_when_dropped() {
    let bench = bench().await;
    let address = bench.entra.authority().strip_prefix("http://").unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"));
    drop(bench.entra);
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(&address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still listening");
}
