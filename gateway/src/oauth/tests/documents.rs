//! Clients that publish a document about themselves, all the way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;

use super::publisher::{Answer, HOST, Publisher};
use super::support::*;
use crate::oauth::{DocumentHost, DocumentSettings, Network, Remember, Settings};
use crate::source::SourceAddress;

const LOOPBACK_URI: &str = "http://127.0.0.1/cb";

fn documents_of(publisher: &Publisher) -> impl FnOnce(&mut Settings) {
    let look_up = publisher.look_up();
    let network = Network {
        resolver: Arc::new(move |_| {
            let addresses = look_up();
            Box::pin(async move { Ok(addresses) })
        }),
        may_connect: |address| address == IpAddr::from(Ipv4Addr::LOCALHOST),
        extra_root: Some(publisher.root.clone()),
    };
    let hosts = vec![DocumentHost::parse(&format!("{HOST}:{}", publisher.port)).unwrap()];
    move |settings| settings.clients.documents = Some(DocumentSettings { hosts, network })
}

fn client(publisher: &Publisher, redirect_uri: &str) -> Client {
    let id = publisher.publish_client("/m.json", "Published client", &[redirect_uri]);
    Client { id, redirect_uri: redirect_uri.to_owned() }
}

#[tokio::test]
async fn a_client_signs_in_by_its_document() {
    let publisher = Publisher::start();
    let fixture = with_entra_and(documents_of(&publisher)).await;
    let metadata = json(&fixture.get("/.well-known/oauth-authorization-server").await);
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    let client = client(&publisher, LOOPBACK_URI);
    let mut browser = Browser::default();
    let html = browser.consent_page(&fixture, &client).await.html;
    for expected in ["Published client", r#"Published by <bdi class="name">client.test</bdi>"#, "your own computer"] {
        assert!(html.contains(expected), "{expected}: {html}");
    }
    let code = fixture.sign_in(&mut browser, &client).await;
    let response = fixture.redeem(&client, &code).await;
    assert_eq!(response.status(), 200, "{}", text(&response));
    assert_eq!(publisher.requests("/m.json"), 1);
}

#[tokio::test]
async fn unless_they_are_switched_on_documents_are_not_fetched() {
    let publisher = Publisher::start();
    let fixture = alone();
    assert!(
        json(&fixture.get("/.well-known/oauth-authorization-server").await)
            .get("client_id_metadata_document_supported")
            .is_none()
    );
    let client = client(&publisher, LOOPBACK_URI);
    assert_eq!(fault(&fixture.get(&authorize_path(&client, &[])).await), "1001");
    let response = fixture.redeem(&client, "sp1_ac_x").await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
    assert_eq!(publisher.connections(), 0);
}

/// T8: a bad document is a page, never a redirect; and an outage is no refusal (D8).
#[tokio::test]
async fn a_bad_document_and_an_absent_one_are_different_pages_and_errors() {
    let publisher = Publisher::start();
    let fixture = with_entra_and(documents_of(&publisher)).await;
    let client = client(&publisher, LOOPBACK_URI);
    let code = fixture.sign_in(&mut Browser::default(), &client).await;
    fixture.pass(300);
    publisher.publish("/m.json", Answer::json(&serde_json::json!({ "client_id": "https://evil.example/m.json" })));
    let response = fixture.get(&authorize_path(&client, &[])).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (400, "1005"));
    let response = fixture.redeem(&client, &code).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (401, Some("invalid_client")));
    publisher.publish("/m.json", Answer::new("502 Bad Gateway", "", ""));
    fixture.pass(60);
    let response = fixture.get(&authorize_path(&client, &[])).await;
    assert_eq!((response.status().as_u16(), fault(&response)), (503, "1006"));
    let response = fixture.redeem(&client, &code).await;
    assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (503, Some("temporarily_unavailable")));
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(
        fault(&fixture.get(&authorize_path(&client, &[("redirect_uri", "https://evil.example/")])).await),
        "1006"
    );
}

