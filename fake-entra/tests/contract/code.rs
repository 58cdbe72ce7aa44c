use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fake_entra::Seed;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{
    ADELE, CALLBACK, GRAPH_SCOPE, SINGLE, VERIFIER, bench, bench_with, changed, claims, jose_header, masked,
};

#[tokio::test]
async fn tokens_of_a_sign_in() {
    let bench = bench().await;
    let code = bench.code(ADELE).await;
    let answer = bench.redeem(&code, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store, no-cache");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert!(answer.headers.contains_key("x-ms-request-id"));
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);

    let body = answer.json();
    let lifetime = body["expires_in"].as_i64().unwrap();
    assert!((3600..5400).contains(&lifetime), "{lifetime}");
    assert_eq!(
        masked(body.clone(), &["access_token", "refresh_token", "id_token"]),
        json!({
            "token_type": "Bearer", "scope": bench.entra.scope(), "expires_in": lifetime, "ext_expires_in": lifetime,
            "access_token": "*", "refresh_token": "*", "id_token": "*",
        })
    );

    let (m, g) = (bench.entra.server_client_id(), bench.entra.gateway_client_id());
    let access = body["access_token"].as_str().unwrap();
    let header = jose_header(access);
    assert_eq!(masked(header, &["kid"]), json!({"typ": "JWT", "alg": "RS256", "kid": "*"}));
    let payload = claims(access);
    assert_eq!(payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap(), lifetime);
    assert_eq!(
        masked(payload, &["iat", "nbf", "exp", "aio", "rh", "uti", "sid", "sub"]),
        json!({
            "aud": m, "iss": bench.url("/v2.0"), "azp": g, "azpacr": "2", "name": "Adele Vance",
            "oid": "5d0c7e91-64fa-4b38-93e2-8b1f4c6a20a1", "preferred_username": ADELE, "scp": "access_as_user",
            "tid": bench.entra.tenant_id(), "ver": "2.0", "emu": true, "iat": "*", "nbf": "*", "exp": "*",
            "aio": "*", "rh": "*", "uti": "*", "sid": "*", "sub": "*",
        })
    );

    let id = claims(body["id_token"].as_str().unwrap());
    assert_eq!(
        masked(id.clone(), &["iat", "nbf", "exp", "aio", "rh", "uti", "sid", "sub"]),
        json!({
            "aud": g, "iss": bench.url("/v2.0"), "name": "Adele Vance", "nonce": "n-1",
            "oid": "5d0c7e91-64fa-4b38-93e2-8b1f4c6a20a1", "preferred_username": ADELE, "tid": bench.entra.tenant_id(),
            "ver": "2.0", "emu": true, "iat": "*", "nbf": "*", "exp": "*", "aio": "*", "rh": "*", "uti": "*",
            "sid": "*", "sub": "*",
        })
    );
    assert_ne!(id["sub"], claims(access)["sub"], "pairwise");
}

