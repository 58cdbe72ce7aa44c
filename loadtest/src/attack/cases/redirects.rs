//! Where answers may go: to the letter where the client said.

use serde_json::json;
use url::Url;

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, pass};
use crate::attack::http::Trouble;
use crate::attack::is_loopback;
use crate::attack::person::{Page, Person};
use crate::attack::subject::{Proof, REDIRECT_URI, Registered, Subject, registered, with};

/// What Sallyport's own tests go through; what belongs to the client below is told from the rest here.
const CORPUS: &str = include_str!("../../../../gateway/tests/corpus/redirect-uris.json");
const REGISTERED: [&str; 5] = [
    "https://client.example/cb",
    "https://client.example:8443/cb?x=1",
    "http://127.0.0.1:33418/cb",
    "http://localhost/oauth/callback",
    "http://[::1]:8080/",
];

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Low};
    vec![
        Case {
            id: "U1",
            severity: Critical,
            tried: "300 redirect URIs that lead elsewhere than those registered",
            source: "RFC 9700 2.1, 4.1; CVE-2025-4143; T7",
            run: |s| Box::pin(elsewhere(s)),
        },
        Case {
            id: "U2",
            severity: Low,
            tried: "other spellings of a registered redirect URI",
            source: "RFC 9700 2.1 (exact string matching); T7",
            run: |s| Box::pin(spellings(s)),
        },
        Case {
            id: "U3",
            severity: High,
            tried: "errors that redirect before client and redirect URI are proven",
            source: "RFC 6749 4.1.2.1; RFC 9700 4.11; T8, S2",
            run: |s| Box::pin(errors(s)),
        },
        Case {
            id: "U4",
            severity: High,
            tried: "two client ids, two redirect URIs in one request",
            source: "RFC 6749 3.1; T7",
            run: |s| Box::pin(doubles(s)),
        },
        Case {
            id: "U5",
            severity: High,
            tried: "the redirect URI of another client",
            source: "RFC 6749 3.1.2.3; T7",
            run: |s| Box::pin(of_another(s)),
        },
    ]
}

/// What of the corpus a client gets through with: other destinations, and other spellings of its own.
async fn accepted(s: &Subject) -> Result<(Vec<String>, Vec<String>, usize), Trouble> {
    let answer = s.offer(json!(REGISTERED), json!({})).await?;
    let client = registered(&answer, REGISTERED[0]);
    let client = client.ok_or_else(|| Trouble::Unable(format!("registration of five: {}", answer.status)))?;
    let corpus: serde_json::Value = serde_json::from_str(CORPUS).unwrap_or_default();
    let lists = ["other", "never"].map(|list| corpus[list].as_array());
    let others = lists.into_iter().flatten().flatten().filter_map(|uri| uri.as_str());
    let others: Vec<_> = others.filter(|uri| !REGISTERED.iter().any(|own| differs_by_port(own, uri))).collect();
    let own: Vec<_> = REGISTERED.iter().filter_map(|uri| Url::parse(uri).ok()).collect();
    let (mut elsewhere, mut spellings) = (Vec::new(), Vec::new());
    for uri in &others {
        if refuses(s, &client, uri).await? {
            continue;
        }
        let same = Url::parse(uri).is_ok_and(|url| own.iter().any(|own| same_place(own, &url)));
        if same { &mut spellings } else { &mut elsewhere }.push((*uri).to_owned());
    }
    Ok((elsewhere, spellings, others.len()))
}

/// Not at all, or by the port of loopback, which a program chooses anew each time (RFC 8252 7.3).
fn differs_by_port(own: &str, other: &str) -> bool {
    let without_port = |uri: &str| {
        let url = Url::parse(uri).ok().filter(|url| url.scheme() == "http" && is_loopback(url))?;
        // 80 as well, which a URL does not keep.
        let port = url.port_or_known_default().map(|port| format!(":{port}/"))?;
        Some(uri.replacen(&port, "/", 1))
    };
    own == other || without_port(own).is_some_and(|own| without_port(other) == Some(own))
}

/// As browsers read them, but for that port; a query that is empty is none, and a fragment leads nowhere else.
fn same_place(own: &Url, other: &Url) -> bool {
    let (mut own, mut other) = (own.clone(), other.clone());
    other.set_fragment(None);
    if other.query() == Some("") {
        other.set_query(None);
    }
    if own.scheme() == "http" && is_loopback(&own) {
        // Only what cannot have a port fails.
        let _ = (own.set_port(None), other.set_port(None));
    }
    own == other
}

async fn refuses(s: &Subject, client: &Registered, uri: &str) -> Result<bool, Trouble> {
    let parameters = with(s.parameters(client, &Proof::new()), &[("redirect_uri", uri.to_owned())]);
    let page = Person::default().open(&s.client, &s.authorize(&parameters)?).await?;
    Ok(page.answer.status >= 400)
}

