//! Whether a person is asked, by a page that nobody can answer for them.

use url::Url;

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, not_applicable, pass};
use crate::attack::http::{Request, Trouble};
use crate::attack::person::{Page, Person};
use crate::attack::subject::{Onward, Proof, REDIRECT_URI, Subject, query, random_text};
use crate::sign_in::page::Form;

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Low, Medium};
    vec![
        Case {
            id: "C1",
            severity: Critical,
            tried: "a new client gets to the identity provider without anybody being asked",
            source: "MCP security best practices (confused deputy); T2, T3",
            run: |s| Box::pin(asked(s)),
        },
        Case {
            id: "C2",
            severity: High,
            tried: "a client inherits what another, or another redirect URI, was allowed",
            source: "MCP security best practices (consent per client); T2",
            run: |s| Box::pin(inherited(s)),
        },
        Case {
            id: "C3",
            severity: Medium,
            tried: "the page says who asks and where the answer goes",
            source: "MCP security best practices (consent UI); T3",
            run: |s| Box::pin(says(s)),
        },
        Case {
            id: "C4",
            severity: High,
            tried: "the page in a frame of another site",
            source: "RFC 9700 4.16; MCP security best practices (consent UI); T5",
            run: |s| Box::pin(framed(s)),
        },
        Case {
            id: "C5",
            severity: Critical,
            tried: "another site says yes: without the page's secret, with another's, without its cookie",
            source: "MCP security best practices (consent CSRF); T4",
            run: |s| Box::pin(forged(s)),
        },
        Case {
            id: "C6",
            severity: High,
            tried: "a link says yes (GET with the form's fields)",
            source: "RFC 9110 9.2.1; T4, S4",
            run: |s| Box::pin(by_link(s)),
        },
        Case {
            id: "C7",
            severity: Medium,
            tried: "cookies of the sign-in out of reach of scripts and other sites",
            source: "MCP security best practices (cookies); T1",
            run: |s| Box::pin(cookies(s)),
        },
        Case {
            id: "C8",
            severity: Low,
            tried: "a no is told to the client, with its state",
            source: "RFC 6749 4.1.2.1; S16",
            run: |s| Box::pin(refused(s)),
        },
        Case {
            id: "C9",
            severity: Medium,
            tried: "a form's answer is sent on to the identity provider (307, 308)",
            source: "RFC 9700 4.12; T23",
            run: |s| Box::pin(sent_on(s)),
        },
    ]
}

async fn asked(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let mut person = Person::default();
    let page = s.ask(&mut person, &s.parameters(&client, &Proof::new())).await?;
    if let Some((_, button)) = page.form(&s.buttons.allow) {
        return pass(format!("a page with the button {button}"));
    }
    match page.leads_to() {
        Some(next) => fail(format!("sent on to {} at once", next.origin().ascii_serialization())),
        None => Err(Trouble::Unable(format!("a page of {} without a button to allow (--allow)", page.answer.status))),
    }
}

/// The browser of somebody who allowed one client, and signed in.
async fn inherited(s: &Subject) -> Outcome {
    let granted = s.grant(0).await?;
    let mut found = Vec::new();
    let other = s.register().await?;
    let elsewhere = s.register_at("http://127.0.0.1:33418/elsewhere", serde_json::json!({})).await?;
    for (name, client) in [("another client", other), ("a client with another redirect URI", elsewhere)] {
        let page = s.ask(&mut granted.person.clone(), &s.parameters(&client, &Proof::new())).await?;
        if page.form(&s.buttons.allow).is_none() && page.answer.status < 400 {
            found.push(format!("{name} is not asked for"));
        }
    }
    none_of(&found, "two others, both are asked for")
}

async fn says(s: &Subject) -> Outcome {
    let more = serde_json::json!({"client_name": "Canary Client"});
    let client = s.register_at("https://client.example/canary", more).await?;
    let page = s.consent(&mut Person::default(), &client, &Proof::new()).await?;
    let text = page.answer.text();
    let mut lacking = Vec::new();
    if !text.contains("Canary Client") {
        lacking.push("the client's name is not there".to_owned());
    }
    if !text.contains("client.example") {
        lacking.push("where the answer goes is not there".to_owned());
    }
    none_of(&lacking, "name and host are there")
}

async fn framed(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let page = s.consent(&mut Person::default(), &client, &Proof::new()).await?;
    let policy = page.answer.header("content-security-policy").unwrap_or_default();
    let ancestors = policy.split(';').map(str::trim).find(|directive| directive.starts_with("frame-ancestors"));
    let old = page.answer.header("x-frame-options").unwrap_or_default().to_ascii_uppercase();
    match ancestors {
        Some("frame-ancestors 'none'" | "frame-ancestors 'self'") => pass(ancestors.unwrap_or_default()),
        _ if ["DENY", "SAMEORIGIN"].contains(&old.as_str()) => pass(format!("X-Frame-Options: {old}")),
        _ => {
            fail("neither frame-ancestors nor X-Frame-Options (a policy in the page itself does not count for frames)")
        }
    }
}

/// Whether what came of a forged yes is a yes.
async fn said_yes(s: &Subject, person: &mut Person, page: Page) -> bool {
    if page.answer.status >= 400 || page.form(&s.buttons.allow).is_some() {
        return false;
    }
    match s.onward(person, page).await {
        Ok(Onward::Provider(_)) => true,
        Ok(Onward::Client(url)) => query(&url, "code").is_some(),
        Err(_) => false,
    }
}

