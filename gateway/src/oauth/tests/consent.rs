//! The consent page and what its answers mean.

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, REFERRER_POLICY};

use super::support::*;
use crate::oauth::{Remember, Resources};

#[tokio::test]
async fn the_page_says_who_and_where_to() {
    let fixture = alone();
    let client = fixture.register("<b>Trust\u{202e} me</b>", "http://127.0.0.1:6274/cb").await;
    let mut browser = Browser::default();
    let form = browser.consent_page(&fixture, &client).await;
    for expected in [
        "Contoso tools",
        "&#60;b&#62;Trust me&#60;/b&#62;",
        "127.0.0.1:6274",
        "http://127.0.0.1:6274/cb",
        "your own computer",
        "http://localhost:8080/mcp",
        "mcp.access",
    ] {
        assert!(form.html.contains(expected), "{expected}");
    }
    let names: Vec<_> = browser.names().into_iter().map(|name| name.rsplit_once('-').unwrap().0).collect();
    assert_eq!(names, ["__Host-MCP_CONSENT_STATE", "__Host-MCP_CSRF_TOKEN"], "no state for Entra before the yes");
}

#[tokio::test]
async fn a_decision_that_is_not_of_our_page_allows_nothing() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let ours = ("origin", ISSUER);
    let whole = "csrf-and-both-cookies";
    for (headers, without, code) in [
        (vec![], whole, "1201"),
        (vec![("origin", "https://evil.example")], whole, "1201"),
        (vec![("origin", "null")], whole, "1201"),
        (vec![("origin", "https://localhost:8080")], whole, "1201"),
        (vec![("origin", "http://localhost")], whole, "1201"),
        (vec![("referer", "https://evil.example/http://localhost:8080/")], whole, "1201"),
        (vec![ours, ("sec-fetch-site", "cross-site")], whole, "1202"),
        (vec![ours, ("sec-fetch-site", "same-site")], whole, "1202"),
        (vec![ours], "csrf", "1203"),
        (vec![ours], "__Host-MCP_CSRF_TOKEN", "1203"),
        (vec![ours], "__Host-MCP_CONSENT_STATE", "1204"),
    ] {
        let mut browser = Browser::default();
        let form = browser.consent_page(&fixture, &client).await;
        browser.cookies.retain(|name, _| !name.starts_with(without));
        let csrf = if without == "csrf" { "" } else { &form.csrf };
        let body = self::form(&[("request", &form.request), ("csrf", csrf), ("decision", "allow")]);
        let mut request = Request::post("/consent").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let response = browser.send(&fixture, request.body(Bytes::from(body)).unwrap()).await;
        assert_eq!((response.status().as_u16(), fault(&response)), (403, code), "{headers:?} without {without}");
        assert!(!response.headers().contains_key("set-cookie"));
    }
    let mut browser = Browser::default();
    let form = browser.consent_page(&fixture, &client).await;
    let request = Request::post("/consent")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("referer", format!("{ISSUER}{}", form.path))
        .body(Bytes::from(self::form(&form.decision("allow", &[]))));
    assert_eq!(browser.send(&fixture, request.unwrap()).await.status(), 200, "a browser without Origin");
}

#[tokio::test]
async fn tokens_and_cookies_of_one_transaction_are_worth_nothing_in_another() {
    let fixture = alone();
    let (a, b) = (fixture.register("A", REDIRECT_URI).await, fixture.register("B", "https://b.example/").await);
    let mut browser = Browser::default();
    let (form_a, form_b) = (browser.consent_page(&fixture, &a).await, browser.consent_page(&fixture, &b).await);
    let mixed = [("request", form_b.request.as_str()), ("csrf", &form_a.csrf), ("decision", "allow")];
    assert_eq!(fault(&browser.post(&fixture, "/consent", &mixed).await), "1203");
    let mut attacker = Browser::default();
    let theirs = attacker.consent_page(&fixture, &a).await;
    let foreign = [("request", theirs.request.as_str()), ("csrf", &theirs.csrf), ("decision", "allow")];
    assert_eq!(fault(&browser.post(&fixture, "/consent", &foreign).await), "1203");
}

