//! Strangers' texts by the hundred: redirect URIs, names, reloads and registrations.

use std::collections::BTreeSet;

use http::header::LOCATION;
use serde::Deserialize;

use super::support::*;

/// What may become of a redirect URI at a client that has registered the first six of `matching`.
#[derive(Deserialize)]
struct RedirectUris {
    /// Its own, and its own with another port on loopback.
    #[serde(rename = "match")]
    matching: Vec<String>,
    /// Good ones that are not its own.
    other: Vec<String>,
    /// Nobody's.
    never: Vec<String>,
}

fn redirect_uris() -> RedirectUris {
    serde_json::from_str(include_str!("../../../tests/corpus/redirect-uris.json")).unwrap()
}

fn names() -> Vec<String> {
    serde_json::from_str(include_str!("../../../tests/corpus/client-names.json")).unwrap()
}

async fn client_of(fixture: &Fixture, uris: &RedirectUris) -> String {
    let body = serde_json::json!({ "redirect_uris": &uris.matching[..6] }).to_string();
    json(&fixture.post_json("/register", &body).await)["client_id"].as_str().unwrap().to_owned()
}

/// T7, T8: what is accepted is exactly the golden list, and what is not gets a page and never a redirect.
#[tokio::test]
async fn of_300_redirect_uris_just_the_clients_own_are_accepted() {
    let fixture = alone();
    let uris = redirect_uris();
    let all: Vec<&String> = uris.matching.iter().chain(&uris.other).chain(&uris.never).collect();
    assert!(all.len() >= 300, "{}", all.len());
    let id = client_of(&fixture, &uris).await;
    let mut accepted = BTreeSet::new();
    for uri in all {
        let client = Client { id: id.clone(), redirect_uri: uri.clone() };
        let response = fixture.get(&authorize_path(&client, &[])).await;
        match response.status().as_u16() {
            303 => {
                assert!(location(&response).starts_with(&format!("{ISSUER}/consent?request=")), "{uri:?}");
                accepted.insert(uri.as_str());
            }
            400 => {
                assert!(["1002", "1003"].contains(&fault(&response)), "{uri:?}");
                assert!(uri.len() < 20 || !text(&response).contains(uri), "{uri:?} is not echoed");
            }
            status => panic!("{status} for {uri:?}"),
        }
        // Whatever else is wrong with the request: an error goes to the client's own address or to nobody. To a web site that
        // registered itself it does not even go by itself.
        let broken = fixture.get(&authorize_path(&client, &[("response_type", "token"), ("code_challenge", "")])).await;
        let told = match broken.headers().contains_key(LOCATION) {
            true => Some(location(&broken)).filter(|url| !url.starts_with("https:")),
            false => offered(&broken).filter(|url| url.starts_with("https:")),
        };
        assert_eq!(told.is_some(), accepted.contains(uri.as_str()), "{uri:?}");
        assert!(told.is_none_or(|url| url.starts_with(uri)), "{uri:?}");
    }
    assert_eq!(accepted, uris.matching.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn of_300_redirect_uris_just_the_good_ones_are_registered() {
    let fixture = alone();
    let uris = redirect_uris();
    for (list, good) in [(&uris.matching, true), (&uris.other, true), (&uris.never, false)] {
        for uri in list {
            let body = serde_json::json!({ "redirect_uris": [uri] }).to_string();
            let response = fixture.post_json("/register", &body).await;
            if good {
                assert_eq!(json(&response)["redirect_uris"], serde_json::json!([uri]));
            } else {
                assert_eq!(json(&response)["error"], "invalid_redirect_uri", "{uri:?}");
                assert_eq!(response.status(), 400, "{uri:?}");
            }
        }
    }
}

/// T6: whatever a client calls itself, the page is the same page with that text in one place.
#[tokio::test]
async fn five_hundred_hostile_names_are_text_and_nothing_else() {
    let fixture = alone();
    let names = names();
    assert!(names.len() >= 500, "{}", names.len());
    let page = async |name: &str| {
        let body = serde_json::json!({ "client_name": name, "redirect_uris": [REDIRECT_URI] }).to_string();
        let registered = json(&fixture.post_json("/register", &body).await);
        let id = registered["client_id"].as_str().unwrap().to_owned();
        let client = Client { id, redirect_uri: REDIRECT_URI.to_owned() };
        let form = Browser::default().consent_page(&fixture, &client).await;
        let html = form.html.replace(&form.request, "[request]").replace(&form.csrf, "[csrf]");
        (registered["client_name"].as_str().unwrap().to_owned(), html)
    };
    let (_, plain) = page("PLACEHOLDER").await;
    assert_eq!(plain.matches("PLACEHOLDER").count(), 1);
    for name in names {
        let (shown, html) = page(&name).await;
        assert!((1..=128).contains(&shown.chars().count()), "{name:?}");
        assert!(!shown.chars().any(|character| character.is_control()), "{name:?}");
        for invisible in
            ['\u{200b}', '\u{200e}', '\u{202e}', '\u{2028}', '\u{2066}', '\u{feff}', '\u{e0041}', '\u{e000}']
        {
            assert!(!shown.contains(invisible), "{name:?}");
        }

        let is_mark = |character: char| matches!(character, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{e48}'..='\u{e4e}' | '\u{f71}' | '\u{20d0}'..='\u{20f0}');
        assert!(shown.split(|character| !is_mark(character)).all(|run| run.chars().count() <= 4), "{name:?}");
        assert_eq!(html, plain.replace("PLACEHOLDER", &escaped(&shown)), "{name:?}");
    }
}

/// What an HTML parser must read back as the text.
fn escaped(text: &str) -> String {
    let mut html = String::new();
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '"' | '\'' => html.push_str(&format!("&#{};", u32::from(character))),
            other => html.push(other),
        }
    }
    html
}

/// T4, S3: a browser that reloads for ever is not locked out by its own cookies.
#[tokio::test]
async fn fifty_reloads_leave_headers_small_and_the_last_page_good() {
    let fixture = alone();
    let mut browser = Browser::default();
    for number in 0..25 {
        let client = fixture.register(&format!("{number} {}", "ü".repeat(100)), REDIRECT_URI).await;
        browser.allow(&fixture, &client, &[("remember", "yes")]).await;
    }
    let client = fixture.register("Client", REDIRECT_URI).await;
    let mut largest = 0;
    let mut form = browser.consent_page(&fixture, &client).await;
    for _ in 0..50 {
        fixture.pass(1);
        form = browser.consent_page(&fixture, &client).await;
        for _ in 0..2 {
            assert_eq!(browser.get(&fixture, &form.path).await.status(), 200);
        }
        let header: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
        largest = largest.max(header);
    }
    assert!(largest < 6000, "{largest} bytes");
    assert_eq!(browser.post(&fixture, "/consent", &form.decision("allow", &[])).await.status(), 200);
}

/// T18: a registration is in its client's hands and nowhere else, however many are offered.
#[tokio::test]
async fn registrations_and_requests_leave_nothing_behind() {
    flood(100_000).await;
}

/// Likewise, with the figures for the documentation. `make flood` runs it alone in its process, whose memory it measures.
#[tokio::test]
#[ignore = "measures the memory of its process: make flood"]
async fn a_million_registrations_leave_memory_as_it_was() {
    let (before, after) = flood(1_000_000).await;
    let grown = after.saturating_sub(before);
    eprintln!("1000000 registrations: resident memory {before} KiB before, {after} KiB after, {grown} KiB more");
    assert!(grown < 8 * 1024, "{grown} KiB more");
}

/// Offers so many registrations, good and bad ones, with requests of some of them between. Then what was registered first
/// and last still works. Gives the resident memory before and after, in KiB.
async fn flood(registrations: u32) -> (u64, u64) {
    let fixture = alone();
    let mut client = fixture.register("First", REDIRECT_URI).await;
    let first = client.clone();
    let mut before = 0;
    for number in 0..registrations {
        // The first tenth fills what is filled once, such as the allocator's arenas.
        if number == registrations / 10 {
            before = resident_memory();
        }
        client = fixture.register(&number.to_string(), REDIRECT_URI).await;
        if number % 100 == 0 {
            let bad = format!(r#"{{"client_name":"{number}","redirect_uris":["http://{number}.example/"]}}"#);
            assert_eq!(fixture.post_json("/register", &bad).await.status(), 400);
            assert_eq!(fixture.get(&authorize_path(&client, &[])).await.status(), 303);
            let refresh = fixture.refresh(&client, &format!("sp1_rt_{number}")).await;
            assert_eq!(refresh.status(), 400);
        }
    }
    let after = resident_memory();
    for client in [&first, &client] {
        let mut browser = Browser::default();
        for _ in 0..100 {
            browser.consent_page(&fixture, client).await;
        }
    }
    assert_eq!(fixture.store.calls(), 0, "the store was not even asked");
    (before, after)
}

fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
}
