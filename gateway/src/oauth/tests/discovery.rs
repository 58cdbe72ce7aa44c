//! Metadata, methods and CORS.

use http::header::{ALLOW, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{Method, Request};

use super::support::*;
use crate::oauth::resource_metadata_url;
use crate::public_url::PublicUrl;

fn pretty(response: &http::Response<bytes::Bytes>) -> String {
    serde_json::to_string_pretty(&json(response)).unwrap()
}

#[tokio::test]
async fn the_authorization_server_says_what_it_does() {
    let response = alone().get("/.well-known/oauth-authorization-server").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=300");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    insta::assert_snapshot!(pretty(&response), @r#"
    {
      "authorization_endpoint": "http://localhost:8080/authorize",
      "authorization_response_iss_parameter_supported": true,
      "code_challenge_methods_supported": [
        "S256"
      ],
      "grant_types_supported": [
        "authorization_code",
        "refresh_token"
      ],
      "issuer": "http://localhost:8080",
      "registration_endpoint": "http://localhost:8080/register",
      "response_modes_supported": [
        "query"
      ],
      "response_types_supported": [
        "code"
      ],
      "revocation_endpoint": "http://localhost:8080/revoke",
      "revocation_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post"
      ],
      "scopes_supported": [
        "mcp.access"
      ],
      "token_endpoint": "http://localhost:8080/token",
      "token_endpoint_auth_methods_supported": [
        "none",
        "client_secret_basic",
        "client_secret_post"
      ]
    }
    "#);
}

#[tokio::test]
async fn without_registration_no_endpoint_is_advertised() {
    let fixture = alone_with(|settings| settings.clients.registration = false);
    let metadata = json(&fixture.get("/.well-known/oauth-authorization-server").await);
    assert!(metadata.get("registration_endpoint").is_none());
    let response = fixture.post_json("/register", r#"{"redirect_uris":["https://a.example/"]}"#).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (403, Some("access_denied")));
}

#[tokio::test]
async fn every_advertised_endpoint_answers() {
    let fixture = alone();
    let metadata = json(&fixture.get("/.well-known/oauth-authorization-server").await);
    for (name, value) in metadata.as_object().unwrap() {
        assert!(!value.is_null(), "{name}");
        if name.ends_with("_endpoint") {
            let path = value.as_str().unwrap().strip_prefix(ISSUER).unwrap();
            assert!(fixture.server.endpoint(path).is_some(), "{path}");
            assert_ne!(fixture.get(path).await.status(), 404, "{path}");
        }
    }
}

#[tokio::test]
async fn each_spelling_of_a_resource_has_its_document() {
    let fixture = alone();
    let root = fixture.get("/.well-known/oauth-protected-resource").await;
    insta::assert_snapshot!(pretty(&root), @r#"
    {
      "authorization_servers": [
        "http://localhost:8080"
      ],
      "bearer_methods_supported": [
        "header"
      ],
      "resource": "http://localhost:8080",
      "resource_name": "Contoso tools",
      "scopes_supported": [
        "mcp.access"
      ]
    }
    "#);
    for path in ["/mcp", "/mcp/", "/mcp/sse", "/other"] {
        let url = resource_metadata_url(&PublicUrl::parse(ISSUER).unwrap(), path);
        let response = fixture.get(url.strip_prefix(ISSUER).unwrap()).await;
        assert_eq!(json(&response)["resource"], format!("{ISSUER}{path}"));
        assert_eq!(json(&response)["authorization_servers"][0], ISSUER);
    }
}

#[tokio::test]
async fn any_other_well_known_is_json_that_discovery_can_pass_by() {
    let fixture = alone();
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/foreign",
        "/.well-known/",
    ] {
        let response = fixture.get(path).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "{path}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(text(&response), @r#"{"error":"not_found","error_description":"There is nothing at this address."}"#);
        }
    }
}

