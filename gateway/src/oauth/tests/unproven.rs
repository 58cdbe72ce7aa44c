//! `/authorize` before and after a client is proven: pages first, redirects only then (T8).

use http::header::LOCATION;

use super::support::*;
use crate::oauth::{Preregistered, RedirectUri};

fn known() -> Preregistered {
    Preregistered {
        client_id: "contoso-assistant".to_owned(),
        name: "Contoso Assistant".to_owned(),
        redirect_uris: vec![RedirectUri::parse(REDIRECT_URI, &[]).unwrap()],
        secret: None,
    }
}

/// RFC 9700 section 4.11.2: whoever registers a web site of theirs must not get a link to us that goes on there by itself.
#[tokio::test]
async fn a_web_site_that_nobody_vouches_for_is_left_to_the_person() {
    let fixture = alone();
    let client = fixture.register("Client", "https://evil.example/cb?a=b").await;
    for changed in [
        &[("response_type", "token")][..],
        &[("code_challenge", "")],
        &[("code_challenge_method", "plain")],
        &[("resource", "https://evil.example/mcp")],
        &[("prompt", "none")],
        &[("prompt", "none login")],
        &[("state", "a\nb")],
    ] {
        let response = fixture.get(&authorize_path(&client, changed)).await;
        assert_eq!(response.status(), 400, "{changed:?}");
        let url = offered(&response).unwrap();
        assert!(url.starts_with("https://evil.example/cb?a=b&error="), "{url}");
        assert_eq!(parameter(&url, "iss"), ISSUER);
        assert!(text(&response).contains("<bdi>evil.example</bdi>"));
        assert!(text(&response).contains(&parameter(&url, "error")));
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    }
    // A person who was asked and said no has decided.
    let mut browser = Browser::default();
    let form = browser.consent_page(&fixture, &client).await;
    let response = browser.post(&fixture, "/consent", &form.decision("deny", &[])).await;
    assert!(onwards(&response).starts_with("https://evil.example/cb?a=b&error=access_denied"));
}

/// What runs on the person's own computer waits for its answer, and is no web site that could pass for another.
#[tokio::test]
async fn a_program_on_this_computer_is_told_at_once() {
    let fixture = alone();
    for redirect_uri in ["http://127.0.0.1:33418/", "http://localhost/cb", "cursor://x/cb"] {
        let client = fixture.register("Client", redirect_uri).await;
        for (changed, error) in [(("resource", "x"), "invalid_target"), (("prompt", "none"), "consent_required")] {
            let url = location(&fixture.get(&authorize_path(&client, &[changed])).await);
            assert!(url.starts_with(redirect_uri), "{url}");
            assert_eq!(parameter(&url, "error"), error);
        }
    }
}

#[tokio::test]
async fn until_client_and_redirect_uri_are_proven_there_is_a_page_and_no_redirect() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let elsewhere = alone().register("Client", REDIRECT_URI).await;
    let flipped = Client { id: client.id.replace("sp1_cl_A", "sp1_cl_B"), ..client.clone() };
    assert_ne!(flipped.id, client.id);
    let twice = |name: &str| format!("{}&{name}=x", authorize_path(&client, &[]));
    let mut approved = Browser::default();
    approved.allow(&fixture, &client, &[("remember", "yes")]).await;
    for (path, code) in [
        ("/authorize".to_owned(), "1003"),
        (authorize_path(&client, &[("client_id", "")]), "1003"),
        (authorize_path(&client, &[("redirect_uri", "")]), "1003"),
        (twice("client_id"), "1003"),
        (twice("redirect_uri"), "1003"),
        (authorize_path(&elsewhere, &[]), "1001"),
        (authorize_path(&flipped, &[]), "1001"),
        (authorize_path(&client, &[("client_id", "https://client.example/metadata.json")]), "1001"),
        (authorize_path(&client, &[("client_id", "<script>alert(1)</script>")]), "1001"),
        (authorize_path(&client, &[("redirect_uri", "https://evil.example/cb")]), "1002"),
        (authorize_path(&client, &[("redirect_uri", "javascript:alert(1)")]), "1002"),
        (authorize_path(&client, &[("redirect_uri", "https://client.example/cb?tenant=a b")]), "1002"),
        (authorize_path(&client, &[("redirect_uri", "https://client.example/cb")]), "1002"),
    ] {
        for response in [fixture.get(&path).await, approved.get(&fixture, &path).await] {
            assert_eq!((response.status().as_u16(), fault(&response)), (400, code), "{path}");
            assert!(!text(&response).contains("evil") && !text(&response).contains("<script"), "nothing is echoed");
            assert!(!response.headers().contains_key("access-control-allow-origin"));
        }
    }
}

