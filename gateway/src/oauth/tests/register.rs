//! Registration (RFC 7591).

use super::support::*;

#[tokio::test]
async fn a_registration_is_echoed_and_nothing_is_made_up() {
    let fixture = alone();
    let body = r#"{"client_name":" MCP\u202e Inspector\n","redirect_uris":["http://localhost:6274/oauth/callback"],
        "token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],
        "response_types":["code"],"scope":"","application_type":"native","client_uri":"https://a.example","logo_uri":null}"#;
    let response = fixture.post_json("/register", body).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let mut answer = json(&response);
    assert!(answer["client_id"].as_str().unwrap().starts_with("sp1_cl_"));
    assert_eq!(answer["client_id_issued_at"], fixture.now().unix());
    answer["client_id"] = "[id]".into();
    answer["client_id_issued_at"] = 0.into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&answer).unwrap(), @r#"
    {
      "application_type": "native",
      "client_id": "[id]",
      "client_id_issued_at": 0,
      "client_name": "MCP Inspector",
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "redirect_uris": [
        "http://localhost:6274/oauth/callback"
      ],
      "response_types": [
        "code"
      ],
      "scope": "mcp.access",
      "token_endpoint_auth_method": "none"
    }
    "#);
}

#[tokio::test]
async fn the_smallest_registration_is_enough() {
    let answer = json(&alone().post_json("/register", r#"{"redirect_uris":["https://a.example/cb"]}"#).await);
    assert_eq!(answer["client_name"], "Unknown Application");
    for absent in ["scope", "client_secret", "client_secret_expires_at", "client_uri", "application_type"] {
        assert!(answer.get(absent).is_none(), "{absent}");
    }
}

/// A10, A27: whatever clients send that does not matter here.
#[tokio::test]
async fn what_is_null_empty_or_unknown_does_no_harm() {
    let fixture = alone();
    for (more, application_type) in [
        (r#""client_name":null,"grant_types":null,"response_types":null,"token_endpoint_auth_method":null"#, None),
        (r#""grant_types":[],"response_types":[],"scope":"","contacts":[],"jwks":{},"software_id":7"#, None),
        (r#""application_type":"web""#, Some("web")),
        (r#""application_type":"native","scope":"openid profile""#, Some("native")),
        (r#""application_type":"toaster""#, None),
        (r#""application_type":7,"scope":["x"]"#, None),
    ] {
        let response =
            fixture.post_json("/register", &format!(r#"{{"redirect_uris":["http://127.0.0.1/"],{more}}}"#)).await;
        let answer = json(&response);
        assert_eq!(response.status(), 201, "{more}: {answer}");
        assert_eq!(answer.get("application_type").and_then(|kind| kind.as_str()), application_type, "{more}");
        assert_eq!(answer["token_endpoint_auth_method"], "none", "always said (A11)");
        assert!(answer.as_object().unwrap().values().all(|value| !value.is_null() && value != ""), "{answer}");
    }
}

#[tokio::test]
async fn good_redirect_uris_are_kept_and_bad_ones_dropped() {
    let body = r#"{"redirect_uris":["javascript:alert(1)","cursor://x/cb","https://a.example/cb","https://a.example/cb",
        "http://remote.example/cb","unknown://x"]}"#;
    let answer = json(&alone().post_json("/register", body).await);
    assert_eq!(answer["redirect_uris"], serde_json::json!(["cursor://x/cb", "https://a.example/cb"]));
}

#[tokio::test]
async fn a_realistic_client_id_fits_in_a_url() {
    let uris: Vec<_> = (0..10).map(|n| format!("https://client.example/tenants/{n}/oauth/callback")).collect();
    let body = serde_json::json!({ "client_name": "x".repeat(128), "redirect_uris": uris });
    let answer = json(&alone().post_json("/register", &body.to_string()).await);
    assert!(answer["client_id"].as_str().unwrap().len() < 1536);
}

#[tokio::test]
async fn what_cannot_be_registered() {
    let fixture = alone();
    let long = format!(
        r#"{{"redirect_uris":["https://a.example/{}","https://b.example/{}"]}}"#,
        "a".repeat(2000),
        "b".repeat(2000)
    );
    let many = serde_json::json!({ "redirect_uris": vec!["https://a.example/"; 11] }).to_string();
    let deep = format!(r#"{{"redirect_uris":["https://a.example/"],"x":{}{}}}"#, "[".repeat(20), "]".repeat(20));
    let mut answers = String::new();
    for body in [
        "",
        "[]",
        "{}",
        r#"{"redirect_uris":"https://a.example/"}"#,
        r#"{"redirect_uris":[]}"#,
        r#"{"redirect_uris":[1]}"#,
        r#"{"redirect_uris":["javascript:alert(1)"]}"#,
        r#"{"redirect_uris":["https://a.example/"],"redirect_uris":["https://b.example/"]}"#,
        r#"{"redirect_uris":["https://a.example/"],"client_name":1}"#,
        r#"{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":1}"#,
        r#"{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"private_key_jwt"}"#,
        r#"{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"client_secret_jwt"}"#,
        r#"{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"tls_client_auth"}"#,
        r#"{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"None"}"#,
        r#"{"redirect_uris":["https://a.example/"],"grant_types":["client_credentials"]}"#,
        r#"{"redirect_uris":["https://a.example/"],"grant_types":"authorization_code"}"#,
        r#"{"redirect_uris":["http://localhost:8080/signed-out"]}"#,
        r#"{"redirect_uris":["https://a.example/"],"response_types":["token"]}"#,
        &many,
        &long,
        &deep,
    ] {
        let response = fixture.post_json("/register", body).await;
        assert_eq!(response.status(), 400, "{body:.80}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        answers.push_str(&format!("{}: {}\n", json(&response)["error"], json(&response)["error_description"]));
    }
    insta::assert_snapshot!(answers, @r#"
    "invalid_client_metadata": "Send one JSON object, with each name once."
    "invalid_client_metadata": "Send one JSON object, with each name once."
    "invalid_redirect_uri": "redirect_uris must be a list."
    "invalid_redirect_uri": "redirect_uris must be a list."
    "invalid_redirect_uri": "Use https, or http on localhost, or a scheme that this server allows; no user name, no fragment, and not this server itself."
    "invalid_redirect_uri": "Every redirect URI must be a string."
    "invalid_redirect_uri": "Use https, or http on localhost, or a scheme that this server allows; no user name, no fragment, and not this server itself."
    "invalid_client_metadata": "Send one JSON object, with each name once."
    "invalid_client_metadata": "client_name must be a string."
    "invalid_client_metadata": "Use token_endpoint_auth_method none, client_secret_basic or client_secret_post."
    "invalid_client_metadata": "Use token_endpoint_auth_method none, client_secret_basic or client_secret_post."
    "invalid_client_metadata": "Use token_endpoint_auth_method none, client_secret_basic or client_secret_post."
    "invalid_client_metadata": "Use token_endpoint_auth_method none, client_secret_basic or client_secret_post."
    "invalid_client_metadata": "Use token_endpoint_auth_method none, client_secret_basic or client_secret_post."
    "invalid_client_metadata": "Use grant type authorization_code and response type code."
    "invalid_client_metadata": "Use grant type authorization_code and response type code."
    "invalid_redirect_uri": "Use https, or http on localhost, or a scheme that this server allows; no user name, no fragment, and not this server itself."
    "invalid_client_metadata": "Use grant type authorization_code and response type code."
    "invalid_redirect_uri": "Register at most 10 redirect URIs."
    "invalid_client_metadata": "This is too much to register. Use fewer redirect URIs."
    "invalid_client_metadata": "Send one JSON object, with each name once."
    "#);
    let form = fixture.post_form("/register", &[("redirect_uris", "https://a.example/")]).await;
    assert_eq!(form.status(), 400);
}