async fn elsewhere(s: &Subject) -> Outcome {
    let (elsewhere, _, tried) = accepted(s).await?;
    none_of(&elsewhere, format!("{tried} tried, none accepted that leads elsewhere"))
}

async fn spellings(s: &Subject) -> Outcome {
    let (_, spellings, _) = accepted(s).await?;
    none_of(&spellings, "none accepted")
}

async fn errors(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let evil = "https://attacker.example/cb";
    let unknown = Registered { id: "nobody".to_owned(), ..client.clone() };
    let mut found = Vec::new();
    for (name, client, instead) in [
        ("unknown client", &unknown, vec![]),
        ("foreign redirect URI", &client, vec![]),
        ("no response_type", &client, vec![("response_type", String::new())]),
        ("response_type=token", &client, vec![("response_type", "token".to_owned())]),
        ("no challenge", &client, vec![("code_challenge", String::new())]),
        ("bad scope", &client, vec![("scope", "\u{0}bad".to_owned())]),
        ("bad resource", &client, vec![("resource", "nonsense".to_owned())]),
        ("prompt=none", &client, vec![("prompt", "none".to_owned())]),
        ("no client", &client, vec![("client_id", String::new())]),
    ] {
        let instead: Vec<_> = instead.into_iter().chain([("redirect_uri", evil.to_owned())]).collect();
        let parameters = with(s.parameters(client, &Proof::new()), &instead);
        let page = Person::default().open(&s.client, &s.authorize(&parameters)?).await?;
        if leads_to(&page, "attacker.example") {
            found.push(format!("{name}: leads to the attacker"));
        } else if name == "foreign redirect URI" && page.answer.status < 400 {
            found.push(format!("{name}: {}", page.answer.status));
        }
    }
    none_of(&found, "nine mistakes, none leads to an unproven address")
}

fn leads_to(page: &Page, host: &str) -> bool {
    page.leads_to().is_some_and(|url| url.host_str() == Some(host))
}

async fn doubles(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let evil = "https://attacker.example/cb".to_owned();
    let attacker = s.register_at(&evil, json!({})).await?;
    let good = s.parameters(&client, &Proof::new());
    let mut found = Vec::new();
    let mut mixed = 0;
    for (name, value) in [("redirect_uri", evil), ("client_id", attacker.id)] {
        for first in [true, false] {
            let mut parameters = good.clone();
            parameters.insert(if first { 0 } else { parameters.len() }, (name, value.clone()));
            let page = s.ask(&mut Person::default(), &parameters).await?;
            // A page that names the attacker's address for the victim's client.
            let shown = page.answer.status < 400 && page.answer.text().contains("attacker.example");
            if leads_to(&page, "attacker.example") || shown {
                found.push(format!("the second {name} counts, {}", if first { "put first" } else { "put last" }));
            }
            mixed += usize::from(page.answer.status < 400);
        }
    }
    match mixed {
        0 => none_of(&found, "four requests, all refused"),
        _ if !found.is_empty() => fail(found.join("; ")),
        _ => advice(format!("{mixed} of four are taken, by one reading; none leads to the attacker")),
    }
}

async fn of_another(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let other = s.register_at("https://other.example/cb", json!({})).await?;
    let (there, here) = (refuses(s, &client, &other.redirect_uri).await?, refuses(s, &other, REDIRECT_URI).await?);
    if there && here { pass("refused in both directions") } else { fail("accepted") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_loopback_may_differ_and_nothing_else() {
        assert!(differs_by_port("http://localhost/oauth/callback", "http://localhost:1/oauth/callback"));
        assert!(differs_by_port("http://127.0.0.1:33418/cb", "http://127.0.0.1/cb"));
        assert!(differs_by_port("http://127.0.0.1:33418/cb", "http://127.0.0.1:80/cb"));
        assert!(!differs_by_port("http://127.0.0.1:33418/cb", "http://127.0.0.1:1/cb?"));
        assert!(!differs_by_port("http://127.0.0.1:33418/cb", "http://localhost:1/cb"));
        assert!(!differs_by_port("https://client.example/cb", "https://client.example:444/cb"));
    }

    #[test]
    fn another_spelling_is_no_other_place() {
        let same = |own: &str, other: &str| same_place(&Url::parse(own).unwrap(), &Url::parse(other).unwrap());
        assert!(same("https://client.example/cb", "HTTPS://CLIENT.example:443/cb?#"));
        assert!(same("http://127.0.0.1:33418/cb", "http://2130706433/x/../cb"));
        assert!(!same("https://client.example/cb", "https://client.example/cb/"));
        assert!(!same("https://client.example/cb", "https://client.example@evil.example/cb"));
    }
}