#[tokio::test]
async fn a_known_document_is_not_sent_again() {
    let fixture = alone();
    let path = "/.well-known/oauth-authorization-server";
    let etag = fixture.get(path).await.headers()[ETAG].clone();
    let request = Request::get(path).header(IF_NONE_MATCH, &etag).body(bytes::Bytes::new()).unwrap();
    let response = fixture.server.handle(request).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (304, 0));
    assert_eq!(
        (&response.headers()[ETAG], &response.headers()[CACHE_CONTROL]),
        (&etag, &"public, max-age=300".parse().unwrap())
    );
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let request = Request::get(path).header(IF_NONE_MATCH, "\"another\"").body(bytes::Bytes::new()).unwrap();
    assert_eq!(fixture.server.handle(request).await.status(), 200);
}

/// Each says the same after a restart and on every replica, and another when it says something else.
#[tokio::test]
async fn a_document_has_an_etag_of_its_own_and_may_be_kept_for_a_while() {
    let fixture = alone();
    let again = fixture.restarted(|_| {});
    let renamed = fixture.restarted(|settings| settings.server_name = "Another name".into());
    let mut etags = std::collections::BTreeSet::new();
    for path in ["", "/mcp", "/mcp/", "/mcp/sse", "/other"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let response = fixture.get(&path).await;
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=300");
        assert_eq!(response.headers()["content-type"], "application/json");
        let etag = response.headers()[ETAG].clone();
        assert_eq!(again.get(&path).await.headers()[ETAG], etag);
        assert_ne!(renamed.get(&path).await.headers()[ETAG], etag);
        assert!(etags.insert(etag), "{path}");
        let head = Request::head(&path).body(bytes::Bytes::new()).unwrap();
        assert_eq!(fixture.server.handle(head).await.headers(), response.headers());
    }
}

#[tokio::test]
async fn a_host_header_changes_nothing() {
    let fixture = alone();
    let path = "/.well-known/oauth-authorization-server";
    let request = Request::get(path).header("host", "evil.example").header("x-forwarded-host", "evil.example");
    let response = fixture.server.handle(request.body(bytes::Bytes::new()).unwrap()).await;
    assert_eq!(response.body(), fixture.get(path).await.body());
}

#[tokio::test]
async fn programs_may_ask_from_any_origin_and_browsers_pages_may_not() {
    let fixture = alone();
    for (path, methods) in [
        ("/register", Some("POST, OPTIONS")),
        ("/token", Some("POST, OPTIONS")),
        ("/revoke", Some("POST, OPTIONS")),
        ("/.well-known/unknown", Some("GET, HEAD, OPTIONS")),
        ("/.well-known/oauth-authorization-server", Some("GET, HEAD, OPTIONS")),
        ("/authorize", None),
        ("/consent", None),
        ("/oauth-callback", None),
        ("/connections", None),
        ("/signed-out", None),
    ] {
        let request = Request::options(path).header("origin", "https://page.example").body(bytes::Bytes::new());
        let response = fixture.server.handle(request.unwrap()).await;
        let allowed = response.headers().get("access-control-allow-origin").is_some();
        match methods {
            Some(methods) => {
                assert_eq!((response.status().as_u16(), allowed), (204, true), "{path}");
                assert_eq!(response.headers()["access-control-allow-methods"], methods);
                assert!(!response.headers().contains_key("access-control-allow-credentials"));
            }
            None => assert_eq!((response.status().as_u16(), allowed), (405, false), "{path}"),
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let fixture = alone();
    for (method, path, methods) in [
        (Method::GET, "/token", "POST, OPTIONS"),
        (Method::PUT, "/register", "POST, OPTIONS"),
        (Method::POST, "/authorize", "GET"),
        (Method::DELETE, "/consent", "GET, POST"),
        (Method::POST, "/oauth-callback", "GET"),
        (Method::PUT, "/connections", "GET, POST"),
        (Method::POST, "/signed-out", "GET"),
        (Method::POST, "/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
    ] {
        let request = Request::builder().method(method).uri(path).body(bytes::Bytes::new()).unwrap();
        let response = fixture.server.handle(request).await;
        assert_eq!((response.status().as_u16(), response.headers()[ALLOW].to_str().unwrap()), (405, methods));
    }
    for path in ["/mcp", "/token/", "/revoke/"] {
        assert_eq!(fixture.server.endpoint(path), None, "{path}");
    }
}
