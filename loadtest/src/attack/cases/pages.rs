//! What pages do with other people's text.

use serde_json::json;

use crate::attack::case::{Case, Outcome, Severity, advice, none_of, pass};
use crate::attack::http::{Answer, Request};
use crate::attack::person::Person;
use crate::attack::subject::{Proof, REDIRECT_URI, Subject, registered, with};

pub fn cases() -> Vec<Case> {
    use Severity::{High, Low, Medium};
    vec![
        Case {
            id: "P1",
            severity: High,
            tried: "markup in every parameter, on pages and error pages",
            source: "RFC 9700 4.16; T6",
            run: |s| Box::pin(parameters(s)),
        },
        Case {
            id: "P2",
            severity: High,
            tried: "markup in a client's name, addresses and scopes, on the consent page",
            source: "RFC 7591 5; T6",
            run: |s| Box::pin(names(s)),
        },
        Case {
            id: "P3",
            severity: Medium,
            tried: "a name that turns its line around or hides letters",
            source: "CVE-2021-42574 (bidirectional text); T6",
            run: |s| Box::pin(directions(s)),
        },
        Case {
            id: "P4",
            severity: Medium,
            tried: "nothing on a consent page is loaded from where a client says",
            source: "RFC 9700 4.2.4 (third-party content MUST NOT); T6, T24",
            run: |s| Box::pin(foreign(s)),
        },
        Case {
            id: "P5",
            severity: Low,
            tried: "pages of the sign-in stay out of caches and referrers",
            source: "RFC 9700 4.2.4 (SHOULD); T24",
            run: |s| Box::pin(headers(s)),
        },
    ]
}

/// Raw, in a page that a browser reads as markup.
fn runs(answer: &Answer) -> bool {
    let kind = answer.header("content-type").unwrap_or_default();
    let sniffed = kind.is_empty() && answer.header("x-content-type-options") != Some("nosniff");
    let html = kind.contains("html") || kind.contains("svg") || sniffed;
    let text = answer.text();
    html && MARKUP.iter().any(|markup| text.contains(markup))
}

async fn parameters(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let good = s.parameters(&client, &Proof::new());
    let (mut found, mut tried) = (Vec::new(), 0);
    for (name, _) in good.iter().chain(&[("scope", String::new()), ("error", String::new())]) {
        for markup in MARKUP {
            tried += 1;
            let page = s.ask(&mut Person::default(), &with(good.clone(), &[(name, markup.to_owned())])).await;
            if runs(&page?.answer) {
                found.push(format!("{name} of a request"));
            }
        }
    }
    let authorize = s.endpoint("authorization_endpoint")?;
    let mut urls = vec![authorize.clone()];
    for path in ["/callback", "/oauth-callback", "/auth/callback", "/consent", "/register", "/token", "/nothing"] {
        urls.extend(authorize.join(path).ok());
    }
    for url in urls {
        for markup in MARKUP {
            let mut with_query = url.clone();
            let names = ["code", "state", "error", "error_description", "txn_id", "request", "client_id"];
            with_query.query_pairs_mut().extend_pairs(names.map(|name| (name, markup)));
            tried += 2;
            if runs(&s.client.send(&Request::get(&with_query).with("Accept", "text/html")).await?) {
                found.push(format!("the query at {}", url.path()));
            }
            let mut below = url.clone();
            below.set_path(&format!("{}/{markup}", url.path()));
            if runs(&s.client.send(&Request::get(&below).with("Accept", "text/html")).await?) {
                found.push(format!("the path below {}", url.path()));
            }
        }
    }
    found.dedup();
    none_of(&found, format!("{tried} requests, none reflected as markup"))
}

async fn names(s: &Subject) -> Outcome {
    let (mut found, mut tried, mut refused) = (Vec::new(), 0, 0);
    for markup in MARKUP {
        let url = format!("https://client.example/{markup}");
        for more in [
            json!({"client_name": markup}),
            json!({"client_uri": url, "logo_uri": url, "policy_uri": url, "tos_uri": url}),
            json!({"client_name": "x", "scope": markup, "software_id": markup}),
        ] {
            tried += 1;
            let answer = s.offer(json!([REDIRECT_URI]), more.clone()).await?;
            let Some(client) = registered(&answer, REDIRECT_URI) else {
                refused += 1;
                continue;
            };
            let page = s.ask(&mut Person::default(), &s.parameters(&client, &Proof::new())).await?;
            if runs(&page.answer) {
                found.push(format!("{more} is markup"));
            }
        }
    }
    none_of(&found, format!("{tried} clients, {refused} refused, of the others none is markup"))
}

async fn directions(s: &Subject) -> Outcome {
    let mut found = Vec::new();
    for (what, letter) in DECEIVING {
        let answer = s.offer(json!([REDIRECT_URI]), json!({"client_name": format!("Bank{letter}knaB")})).await?;
        let Some(client) = registered(&answer, REDIRECT_URI) else { continue };
        let page = s.consent(&mut Person::default(), &client, &Proof::new()).await?;
        let text = page.answer.text();
        if text.contains(&format!("Bank{letter}knaB")) {
            found.push(what);
        }
    }
    if found.is_empty() {
        pass("refused, or shown without it")
    } else {
        advice(format!("shown as it is: {}", found.join(", ")))
    }
}

async fn foreign(s: &Subject) -> Outcome {
    let client = s
        .register_at(
            REDIRECT_URI,
            json!({"logo_uri": "https://attacker.example/logo.png", "client_uri": "https://attacker.example/"}),
        )
        .await?;
    let page = s.consent(&mut Person::default(), &client, &Proof::new()).await?;
    let text = page.answer.text().to_ascii_lowercase();
    let found: Vec<_> =
        ["src=\"https://attacker.example", "src='https://attacker.example", "url(https://attacker.example"]
            .iter()
            .filter(|loaded| text.contains(*loaded))
            .map(|loaded| (*loaded).to_owned())
            .collect();
    none_of(&found, "nothing")
}

async fn headers(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let page = s.consent(&mut Person::default(), &client, &Proof::new()).await?;
    let answer = &page.answer;
    let mut lacking = Vec::new();
    if answer.may_be_kept() {
        lacking.push("Cache-Control: no-store");
    }
    let referrer = answer.header("referrer-policy").unwrap_or_default();
    let in_page = answer.text().contains("name=\"referrer\"");
    if !["no-referrer", "same-origin", "strict-origin", "origin"].contains(&referrer) && !in_page {
        lacking.push("Referrer-Policy");
    }
    if answer.header("x-content-type-options") != Some("nosniff") {
        lacking.push("X-Content-Type-Options");
    }
    if answer.header("content-security-policy").is_none() && !answer.text().contains("Content-Security-Policy") {
        lacking.push("Content-Security-Policy");
    }
    if lacking.is_empty() { pass("all there") } else { advice(format!("without {}", lacking.join(", "))) }
}

const MARKUP: [&str; 3] =
    ["\"><script>canary(1)</script>", "'><img src=x onerror=canary(1)>", "</title><svg onload=canary(1)>"];
const DECEIVING: [(&str, char); 6] = [
    ("U+202E right-to-left override", '\u{202e}'),
    ("U+2066 isolate", '\u{2066}'),
    ("U+200B zero width space", '\u{200b}'),
    ("U+0000", '\u{0}'),
    ("U+001B escape", '\u{1b}'),
    ("U+E0041 tag", '\u{e0041}'),
];
