//! Managed identity as App Service and Container Apps give it.

use fake_entra::{Fault, Seed};
use serde_json::json;

use crate::support::*;

async fn ask(bench: &Bench, query: &str, header: &str) -> Answer {
    let url = format!("{}?{query}", bench.entra.identity_endpoint());
    Answer::of(bench.http.get(url).header("x-identity-header", header).send().await.unwrap()).await
}

fn query(bench: &Bench) -> String {
    format!("api-version=2019-08-01&resource={EXCHANGE}&client_id={}", bench.entra.gateway_identity())
}

#[tokio::test]
async fn the_answer_is_app_services_and_the_token_proves_the_gateway() {
    let bench = bench().await;
    let answer = ask(&bench, &query(&bench), bench.entra.identity_header()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    let token = body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(body["expires_on"], json!(claims(&token)["exp"].to_string()));
    assert_eq!(
        masked(body, &["access_token", "expires_on"]),
        json!({
            "access_token": "*", "client_id": bench.entra.gateway_identity(), "expires_on": "*", "resource": EXCHANGE,
            "token_type": "Bearer",
        })
    );
    let code = bench.code(ADELE).await;
    assert_eq!(bench.redeem(&code, &[("client_assertion", &token)]).await.status, 200);
    assert_eq!(bench.entra.counters().imds, 2, "both forms count as managed identity");
}

#[tokio::test]
async fn requests_that_are_refused_in_its_shape() {
    let bench = bench().await;
    let (good, header) = (query(&bench), bench.entra.identity_header().to_owned());
    for (query, header, status, message) in [
        (good.as_str(), "guessed", 403, "The X-IDENTITY-HEADER is missing or wrong."),
        (&good.replace("api-version=2019-08-01&", ""), &header, 400, "The api-version is missing."),
        (&good.replace("2019-08-01", "2017-09-01"), &header, 400, "The api-version is not supported."),
        (&good.replace("resource=", "source="), &header, 400, "The resource is missing."),
        ("api-version=2019-08-01&resource=x&client_id=nobody", &header, 400, "Identity not found"),
    ] {
        let refusal = ask(&bench, query, header).await;
        assert_eq!(refusal.status, status, "{}", refusal.body);
        assert_eq!(
            masked(refusal.json(), &["correlationId"]),
            json!({"statusCode": status, "message": message, "correlationId": "*"})
        );
    }
}

#[tokio::test]
async fn the_machines_own_identity_needs_no_name() {
    let mut seed = Seed::default();
    seed.identities[1].system_assigned = true;
    let own = seed.identities[1].client_id.clone();
    let bench = bench_with(seed).await;
    let anonymous = format!("api-version=2019-08-01&resource={EXCHANGE}");
    let answer = ask(&bench, &anonymous, bench.entra.identity_header()).await;
    assert_eq!(answer.json()["client_id"], json!(own));
    let named = format!("{anonymous}&mi_res_id={}", Seed::default().identities[0].resource_id);
    let answer = ask(&bench, &named, bench.entra.identity_header()).await;
    assert_eq!(answer.json()["client_id"], json!(bench.entra.gateway_identity()));
}

#[tokio::test]
async fn outages_have_its_shape() {
    let bench = bench().await;
    bench.entra.fault(Fault { status: Some(503), retry_after: Some("1".into()), ..Fault::on("/msi/token") });
    let answer = ask(&bench, &query(&bench), bench.entra.identity_header()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.json()["statusCode"], json!(503));
}