#[tokio::test]
async fn two_tabs_and_two_renderings_both_work() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let first = browser.consent_page(&fixture, &client).await;
    let second = browser.consent_page(&fixture, &client).await;
    let again = browser.get(&fixture, &first.path).await;
    assert!(text(&again).contains(&first.csrf), "a second rendering has the first one's token");
    for form in [first, second] {
        assert_eq!(browser.post(&fixture, "/consent", &form.decision("allow", &[])).await.status(), 200);
    }
}

#[tokio::test]
async fn a_page_is_answered_once_and_in_time() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let form = browser.consent_page(&fixture, &client).await;
    assert_eq!(browser.post(&fixture, "/consent", &form.decision("allow", &[])).await.status(), 200);
    assert_eq!(fault(&browser.post(&fixture, "/consent", &form.decision("allow", &[])).await), "1203");
    let form = browser.consent_page(&fixture, &client).await;
    fixture.pass(15 * 60);
    assert_eq!(fault(&browser.post(&fixture, "/consent", &form.decision("allow", &[])).await), "1101");
    assert_eq!(fault(&browser.get(&fixture, &form.path).await), "1101");
}

#[tokio::test]
async fn what_is_not_our_form_is_refused() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let form = browser.consent_page(&fixture, &client).await;
    for (pairs, status, code) in [
        (form.decision("maybe<script>", &[]), 400, "1206"),
        (form.decision("", &[]), 400, "1206"),
        (form.decision("allow", &[("decision", "deny")]), 400, "1003"),
        (form.decision("allow", &[("csrf", "x")]), 400, "1003"),
        (vec![("csrf", form.csrf.as_str()), ("decision", "allow")], 400, "1003"),
        (vec![("request", "forged"), ("csrf", &form.csrf), ("decision", "allow")], 400, "1003"),
        (vec![("request", &client.id), ("csrf", &form.csrf), ("decision", "allow")], 400, "1003"),
    ] {
        let response = browser.post(&fixture, "/consent", &pairs).await;
        assert_eq!((response.status().as_u16(), fault(&response)), (status, code), "{pairs:?}");
        assert!(!text(&response).contains("<script"));
    }
    for media_type in ["multipart/form-data", "text/plain", "application/json", ""] {
        let request = Request::post("/consent").header(CONTENT_TYPE, media_type).header("origin", ISSUER);
        let body = Bytes::from(self::form(&form.decision("allow", &[])));
        let response = browser.send(&fixture, request.body(body).unwrap()).await;
        assert_eq!((response.status().as_u16(), fault(&response)), (415, "1205"), "{media_type}");
    }
    let query = format!("/consent?{}", self::form(&form.decision("allow", &[])));
    let shown = browser.get(&fixture, &query).await;
    assert!(text(&shown).contains("<form"), "a decision in a query is no decision");
}

/// T8: the address of the page alone proves nothing.
#[tokio::test]
async fn without_a_request_of_ours_there_is_no_page_to_answer() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let path = Browser::default().consent_page(&fixture, &client).await.path;
    for query in
        ["/consent", "/consent?request=", "/consent?request=forged", &format!("/consent?request={}", client.id)]
            .into_iter()
            .chain([format!("{path}&request=x").as_str(), &path[..path.len() - 1], &format!("{path}A")])
    {
        let response = fixture.get(query).await;
        assert_eq!((response.status().as_u16(), fault(&response)), (400, "1003"), "{query}");
        assert!(!response.headers().contains_key("set-cookie"));
    }
}

/// The operator takes a resource away while its user is on the way.
#[tokio::test]
async fn a_resource_that_is_gone_ends_what_was_begun_for_it() {
    let before = with_entra().await;
    let client = before.register("Client", REDIRECT_URI).await;
    let other = [("resource", "http://localhost:8080/other")];
    let mut browser = Browser::default();
    let form = browser.consent_page_for(&before, &client, &other).await;
    let allowed = browser.post(&before, "/consent", &form.decision("allow", &[])).await;
    let callback = before.at_entra(&onwards(&allowed)).await;
    let form = browser.consent_page_for(&before, &client, &other).await;

    let after = before.restarted(|settings| {
        let only = settings.resources.default().clone();
        settings.resources = Resources::new(&settings.public_url, vec![only]);
    });
    assert_eq!(fault(&browser.post(&after, "/consent", &form.decision("allow", &[])).await), "1101");
    assert_eq!(fault(&browser.get(&after, &callback).await), "1101");
    assert_eq!(before.token_calls(), 0);
}

