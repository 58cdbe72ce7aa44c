use fake_entra::Fault;
use serde_json::json;

use crate::support::{Answer, Bench, EXCHANGE, bench, claims, masked};

const PATH: &str = "/metadata/identity/oauth2/token";

async fn ask(bench: &Bench, path: &str, query: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = bench.http.get(format!("{}{path}?{query}", bench.entra.imds_url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

fn query(bench: &Bench) -> String {
    format!("api-version=2018-02-01&resource={EXCHANGE}&client_id={}", bench.entra.gateway_identity())
}

#[tokio::test]
async fn the_answer_is_all_strings() {
    let bench = bench().await;
    let answer = ask(&bench, PATH, &query(&bench), &[("Metadata", "true")]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("server").starts_with("IMDS/"));
    let body = answer.json();
    assert!(body.as_object().unwrap().values().all(serde_json::Value::is_string), "{body}");
    assert_eq!(
        masked(body.clone(), &["access_token", "expires_on", "not_before"]),
        json!({
            "access_token": "*", "client_id": bench.entra.gateway_identity(), "expires_in": "86399", "expires_on": "*",
            "ext_expires_in": "86399", "not_before": "*", "resource": EXCHANGE, "token_type": "Bearer",
        })
    );
    let payload = claims(body["access_token"].as_str().unwrap());
    let principal = "6e1d8fa2-750b-4c49-a4f3-9c205d7b3101";
    assert_eq!(
        masked(payload, &["iat", "nbf", "exp", "aio", "rh", "uti", "xms_mirid"]),
        json!({
            "aud": "fb60f99c-7a34-4190-8149-302f77469936", "iss": bench.url("/v2.0"), "azpacr": "2", "idtyp": "app",
            "azp": bench.entra.gateway_identity(), "oid": principal, "sub": principal, "tid": bench.entra.tenant_id(),
            "ver": "2.0", "emu": true, "iat": "*", "nbf": "*", "exp": "*", "aio": "*", "rh": "*", "uti": "*",
            "xms_mirid": "*",
        })
    );
}

#[tokio::test]
async fn requests_that_are_refused() {
    let bench = bench().await;
    let full = query(&bench);
    let metadata = ("Metadata", "true");
    let id = bench.entra.gateway_identity();
    let cases = [
        (full.clone(), vec![], "Required metadata header not specified"),
        (full.clone(), vec![("Metadata", "yes")], "Required metadata header not specified"),
        (full, vec![metadata, ("X-Forwarded-For", "203.0.113.9")], "X-Forwarded-For"),
        (format!("resource={EXCHANGE}&client_id={id}"), vec![metadata], "'api-version' is missing"),
        (format!("api-version=2017-12-01&resource={EXCHANGE}&client_id={id}"), vec![metadata], "not supported"),
        (format!("api-version=latest&resource={EXCHANGE}&client_id={id}"), vec![metadata], "not supported"),
        (format!("api-version=2018-02-01&client_id={id}"), vec![metadata], "'resource' is missing"),
        (
            format!("api-version=2018-02-01&resource={EXCHANGE}"),
            vec![metadata],
            "Multiple user assigned identities exist",
        ),
        (format!("api-version=2018-02-01&resource={EXCHANGE}&client_id=x"), vec![metadata], "Identity not found"),
    ];
    for (query, headers, text) in cases {
        let answer = ask(&bench, PATH, &query, &headers).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["error"], json!("invalid_request"));
        assert!(answer.json()["error_description"].as_str().unwrap().contains(text), "{text}: {}", answer.body);
    }
}

#[tokio::test]
async fn an_identity_may_be_named_in_three_ways() {
    let bench = bench().await;
    let seed = fake_entra::Seed::default();
    let identity = &seed.identities[1];
    for (name, value) in [
        ("client_id", &identity.client_id),
        ("object_id", &identity.principal_id),
        ("msi_res_id", &identity.resource_id),
    ] {
        let query = format!("api-version=2019-08-01&resource={EXCHANGE}&{name}={value}");
        // Both spellings a picky client may choose.
        let answer = ask(&bench, "/MetaData/identity/oauth2/token", &query, &[("metadata", "TRUE")]).await;
        assert_eq!(answer.json()["client_id"], json!(identity.client_id), "{name}");
    }
}

#[tokio::test]
async fn outages_by_script() {
    let bench = bench().await;
    for status in [404, 410, 429, 500] {
        bench.entra.fault(Fault { status: Some(status), retry_after: Some("1".into()), ..Fault::on("/metadata/") });
        let answer = ask(&bench, PATH, &query(&bench), &[("Metadata", "true")]).await;
        assert_eq!(answer.status, status);
        assert!(answer.json()["error_description"].is_string());
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(ask(&bench, PATH, &query(&bench), &[("Metadata", "true")]).await.status, 200);
    assert_eq!(bench.entra.counters().imds, 5);
}

#[tokio::test]
async fn the_second_version_does_not_exist() {
    let bench = bench().await;
    for path in ["/metadata/identity/getplatformmetadata", "/metadata/identity/issuecredential"] {
        assert_eq!(ask(&bench, path, "cred-api-version=2.0", &[]).await.status, 404);
    }
    assert_eq!(ask(&bench, "/other/identity/oauth2/token", &query(&bench), &[("Metadata", "true")]).await.status, 404);
}