async fn forged(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let mut found = Vec::new();
    let mut tried = 0;
    let new_page = async || {
        let mut person = Person::default();
        let page = s.consent(&mut person, &client, &Proof::new()).await?;
        let (form, button) = page.form(&s.buttons.allow).ok_or(Trouble::NoAnswer)?;
        let button = button.to_owned();
        Ok::<_, Trouble>((person, page, form, button))
    };
    let (_, _, form, _) = new_page().await?;
    let secrets: Vec<_> =
        form.fields.iter().filter(|(_, value)| value.len() >= 16).map(|(name, _)| name.clone()).collect();
    let (_, _, others, _) = new_page().await?;
    for name in &secrets {
        for how in ["left out", "made up", "of another page"] {
            let (mut person, page, mut form, button) = new_page().await?;
            change(&mut form, name, how, &others);
            tried += 1;
            let answer = person.press(&s.client, &page, &form, &button).await?;
            if said_yes(s, &mut person, answer).await {
                found.push(format!("{name} {how}"));
            }
        }
    }
    // The whole form, from a browser that was never shown it: what an attacker makes a victim send.
    let (_, page, form, button) = new_page().await?;
    let mut victim = Person::default();
    tried += 1;
    let answer = victim.press(&s.client, &page, &form, &button).await?;
    if said_yes(s, &mut victim, answer).await {
        found.push("a browser without the page's cookies".to_owned());
    }
    // The same, from a browser with cookies of a page of its own.
    let (mut victim, ..) = new_page().await?;
    tried += 1;
    let answer = victim.press(&s.client, &page, &form, &button).await?;
    if said_yes(s, &mut victim, answer).await {
        found.push("a browser with the cookies of another page".to_owned());
    }
    none_of(&found, format!("{tried} forged answers, none counts"))
}

fn change(form: &mut Form, name: &str, how: &str, others: &Form) {
    let other = others.fields.iter().find(|(its, _)| its == name).map(|(_, value)| value.clone());
    match how {
        "left out" => form.fields.retain(|(its, _)| its != name),
        _ => {
            let value = if how == "made up" { random_text() } else { other.unwrap_or_default() };
            for (_, old) in form.fields.iter_mut().filter(|(its, _)| its == name) {
                old.clone_from(&value);
            }
        }
    }
}

async fn by_link(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let mut person = Person::default();
    let page = s.consent(&mut person, &client, &Proof::new()).await?;
    let Some((form, button)) = page.form(&s.buttons.allow) else { return not_applicable("no form") };
    let post = page.submit(&form, button)?;
    let mut url: Url = post.url.clone();
    let fields = String::from_utf8_lossy(&post.body).into_owned();
    let query = [url.query().unwrap_or_default(), &fields].join("&");
    url.set_query(Some(query.trim_start_matches('&')));
    let answer = person.load(&s.client, Request::get(&url).with("Sec-Fetch-Site", "cross-site")).await?;
    let status = answer.answer.status;
    if said_yes(s, &mut person, answer).await {
        fail("the link counts as a yes")
    } else {
        pass(format!("{status}, not a yes"))
    }
}

async fn cookies(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let mut person = Person::default();
    let page = s.consent(&mut person, &client, &Proof::new()).await?;
    // Whatever comes of it, its cookies were given.
    let onward = s.allow(&mut person, &page).await;
    let host = s.issuer.host_str().unwrap_or_default();
    let (mut found, mut looked) = (Vec::new(), 0);
    for (_, line) in person.given.iter().filter(|(its, _)| its == host) {
        looked += 1;
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let name = pair.split('=').next().unwrap_or_default();
        let attributes = attributes.to_ascii_lowercase();
        let has = |wanted: &str| attributes.split(';').any(|attribute| attribute.trim() == wanted);
        let lax = has("samesite=lax") || has("samesite=strict");
        let secure = has("secure") || s.issuer.scheme() == "http";
        for (lacking, is_there) in [("HttpOnly", has("httponly")), ("SameSite", lax), ("Secure", secure)] {
            if !is_there {
                found.push(format!("{name} without {lacking}"));
            }
        }
    }
    match (looked, onward) {
        (0, Err(trouble)) => Err(trouble),
        (0, Ok(_)) => not_applicable("no cookies"),
        _ => none_of(&found, format!("{looked} cookies: HttpOnly, SameSite")),
    }
}

async fn refused(s: &Subject) -> Outcome {
    let (client, proof) = (s.register().await?, Proof::new());
    let mut person = Person::default();
    let page = s.consent(&mut person, &client, &proof).await?;
    let Some((form, button)) = page.form(&s.buttons.deny) else {
        return advice("no button that says no (--deny)");
    };
    let answer = person.press(&s.client, &page, &form, button).await?;
    let url = match s.onward(&mut person, answer).await {
        Ok(Onward::Client(url)) => url,
        Ok(Onward::Provider(url)) => return fail(format!("a no leads to {}", url.origin().ascii_serialization())),
        Err(_) => return advice("a no ends at a page"),
    };
    if query(&url, "code").is_some() {
        return fail("a no gives a code");
    }
    let told = query(&url, "error").as_deref() == Some("access_denied") && query(&url, "state") == Some(proof.state);
    if told && url.as_str().starts_with(REDIRECT_URI) { pass("access_denied, with state") } else { fail(url.as_str()) }
}

async fn sent_on(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let mut person = Person::default();
    let page = s.consent(&mut person, &client, &Proof::new()).await?;
    let Some((form, button)) = page.form(&s.buttons.allow) else { return not_applicable("no form") };
    let answer = person.press(&s.client, &page, &form, button).await?;
    match answer.answer.status {
        307 | 308 => fail(format!("{}", answer.answer.status)),
        status => pass(status.to_string()),
    }
}
