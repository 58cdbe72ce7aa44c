use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fake_entra::Fault;
use serde_json::{Value, json};

use crate::support::{ADELE, ALEX, ASSERTION_TYPE, Answer, Bench, bench, changed, masked};

async fn graph_token(bench: &Bench, changes: &[(&str, &str)]) -> String {
    let inbound = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    bench.on_behalf_of(&inbound, changes).await.json()["access_token"].as_str().unwrap().to_owned()
}

/// Code and message of an error of Graph, which must be complete.
fn error(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let inner = &body["error"]["innerError"];
    assert_eq!(inner["request-id"], json!(answer.header("request-id")));
    assert!(inner["client-request-id"].is_string());
    assert_eq!(inner["date"].as_str().unwrap().len(), "2026-11-23T10:00:00".len());
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (answer.status, text("code"), text("message"))
}

#[tokio::test]
async fn the_profile_has_eleven_properties() {
    let bench = bench().await;
    let token = graph_token(&bench, &[]).await;
    let answer = bench.graph("/v1.0/me", &token).await;
    assert_eq!(
        answer.json(),
        json!({
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users/$entity", "businessPhones": [],
            "displayName": "Adele Vance", "givenName": "Adele", "jobTitle": "Retail Manager", "mail": ADELE,
            "mobilePhone": null, "officeLocation": null, "preferredLanguage": null, "surname": "Vance",
            "userPrincipalName": ADELE, "id": "5d0c7e91-64fa-4b38-93e2-8b1f4c6a20a1",
        })
    );
    for name in ["request-id", "client-request-id", "x-ms-ags-diagnostic", "date"] {
        assert!(answer.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn select_takes_what_exists() {
    let bench = bench().await;
    let token = graph_token(&bench, &[]).await;
    let answer = bench.graph("/v1.0/me?$select=displayName,id", &token).await;
    assert_eq!(
        masked(answer.json(), &["id"]),
        json!({
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users(displayName,id)/$entity",
            "displayName": "Adele Vance", "id": "*",
        })
    );
    let wrong = bench.graph("/v1.0/me?$select=shoeSize", &token).await;
    assert_eq!(error(&wrong).0, 400);
}

#[tokio::test]
async fn tokens_that_will_not_do() {
    let bench = bench().await;
    let anonymous = bench.get(&format!("{}/v1.0/me", bench.entra.graph_url())).await;
    assert_eq!(error(&anonymous), (401, "InvalidAuthenticationToken".into(), "Access token is empty.".into()));
    assert!(anonymous.header("www-authenticate").starts_with("Bearer realm=\"\""));

    let own = bench.tokens(ADELE).await["access_token"].as_str().unwrap().to_owned();
    for token in ["garbage", own.as_str()] {
        let answer = bench.graph("/v1.0/me", token).await;
        assert_eq!((answer.status, error(&answer).1.as_str()), (401, "InvalidAuthenticationToken"));
    }

    let token = graph_token(&bench, &[]).await;
    let (message, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = bench.graph("/v1.0/me", &format!("{message}.{flipped}{}", &signature[1..])).await;
    assert_eq!(forged.status, 401);

    bench.entra.set_clock_offset(5400 + 301);
    let (status, _, message) = error(&bench.graph("/v1.0/me", &token).await);
    assert_eq!((status, message.as_str()), (401, "Lifetime validation failed, the token is expired."));
}

#[tokio::test]
async fn scopes_and_other_people() {
    let bench = bench().await;
    let token = graph_token(&bench, &[]).await;
    assert_eq!(bench.graph(&format!("/v1.0/users/{ADELE}"), &token).await.status, 200);
    let other = error(&bench.graph(&format!("/v1.0/users/{ALEX}"), &token).await);
    let denied = "Insufficient privileges to complete the operation.";
    assert_eq!(other, (403, "Authorization_RequestDenied".into(), denied.into()));
    let (status, code, _) = error(&bench.graph("/v1.0/$metadata", &token).await);
    assert_eq!((status, code.as_str()), (404, "Request_ResourceNotFound"));
    assert_eq!(bench.graph("/oidc/userinfo", &token).await.json()["name"], json!("Adele Vance"));

    // A token without User.Read: only OpenID scopes were asked for.
    let bare =
        bench.refresh(bench.tokens(ADELE).await["refresh_token"].as_str().unwrap(), &[("scope", "openid")]).await;
    let bare = bare.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(error(&bench.graph("/v1.0/me", &bare).await).0, 403);
}

#[tokio::test]
async fn app_only_callers_have_no_me() {
    let bench = bench().await;
    let own = bench.imds(bench.entra.gateway_identity()).await;
    let form = changed(
        &[("client_id", bench.entra.gateway_client_id()), ("grant_type", "client_credentials")],
        &[
            ("scope", "https://graph.microsoft.com/.default"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &own),
        ],
    );
    let token = bench.token(&form).await.json()["access_token"].as_str().unwrap().to_owned();
    let (status, code, message) = error(&bench.graph("/v1.0/me", &token).await);
    assert_eq!((status, code.as_str()), (400, "BadRequest"));
    assert!(message.contains("delegated authentication flow"));
}

#[tokio::test]
async fn revocation_challenges_capable_clients_and_refuses_the_rest() {
    let bench = bench().await;
    let cp1 = json!({"access_token": {"xms_cc": {"values": ["cp1"]}}}).to_string();
    let capable = graph_token(&bench, &[("claims", &cp1)]).await;
    let plain = graph_token(&bench, &[]).await;
    bench.order(&format!("/users/{ADELE}/revoke"), json!(null)).await;

    let challenged = bench.graph("/v1.0/me", &capable).await;
    assert_eq!(error(&challenged).1, "InvalidAuthenticationToken");
    let header = challenged.header("www-authenticate");
    assert!(header.contains("error=\"insufficient_claims\""));
    let claims = header.split("claims=\"").nth(1).unwrap().split('"').next().unwrap();
    let claims: Value = serde_json::from_slice(&STANDARD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["access_token"]["nbf"]["essential"], json!(true));

    let refused = bench.graph("/v1.0/me", &plain).await;
    assert_eq!(refused.status, 401);
    assert!(!refused.header("www-authenticate").contains("claims"));

    let fresh = graph_token(&bench, &[]).await;
    assert_eq!(bench.graph("/v1.0/me", &fresh).await.status, 200, "a new sign-in works");
}

#[tokio::test]
async fn throttling_with_decimal_and_missing_retry_after() {
    let bench = bench().await;
    let token = graph_token(&bench, &[]).await;
    bench.entra.fault(Fault { status: Some(429), retry_after: Some("2.128".into()), ..Fault::on("/graph/") });
    let answer = bench.graph("/v1.0/me", &token).await;
    assert_eq!(answer.header("retry-after"), "2.128");
    assert_eq!(error(&answer), (429, "TooManyRequests".into(), "Please retry again later.".into()));
    let inner = &answer.json()["error"]["innerError"];
    assert_eq!((&inner["code"], &inner["status"]), (&json!("429"), &json!("429")));

    for (status, code) in [(503, "ServiceUnavailable"), (504, "GatewayTimeout"), (403, "Authorization_RequestDenied")] {
        bench.entra.fault(Fault { status: Some(status), ..Fault::on("/graph/") });
        let answer = bench.graph("/v1.0/me", &token).await;
        assert_eq!((answer.status, error(&answer).1.as_str()), (status, code));
        assert!(answer.headers.get("retry-after").is_none());
    }
    let id = "7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d";
    let url = format!("{}/v1.0/me", bench.entra.graph_url());
    let echoed = bench.http.get(url).bearer_auth(&token).header("client-request-id", id).send().await.unwrap();
    assert_eq!(Answer::of(echoed).await.header("client-request-id"), id);
}