#[tokio::test]
async fn signatures_are_by_published_keys() {
    let bench = bench().await;
    let tokens = bench.tokens(ADELE).await;
    let keys = bench.get(&bench.url("/discovery/v2.0/keys")).await.json();
    for name in ["access_token", "id_token"] {
        let token = tokens[name].as_str().unwrap();
        let kid = &jose_header(token)["kid"];
        let key = keys["keys"].as_array().unwrap().iter().find(|key| &key["kid"] == kid).unwrap();
        let key =
            jsonwebtoken::DecodingKey::from_rsa_components(key["n"].as_str().unwrap(), key["e"].as_str().unwrap());
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        validation.validate_aud = false;
        jsonwebtoken::decode::<serde_json::Value>(token, &key.unwrap(), &validation).unwrap();
    }
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_issued() {
    let bench = bench().await;
    let scope = bench.entra.scope();
    let page = bench.authorize(&[("scope", &scope), ("nonce", "")]).await;
    let code = bench.click(&page, ("user", ADELE)).await.redirect()["code"].clone();
    let tokens = bench.redeem(&code, &[("scope", &scope)]).await.json();
    assert!(tokens.get("refresh_token").is_none() && tokens.get("id_token").is_none(), "{tokens}");
}

#[tokio::test]
async fn a_code_is_good_once_for_ten_minutes() {
    let bench = bench().await;
    let code = bench.code(ADELE).await;
    assert_eq!(bench.redeem(&code, &[]).await.status, 200);
    let replay = bench.redeem(&code, &[]).await;
    assert_eq!(replay.error(), ("invalid_grant".into(), 54005));
    assert!(replay.body.contains("OAuth2 Authorization code was already redeemed"));
    assert_eq!(bench.redeem("1.AXnonsense", &[]).await.error(), ("invalid_grant".into(), 70000));

    let late = bench.code(ADELE).await;
    bench.entra.set_clock_offset(600);
    assert_eq!(bench.redeem(&late, &[]).await.error(), ("invalid_grant".into(), 70008));
}

#[tokio::test]
async fn wrong_calls_do_not_burn_the_code() {
    let bench = bench().await;
    let code = bench.code(ADELE).await;
    let other = "another-verifier-of-forty-three-characters-or-more";
    let two = format!("{} {GRAPH_SCOPE}", bench.entra.scope());
    for (changes, error, number) in [
        (vec![("redirect_uri", "http://localhost:8081/oauth-callback")], "invalid_grant", 50011),
        (vec![("redirect_uri", "")], "invalid_request", 900144),
        (vec![("code_verifier", other)], "invalid_grant", 501481),
        (vec![("code_verifier", "")], "invalid_grant", 501481),
        (vec![("code_verifier", "short")], "invalid_grant", 501481),
        (vec![("scope", "")], "invalid_grant", 28003),
        (vec![("scope", two.as_str())], "invalid_request", 28000),
        (vec![("scope", GRAPH_SCOPE)], "invalid_grant", 65001),
        (vec![("client_assertion", "")], "invalid_client", 7000218),
        (vec![("resource", "http://localhost:8080/mcp")], "invalid_target", 9010010),
        (vec![("grant_type", "")], "invalid_request", 900144),
        (vec![("grant_type", "password")], "unsupported_grant_type", 70003),
        (vec![("client_id", "")], "invalid_request", 900144),
        (vec![("client_id", "00000000-0000-0000-0000-00000000dead")], "unauthorized_client", 700016),
        (vec![("code", "")], "invalid_request", 900144),
        (vec![("client_id", SINGLE)], "invalid_grant", 700005),
    ] {
        let answer = bench.redeem(&code, &changes).await;
        assert_eq!(answer.error(), (error.to_owned(), number), "{changes:?}");
    }
    assert_eq!(bench.redeem(&code, &[]).await.status, 200);
}

#[tokio::test]
async fn error_bodies_are_complete() {
    let bench = bench().await;
    let form = bench.redeem_form("x", &[]).await;
    let id = "7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d";
    let answer = bench.http.post(bench.url("/oauth2/v2.0/token")).form(&form);
    let answer =
        answer.header("client-request-id", id).header("return-client-request-id", "true").send().await.unwrap();
    let answer = crate::support::Answer::of(answer).await;
    let body = answer.json();
    assert_eq!(body["correlation_id"], json!(id));
    assert_eq!(answer.header("client-request-id"), id);
    assert_eq!(answer.header("x-ms-request-id"), body["trace_id"].as_str().unwrap());
    let (trace, stamp) = (body["trace_id"].as_str().unwrap(), body["timestamp"].as_str().unwrap());
    let text = "AADSTS70000: The provided value for the 'code' parameter is not valid.";
    let expected = format!("{text} Trace ID: {trace} Correlation ID: {id} Timestamp: {stamp}");
    assert_eq!(
        masked(body.clone(), &["timestamp", "trace_id", "error_uri"]),
        json!({
            "error": "invalid_grant", "error_description": expected, "error_codes": [70000], "timestamp": "*",
            "trace_id": "*", "correlation_id": id, "error_uri": "*",
        })
    );
    assert_eq!(stamp.len(), "2026-03-11 08:12:45Z".len());

    bench.control("PUT", "/policies", json!({"crlf_errors": true})).await;
    let old = bench.token(&form).await.json();
    assert!(old["error_description"].as_str().unwrap().contains("\r\nTrace ID: "));
}

#[tokio::test]
async fn browsers_and_foreign_shapes_are_refused() {
    let bench = bench().await;
    let code = bench.code(ADELE).await;
    let form = bench.redeem_form(&code, &[]).await;
    let url = bench.url("/oauth2/v2.0/token");
    let sent = bench.http.post(&url).header("origin", "http://localhost:8080").form(&form).send().await.unwrap();
    assert_eq!(crate::support::Answer::of(sent).await.error(), ("invalid_request".into(), 9002326));

    let json_body = bench.http.post(&url).json(&json!({"grant_type": "authorization_code"})).send().await.unwrap();
    assert_eq!(crate::support::Answer::of(json_body).await.error(), ("invalid_request".into(), 900144));

    let mut twice = form.clone();
    twice.push(("code".into(), "x".into()));
    assert_eq!(bench.token(&twice).await.error(), ("invalid_request".into(), 9000411));

    for (tenant, number) in [("common", 50194), ("fabrikam.example", 90002)] {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", bench.entra.authority());
        let sent = bench.http.post(url).form(&form).send().await.unwrap();
        assert_eq!(crate::support::Answer::of(sent).await.error().1, number);
    }
    assert_eq!(bench.get(&url).await.status, 405);
    assert_eq!(bench.token(&form).await.status, 200, "none of this burnt the code");
}

#[tokio::test]
async fn pkce_is_optional_plain_and_strict_by_switch() {
    let bench = bench().await;
    let sign_in = async |changes: &[(&str, &str)]| {
        let page = bench.authorize(changes).await;
        bench.click(&page, ("user", ADELE)).await.redirect()["code"].clone()
    };
    let none = sign_in(&[("code_challenge", ""), ("code_challenge_method", "")]).await;
    assert_eq!(bench.redeem(&none, &[("code_verifier", "")]).await.status, 200);
    let plain = sign_in(&[("code_challenge", VERIFIER), ("code_challenge_method", "")]).await;
    assert_eq!(bench.redeem(&plain, &[]).await.status, 200);

    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest("short"));
    bench.control("PUT", "/policies", json!({"strict_pkce": false})).await;
    let code = sign_in(&[("code_challenge", &challenge)]).await;
    let answer = bench.redeem(&code, &[("code_verifier", "short")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn version_1_tokens_of_the_single_app() {
    let bench = bench().await;
    let scope = format!("{SINGLE}/.default openid profile offline_access");
    let page = bench.authorize(&[("client_id", SINGLE), ("scope", &scope)]).await;
    let code = bench.click(&page, ("user", ADELE)).await.redirect()["code"].clone();
    let tokens = bench.redeem(&code, &[("client_id", SINGLE), ("scope", &scope)]).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    let header = jose_header(access);
    assert_eq!(header["x5t"], header["kid"]);
    let payload = claims(access);
    assert_eq!(
        masked(payload, &["iat", "nbf", "exp", "aio", "rh", "uti", "sid", "sub"]),
        json!({
            "aud": SINGLE, "iss": bench.url("/"), "acr": "1", "amr": ["pwd"], "appid": SINGLE, "appidacr": "2",
            "family_name": "Vance", "given_name": "Adele", "ipaddr": "203.0.113.5", "name": "Adele Vance",
            "oid": "5d0c7e91-64fa-4b38-93e2-8b1f4c6a20a1", "unique_name": ADELE, "upn": ADELE,
            "tid": bench.entra.tenant_id(), "ver": "1.0", "emu": true, "iat": "*", "nbf": "*", "exp": "*",
            "aio": "*", "rh": "*", "uti": "*", "sid": "*", "sub": "*",
        })
    );
}

#[tokio::test]
async fn capable_clients_get_long_tokens_that_say_so() {
    let bench = bench().await;
    let cp1 = json!({"access_token": {"xms_cc": {"values": ["cp1"]}}}).to_string();
    let page = bench.authorize(&[("claims", &cp1)]).await;
    let code = bench.click(&page, ("user", ADELE)).await.redirect()["code"].clone();
    let tokens = bench.redeem(&code, &[]).await.json();
    assert_eq!(tokens["expires_in"], json!(86_400));
    assert_eq!(claims(tokens["access_token"].as_str().unwrap())["xms_cc"], json!(["cp1"]));
    let plain = bench.tokens(ADELE).await;
    assert!(claims(plain["access_token"].as_str().unwrap()).get("xms_cc").is_none());
}

#[tokio::test]
async fn policies_fix_lifetime_and_code_length() {
    let mut seed = Seed::default();
    seed.policies.expires_in = Some(90);
    seed.policies.short_codes = true;
    let bench = bench_with(seed).await;
    let code = bench.code(ADELE).await;
    assert!(code.len() < 80, "{}", code.len());
    assert_eq!(bench.redeem(&code, &[]).await.json()["expires_in"], json!(90));
}

#[tokio::test]
async fn the_same_random_seed_gives_the_same_lifetimes() {
    let (one, two) = (bench().await, bench().await);
    assert_eq!(one.tokens(ADELE).await["expires_in"], two.tokens(ADELE).await["expires_in"]);
}

#[tokio::test]
async fn one_of_two_simultaneous_redemptions_wins() {
    let bench = bench().await;
    let code = bench.code(ADELE).await;
    let form = bench.redeem_form(&code, &[]).await;
    let (one, two) = tokio::join!(bench.token(&form), bench.token(&form));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[tokio::test]
async fn a_disabled_user_gets_nothing_for_a_good_code() {
    let bench = bench().await;
    let code = bench.code(ADELE).await;
    bench.order(&format!("/users/{ADELE}/disable"), json!(null)).await;
    assert_eq!(bench.redeem(&code, &[]).await.error(), ("invalid_grant".into(), 50057));
}

#[test]
fn forms_change_by_name() {
    let form = changed(&[("a", "1"), ("b", "2")], &[("a", ""), ("b", "3"), ("c", CALLBACK)]);
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b", "c"]);
}