#[tokio::test]
async fn a_refusal_is_told_to_the_client_and_remembered_for_ten_minutes() {
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    let form = browser.consent_page(&fixture, &client).await;
    let response = browser.post(&fixture, "/consent", &form.decision("deny", &[("remember", "yes")])).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
    let url = onwards(&response);
    assert!(url.starts_with(&format!("{REDIRECT_URI}&error=access_denied")), "{url}");
    assert_eq!((parameter(&url, "state").as_str(), parameter(&url, "iss").as_str()), ("st+te/==", ISSUER));
    assert_eq!(browser.names(), ["__Host-MCP_DENIED_CLIENTS"]);

    fixture.pass(120);
    let form = browser.consent_page(&fixture, &client).await;
    assert!(form.html.contains("You refused this application 2 minutes ago"));
    browser.post(&fixture, "/consent", &form.decision("allow", &[])).await;
    let form = browser.consent_page(&fixture, &client).await;
    assert!(!form.html.contains("You refused"), "a later yes takes the refusal back");
}

#[tokio::test]
async fn an_approval_is_remembered_for_exactly_what_was_approved() {
    let fixture = alone();
    let client = fixture.register("Client", "http://127.0.0.1:7000/cb").await;
    let twin = fixture.register("Client", "http://127.0.0.1:7000/cb").await;
    let mut browser = Browser::default();
    browser.allow(&fixture, &client, &[("remember", "yes")]).await;
    let goes_on = |response: &http::Response<Bytes>| location(response).starts_with("http://127.0.0.1:9/");

    let response = browser.get(&fixture, &authorize_path(&client, &[])).await;
    assert!(goes_on(&response), "straight to Entra");
    for (client, changed) in [
        (&twin, &[][..]),
        (&client, &[("redirect_uri", "http://127.0.0.1:7001/cb")]),
        (&client, &[("resource", "http://localhost:8080/other")]),
    ] {
        assert!(!goes_on(&browser.get(&fixture, &authorize_path(client, changed)).await), "{changed:?}");
    }
    assert!(!goes_on(&Browser::default().get(&fixture, &authorize_path(&client, &[])).await), "another browser");

    let mut tampered = Browser { cookies: browser.cookies.clone() };
    let approved = tampered.cookies.get_mut("__Host-MCP_APPROVED_CLIENTS").unwrap();
    let last = approved.pop().unwrap();
    approved.push(if last == 'A' { 'B' } else { 'A' });
    assert!(!goes_on(&tampered.get(&fixture, &authorize_path(&client, &[])).await), "a cookie of the user's making");

    fixture.pass(30 * 24 * 3600);
    assert!(!goes_on(&browser.get(&fixture, &authorize_path(&client, &[])).await), "after 30 days");
}

#[tokio::test]
async fn the_operator_may_forbid_or_force_remembering() {
    for (remember, box_shown, remembered) in [(Remember::Never, false, false), (Remember::Always, false, true)] {
        let fixture = alone_with(|settings| settings.remember = remember);
        let client = fixture.register("Client", REDIRECT_URI).await;
        let mut browser = Browser::default();
        let form = browser.consent_page(&fixture, &client).await;
        assert_eq!(form.html.contains(r#"name="remember""#), box_shown);
        browser.post(&fixture, "/consent", &form.decision("allow", &[("remember", "yes")])).await;
        let kept = browser.names().contains(&"__Host-MCP_APPROVED_CLIENTS");
        assert_eq!(kept, remembered, "{remember:?}");
    }
    let fixture = alone();
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut browser = Browser::default();
    browser.allow(&fixture, &client, &[]).await;
    assert!(!browser.names().contains(&"__Host-MCP_APPROVED_CLIENTS"), "without a tick nothing is remembered");
}