#[tokio::test]
async fn afterwards_the_client_is_told() {
    let fixture = alone_with(|settings| settings.clients.preregistered = vec![known()]);
    let client = Client { id: "contoso-assistant".to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let long = "s".repeat(2049);
    let mut told = String::new();
    for (path, state) in [
        (authorize_path(&client, &[("response_type", "")]), Some("st+te/==")),
        (authorize_path(&client, &[("response_type", "token")]), Some("st+te/==")),
        (authorize_path(&client, &[("code_challenge", "")]), Some("st+te/==")),
        (authorize_path(&client, &[("code_challenge", "short")]), Some("st+te/==")),
        (authorize_path(&client, &[("code_challenge_method", "")]), Some("st+te/==")),
        (authorize_path(&client, &[("code_challenge_method", "plain")]), Some("st+te/==")),
        (authorize_path(&client, &[("code_challenge_method", "s256")]), Some("st+te/==")),
        (authorize_path(&client, &[("resource", "https://evil.example/mcp")]), Some("st+te/==")),
        (format!("{}&resource=x", authorize_path(&client, &[])), Some("st+te/==")),
        (format!("{}&scope=x", authorize_path(&client, &[])), Some("st+te/==")),
        (format!("{}&unknown=1&unknown=1", authorize_path(&client, &[])), Some("st+te/==")),
        (format!("{}&state=x", authorize_path(&client, &[])), None),
        (authorize_path(&client, &[("state", &long)]), None),
        (authorize_path(&client, &[("state", "a\nb")]), None),
        (authorize_path(&client, &[("state", ""), ("response_type", "")]), None),
    ] {
        let response = fixture.get(&path).await;
        assert_eq!(response.status(), 303, "{path}");
        let url = location(&response);
        assert!(url.starts_with(REDIRECT_URI));
        assert_eq!(parameter(&url, "iss"), ISSUER);
        match state {
            Some(state) => assert_eq!(parameter(&url, "state"), state),
            None => assert!(!url.contains("state=")),
        }
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
        told.push_str(&format!("{}: {}\n", parameter(&url, "error"), parameter(&url, "error_description")));
    }
    insta::assert_snapshot!(told, @r#"
    invalid_request: response_type is missing.
    unsupported_response_type: Use response_type=code.
    invalid_request: code_challenge must be 43 characters of base64url.
    invalid_request: code_challenge must be 43 characters of base64url.
    invalid_request: Use code_challenge_method=S256.
    invalid_request: Use code_challenge_method=S256.
    invalid_request: Use code_challenge_method=S256.
    invalid_target: The resource is not one of this server's.
    invalid_target: The resource is not one of this server's.
    invalid_request: A parameter is there more than once.
    invalid_request: A parameter is there more than once.
    invalid_request: A parameter is there more than once.
    invalid_request: state must be printable ASCII, at most 2048 characters.
    invalid_request: state must be printable ASCII, at most 2048 characters.
    invalid_request: response_type is missing.
    "#);
}

#[tokio::test]
async fn what_clients_may_leave_out_or_add() {
    let fixture = alone();
    let client = fixture.register("Client", "http://127.0.0.1/cb").await;
    for changed in [
        &[][..],
        &[("state", ""), ("scope", ""), ("resource", "")],
        &[("scope", "openid profile offline_access"), ("prompt", "consent"), ("login_hint", "adele")],
        &[("redirect_uri", "http://127.0.0.1:50123/cb")],
        &[("resource", "HTTP://LOCALHOST:8080/mcp/")],
    ] {
        let response = fixture.get(&authorize_path(&client, changed)).await;
        assert!(location(&response).starts_with(&format!("{ISSUER}/consent?request=")), "{changed:?}");
        assert!(!response.headers().contains_key("set-cookie"), "no cookie before the page is shown");
    }
}

#[tokio::test]
async fn the_longest_request_still_makes_a_url_that_servers_take() {
    let fixture = alone();
    let redirect_uri = format!("https://client.example/{}", "a".repeat(2000));
    let client = fixture.register(&"ü".repeat(128), &redirect_uri).await;
    let response = fixture.get(&authorize_path(&client, &[("state", &"%".repeat(2048))])).await;
    assert!(response.headers()[LOCATION].len() < 8000, "{}", response.headers()[LOCATION].len());
}
