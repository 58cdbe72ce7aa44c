//! TLS by an authority of its own.

use fake_entra::Options;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::support::*;

#[tokio::test]
async fn every_url_is_https_and_a_sign_in_works() {
    let bench = bench_of(Options { tls: true, ..Options::default() }).await;
    let base = bench.entra.authority();
    assert!(base.starts_with("https://127.0.0.1:"), "{base}");
    let document = bench.get(&bench.url("/v2.0/.well-known/openid-configuration")).await.json();
    assert_eq!(document["issuer"], json!(format!("{base}/{}/v2.0", bench.entra.tenant_id())));
    let tokens = bench.tokens(ADELE).await;
    assert_eq!(claims(tokens["access_token"].as_str().unwrap())["iss"], document["issuer"]);
}

#[tokio::test]
async fn nobody_is_asked_to_trust_it_without_its_certificate() {
    let bench = bench_of(Options { tls: true, ..Options::default() }).await;
    let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
    let refusal = stranger.get(bench.entra.authority()).send().await.unwrap_err();
    assert!(refusal.is_connect(), "{refusal:?}");
    assert!(bench_of(Options::default()).await.entra.authority_certificate().is_none());
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_holds_up_nobody() {
    let bench = bench_of(Options { tls: true, ..Options::default() }).await;
    let address = bench.entra.authority().replace("https://", "");
    let mut silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    assert_eq!(bench.get(&bench.url("/discovery/v2.0/keys")).await.status, 200);
    let mut byte = [0];
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), silent.read(&mut byte)).await;
    assert!(waiting.is_err(), "the silent connection was answered or closed");
}

#[tokio::test]
async fn connections_over_tls_break_on_request() {
    let bench = bench_of(Options { tls: true, ..Options::default() }).await;
    bench.entra.fault(fake_entra::Fault { drop_connection: true, ..fake_entra::Fault::on("/keys") });
    assert!(bench.http.get(bench.url("/discovery/v2.0/keys")).send().await.is_err());
    assert_eq!(bench.get(&bench.url("/discovery/v2.0/keys")).await.status, 200);
}