/// T19: a program that brings nothing of ours has nothing fetched, and gets what anybody gets with a made-up grant.
#[tokio::test]
async fn without_a_code_or_token_of_ours_nobody_is_asked_about_a_client() {
    let publisher = Publisher::start();
    let fixture = with_entra_and(documents_of(&publisher)).await;
    let client = client(&publisher, LOOPBACK_URI);
    let registered = fixture.register("Client", LOOPBACK_URI).await;
    let of_another = fixture.sign_in(&mut Browser::default(), &registered).await;
    for code in ["sp1_ac_x", &of_another] {
        let response = fixture.redeem(&client, code).await;
        assert_eq!((response.status().as_u16(), json(&response)["error"].as_str()), (400, Some("invalid_grant")));
        assert_eq!(json(&fixture.refresh(&client, code).await)["error"], "invalid_grant");
    }
    let response = fixture.redeem_with(&client, "sp1_ac_x", &[("client_secret", "made-up")]).await;
    assert_eq!(json(&response)["error"], "invalid_client", "it has no secret");
    let response = fixture.post_form("/revoke", &[("client_id", &client.id), ("token", "sp1_rt_x")]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(publisher.connections(), 0);
}

/// RFC 7009: a user who signs out while the publisher is down is signed out.
#[tokio::test]
async fn to_revoke_a_token_needs_no_document() {
    let publisher = Publisher::start();
    let fixture = with_entra_and(documents_of(&publisher)).await;
    let client = client(&publisher, LOOPBACK_URI);
    let tokens = fixture.tokens(&client).await;
    let after = fixture.restarted(|_| {});
    publisher.publish("/m.json", Answer::new("502 Bad Gateway", "", ""));
    assert!(after.admits(&tokens).await);
    let token = tokens["refresh_token"].as_str().unwrap();
    let response = after.post_form("/revoke", &[("client_id", &client.id), ("token", token)]).await;
    assert_eq!(response.status(), 200);
    assert!(!after.admits(&tokens).await);
}

/// T19: from three addresses, as fast as they like, somebody asks for documents that do not exist.
#[tokio::test]
async fn a_flood_of_invented_client_ids_keeps_no_user_from_a_client() {
    let publisher = Publisher::start();
    let fixture = with_entra_and(documents_of(&publisher)).await;
    let client = client(&publisher, LOOPBACK_URI);
    let flood = async |fixture: &Fixture| {
        let mut answers = BTreeMap::new();
        for number in 0..90 {
            let id = publisher.url(&format!("/invented-{number}"));
            let mut request = Request::get(authorize_path(&Client { id, ..client.clone() }, &[]));
            let source = SourceAddress::new([192, 0, 2, number / 30].into());
            request.extensions_mut().unwrap().insert(source);
            let response = fixture.server.handle(request.body(Bytes::new()).unwrap()).await;
            *answers.entry(fault(&response).to_owned()).or_default() += 1;
        }
        assert_eq!(answers, BTreeMap::from([("1005".to_owned(), 30), ("1006".to_owned(), 60)]));
    };
    let mut browser = Browser::default();
    let code = fixture.sign_in(&mut browser, &client).await;
    let tokens = json(&fixture.redeem(&client, &code).await);
    fixture.pass(300);
    flood(&fixture).await;
    fixture.sign_in(&mut browser, &client).await;
    assert_eq!(publisher.requests("/m.json"), 2, "known, so fetched for its own sake");

    let after = fixture.restarted(|_| {});
    flood(&after).await;
    let response = after.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(response.status(), 200, "{}", text(&response));
    assert_eq!(publisher.requests("/m.json"), 3, "this replica did not know it, but its token");
}

#[tokio::test]
async fn only_the_documents_redirect_uris_are_good() {
    let publisher = Publisher::start();
    let fixture = alone_with(documents_of(&publisher));
    let client = client(&publisher, LOOPBACK_URI);
    for (redirect_uri, good) in
        [("http://127.0.0.1:50123/cb", true), ("http://127.0.0.1/other", false), ("https://client.test/cb", false)]
    {
        let response = fixture.get(&authorize_path(&client, &[("redirect_uri", redirect_uri)])).await;
        assert_eq!(response.status() == 303, good, "{redirect_uri}");
    }
}

/// T20: anybody may use a public client id with a program of their own on this computer.
#[tokio::test]
async fn an_answer_to_this_computer_is_never_given_without_asking() {
    let publisher = Publisher::start();
    for remember in [Remember::Ask, Remember::Always] {
        let change = documents_of(&publisher);
        let fixture = alone_with(|settings| {
            change(settings);
            settings.remember = remember;
        });
        let client = client(&publisher, LOOPBACK_URI);
        let mut browser = Browser::default();
        let form = browser.consent_page(&fixture, &client).await;
        assert!(!form.html.contains(r#"name="remember""#));
        browser.post(&fixture, "/consent", &form.decision("allow", &[("remember", "yes")])).await;
        assert!(!browser.names().contains(&"__Host-MCP_APPROVED_CLIENTS"), "{remember:?}");
        browser.consent_page(&fixture, &client).await;
    }
}

/// D-3: what was approved is what the document said then.
#[tokio::test]
async fn a_changed_document_asks_again() {
    let publisher = Publisher::start();
    let fixture = alone_with(documents_of(&publisher));
    let client = client(&publisher, REDIRECT_URI);
    let mut browser = Browser::default();
    browser.allow(&fixture, &client, &[("remember", "yes")]).await;
    let path = authorize_path(&client, &[]);
    assert!(location(&browser.get(&fixture, &path).await).starts_with("http://127.0.0.1:9/"), "straight to Entra");
    publisher.publish_client("/m.json", "Another name", &[REDIRECT_URI]);
    fixture.pass(300);
    assert!(location(&browser.get(&fixture, &path).await).contains("/consent?"));
}

#[tokio::test]
async fn a_denied_publisher_is_not_even_asked() {
    let publisher = Publisher::start();
    let change = documents_of(&publisher);
    let fixture = alone_with(|settings| {
        change(settings);
        settings.clients.denied = vec!["test".to_owned()];
    });
    let client = client(&publisher, LOOPBACK_URI);
    assert_eq!(fault(&fixture.get(&authorize_path(&client, &[])).await), "1004");
    assert_eq!(json(&fixture.redeem(&client, "sp1_ac_x").await)["error"], "unauthorized_client");
    assert_eq!(publisher.connections(), 0);
}
