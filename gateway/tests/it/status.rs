//! The status page: what an operator sees there, and that its buttons work from the page and from nowhere else.

use http::header::{CONTENT_TYPE, HOST, LOCATION, ORIGIN};
use reqwest::{RequestBuilder, Response};

use crate::support::browser::http_client;
use crate::support::gateway::Gateway;
use crate::support::journey::{ADELE, ALEX, Client};
use crate::support::upstream::Upstream;

struct Shown {
    html: String,
    token: String,
    /// Of the sessions, newest first.
    ids: Vec<String>,
}

async fn look(gateway: &Gateway) -> Shown {
    let answer = http_client().get(gateway.admin_url("/status")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let html = answer.text().await.unwrap();
    let values = |name: &str| {
        let start = format!("name=\"{name}\" value=\"");
        let after = html.split(&start).skip(1);
        after.map(|rest| rest.split('"').next().unwrap().replace("&#43;", "+")).collect::<Vec<_>>()
    };
    let (token, ids) = (values("token").first().cloned().unwrap_or_default(), values("session"));
    Shown { html, token, ids }
}

fn post(gateway: &Gateway, token: &str, session: &str) -> RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .append_pair("session", session)
        .finish();
    let form = "application/x-www-form-urlencoded";
    http_client().post(gateway.admin_url("/status/revoke")).header(CONTENT_TYPE, form).body(body)
}

fn from_the_page(gateway: &Gateway, request: RequestBuilder) -> RequestBuilder {
    request.header(ORIGIN, gateway.admin_url(""))
}

async fn call(gateway: &Gateway, token: &str) -> u16 {
    let answer = http_client().post(gateway.url("/mcp")).bearer_auth(token).body("{}").send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn the_page_tells_how_it_is_and_shows_no_secret() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    assert!(look(&gateway).await.html.contains("Nobody is signed in."));
    let client = Client::register(&gateway).await;
    let token = client.token(&gateway, ADELE).await;
    assert_eq!((call(&gateway, &token).await, call(&gateway, "sp1_at_x").await), (200, 401));
    let shown = look(&gateway).await;
    for text in
        [&upstream.url, "serving", ADELE, "Requests a second", "Requests refused, by reason", "malformed", "polyline"]
    {
        assert!(shown.html.contains(text), "{text:?} is missing in {}", shown.html);
    }
    for secret in [&*token, "sp1_", "eyJ", "<script"] {
        assert!(!shown.html.contains(secret), "{secret:?} is in {}", shown.html);
    }
    assert_eq!(shown.ids.len(), 1);
}

#[tokio::test]
async fn of_many_sessions_the_newest_are_shown() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    for _ in 0..150 {
        client.token(&gateway, ADELE).await;
    }
    // When a session began is told in seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    client.token(&gateway, ALEX).await;
    let shown = look(&gateway).await;
    assert_eq!(shown.ids.len(), 50);
    assert!(shown.html.contains("There are more"), "{}", shown.html);
    let first = shown.html.split("<tbody>").last().unwrap().split("</tr>").next().unwrap();
    assert!(first.contains(ALEX), "{first}");
}

#[tokio::test]
async fn a_button_ends_the_session_that_it_stands_beside() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let client = Client::register(&gateway).await;
    let (adele, alex) = (client.token(&gateway, ADELE).await, client.token(&gateway, ALEX).await);
    let shown = look(&gateway).await;
    let of_adele = shown.html.split("<tr>").find(|row| row.contains(ADELE)).unwrap();
    let id = shown.ids.iter().find(|id| of_adele.contains(*id)).unwrap();
    let answer = from_the_page(&gateway, post(&gateway, &shown.token, id)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()[LOCATION].to_str().unwrap()), (303, "/status"));
    assert_eq!((call(&gateway, &adele).await, call(&gateway, &alex).await), (401, 200));
    assert_eq!(look(&gateway).await.ids.len(), 1);
}

/// Another page in an operator's browser, a name that was pointed here, or a program that guesses.
#[tokio::test]
async fn from_anywhere_else_a_button_ends_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let token = Client::register(&gateway).await.token(&gateway, ADELE).await;
    let shown = look(&gateway).await;
    let (good, id) = (shown.token.as_str(), shown.ids[0].as_str());
    let status = |answer: Response| answer.status().as_u16();
    let own = gateway.admin_url("");
    let tried = [
        (post(&gateway, good, id), 403),
        (post(&gateway, good, id).header(ORIGIN, "http://evil.example"), 403),
        (post(&gateway, good, id).header(ORIGIN, "null"), 403),
        (post(&gateway, good, id).header(ORIGIN, &own).header(ORIGIN, "http://evil.example"), 403),
        (from_the_page(&gateway, post(&gateway, good, id)).header("sec-fetch-site", "cross-site"), 403),
        (from_the_page(&gateway, post(&gateway, "", id)), 403),
        (from_the_page(&gateway, post(&gateway, &good.to_lowercase(), id)), 403),
        (post(&gateway, good, id).header(HOST, "evil.example").header(ORIGIN, "http://evil.example"), 421),
        (from_the_page(&gateway, post(&gateway, good, "")), 400),
        (from_the_page(&gateway, post(&gateway, good, "ffffffffffffffff")), 303),
    ];
    for (number, (request, expected)) in tried.into_iter().enumerate() {
        assert_eq!(status(request.send().await.unwrap()), expected, "attempt {number}");
    }
    let foreign = http_client().get(gateway.admin_url("/status")).header("sec-fetch-site", "cross-site");
    assert_eq!(status(foreign.send().await.unwrap()), 403);
    assert_eq!(call(&gateway, &token).await, 200);
}
