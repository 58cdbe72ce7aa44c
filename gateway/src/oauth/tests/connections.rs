//! What a browser remembers, shown and forgotten.

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, REFERRER_POLICY, SET_COOKIE};

use super::support::*;

const APPROVED: &str = "__Host-MCP_APPROVED_CLIENTS";

async fn page(fixture: &Fixture, browser: &mut Browser) -> String {
    let response = browser.get(fixture, "/connections").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[REFERRER_POLICY], "same-origin", "or its form would have no origin");
    text(&response).to_owned()
}

/// The ids and the form token of the page.
fn buttons(html: &str) -> (Vec<String>, String) {
    let ids = html.split(r#"name="forget" value=""#).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    (ids.collect(), hidden(html, "csrf"))
}

/// A browser that allowed two clients and refused a third.
async fn with_memories(fixture: &Fixture) -> (Browser, Client) {
    let mut browser = Browser::default();
    let first = fixture.register("<b>First</b>", REDIRECT_URI).await;
    let second = fixture.register("Second", "http://127.0.0.1:7000/cb").await;
    let third = fixture.register("Third", REDIRECT_URI).await;
    browser.allow(fixture, &first, &[("remember", "yes")]).await;
    browser.allow(fixture, &second, &[("remember", "yes")]).await;
    let form = browser.consent_page(fixture, &third).await;
    browser.post(fixture, "/consent", &form.decision("deny", &[])).await;
    (browser, second)
}

#[tokio::test]
async fn a_person_sees_what_this_browser_remembers() {
    let fixture = alone();
    assert!(page(&fixture, &mut Browser::default()).await.contains("Nothing: every application will ask you"));
    let (mut browser, _) = with_memories(&fixture).await;
    fixture.pass(120);
    let html = page(&fixture, &mut browser).await;
    for expected in [
        "&#60;b&#62;First&#60;/b&#62;",
        "client.example",
        "Second",
        "127.0.0.1:7000",
        "for 30 more days",
        "Third",
        "2 minutes ago",
    ] {
        assert!(html.contains(expected), "{expected}: {html}");
    }
    assert_eq!(buttons(&html).0.len(), 4, "one for each, and one for all");
    fixture.pass(31 * 24 * 3600);
    assert!(page(&fixture, &mut browser).await.contains("Nothing"));
}

#[tokio::test]
async fn one_is_forgotten_and_asked_about_again() {
    let fixture = alone();
    let (mut browser, second) = with_memories(&fixture).await;
    let path = authorize_path(&second, &[]);
    assert!(location(&browser.get(&fixture, &path).await).starts_with("http://127.0.0.1:9/"), "straight to Entra");
    let (ids, csrf) = buttons(&page(&fixture, &mut browser).await);
    let response = browser.post(&fixture, "/connections", &[("csrf", &csrf), ("forget", &ids[0])]).await;
    assert_eq!((response.status().as_u16(), location(&response)), (303, format!("{ISSUER}/connections")));
    let html = page(&fixture, &mut browser).await;
    assert!(html.contains("First") && !html.contains("Second") && html.contains("Third"), "{html}");
    assert!(location(&browser.get(&fixture, &path).await).contains("/consent?"));
    // A refusal is forgotten alike, and what is not there does no harm.
    let (ids, csrf) = buttons(&html);
    for id in [ids[1].as_str(), "unknown"] {
        let response = browser.post(&fixture, "/connections", &[("csrf", &csrf), ("forget", id)]).await;
        assert_eq!(response.status(), 303);
        let html = page(&fixture, &mut browser).await;
        assert!(html.contains("First") && !html.contains("Third"), "{html}");
    }
}

#[tokio::test]
async fn all_is_forgotten_open_sign_ins_too() {
    let fixture = alone();
    let (mut browser, _) = with_memories(&fixture).await;
    let fourth = fixture.register("Fourth", REDIRECT_URI).await;
    browser.consent_page(&fixture, &fourth).await;
    let (_, csrf) = buttons(&page(&fixture, &mut browser).await);
    let response = browser.post(&fixture, "/connections", &[("csrf", &csrf), ("forget", "all")]).await;
    assert_eq!((response.status().as_u16(), location(&response)), (303, format!("{ISSUER}/signed-out")));
    assert!(browser.names().is_empty(), "{:?}", browser.names());
    let page = browser.get(&fixture, "/signed-out").await;
    assert_eq!(page.status(), 200);
    assert!(text(&page).contains("forgotten") && text(&page).contains(r#"href="/connections""#));
    assert!(!page.headers().contains_key(SET_COOKIE));
}

/// T4
#[tokio::test]
async fn nobody_else_makes_a_browser_forget() {
    let fixture = alone();
    let (mut browser, _) = with_memories(&fixture).await;
    let (ids, csrf) = buttons(&page(&fixture, &mut browser).await);
    let (mut stranger, _) = with_memories(&fixture).await;
    let (_, theirs) = buttons(&page(&fixture, &mut stranger).await);
    let ours = ("origin", ISSUER);
    let good = [("csrf", csrf.as_str()), ("forget", ids[0].as_str())];
    for (headers, pairs, code) in [
        (&[][..], &good[..], "1401"),
        (&[("origin", "https://evil.example")], &good, "1401"),
        (&[("origin", "null")], &good, "1401"),
        (&[ours, ("sec-fetch-site", "cross-site")], &good, "1401"),
        (&[ours], &[("csrf", theirs.as_str()), ("forget", "all")], "1401"),
        (&[ours], &[("forget", "all")], "1401"),
        (&[ours], &[("csrf", csrf.as_str())], "1401"),
        (&[ours], &[("csrf", csrf.as_str()), ("forget", "all"), ("forget", "x")], "1401"),
        (&[ours, ("content-type", "text/plain")], &good, "1205"),
    ] {
        let mut request = Request::post("/connections");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let response = browser.send(&fixture, request.body(Bytes::from(form(pairs))).unwrap()).await;
        assert_eq!(fault(&response), code, "{headers:?} {pairs:?}");
        assert!(!response.headers().contains_key(SET_COOKIE));
    }
    assert_eq!(buttons(&page(&fixture, &mut browser).await).0.len(), 4);
}

#[tokio::test]
async fn the_fullest_list_fits_into_a_cookie() {
    let fixture = alone();
    let mut browser = Browser::default();
    for number in 0..30 {
        let redirect_uri = format!("https://{number}.{}.example/cb", "long".repeat(12));
        let client = fixture.register(&format!("{number} {}", "ü".repeat(120)), &redirect_uri).await;
        browser.allow(&fixture, &client, &[("remember", "yes")]).await;
    }
    assert!(browser.cookies[APPROVED].len() + APPROVED.len() < 3700, "{}", browser.cookies[APPROVED].len());
    assert_eq!(buttons(&page(&fixture, &mut browser).await).0.len(), 26, "the 25 newest, and all");
}
