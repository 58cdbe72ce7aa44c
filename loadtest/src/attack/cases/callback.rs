//! The identity provider's answer, in the wrong browser, again, or made up.

use url::Url;

use crate::attack::case::{Case, Outcome, Severity, fail, none_of, not_applicable, pass};
use crate::attack::http::Trouble;
use crate::attack::person::Person;
use crate::attack::subject::{Onward, Proof, Subject, query, random_text};

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High};
    vec![
        Case {
            id: "B1",
            severity: Critical,
            tried: "the attacker says yes, the victim follows the link to the identity provider",
            source: "CVE-2026-27124; MCP security best practices (state); T1, T22",
            run: |s| Box::pin(across(s)),
        },
        Case {
            id: "B2",
            severity: Critical,
            tried: "the same, when the victim is in the middle of a sign-in of their own",
            source: "CVE-2026-27124; T1",
            run: |s| Box::pin(across_with_cookies(s)),
        },
        Case {
            id: "B3",
            severity: High,
            tried: "a callback opened a second time",
            source: "OpenID Connect 3.1.2.7; RFC 9700 4.7; T10",
            run: |s| Box::pin(again(s)),
        },
        Case {
            id: "B4",
            severity: High,
            tried: "callbacks with a state nobody gave out, and none",
            source: "RFC 9700 4.7; T22",
            run: |s| Box::pin(made_up(s)),
        },
    ]
}

/// The provider's URL of a sign-in that this browser began.
async fn begin(s: &Subject, person: &mut Person) -> Result<Option<Url>, Trouble> {
    let client = s.register().await?;
    let page = s.consent(person, &client, &Proof::new()).await?;
    match s.allow(person, &page).await? {
        Onward::Provider(url) => Ok(Some(url)),
        Onward::Client(_) => Ok(None),
    }
}

async fn finish_as(s: &Subject, victim: &mut Person, provider: &Url) -> Outcome {
    let callback = s.sign_in(victim, provider, 1).await?;
    let page = victim.open(&s.client, &callback).await?;
    let status = page.answer.status;
    if page.answer.refused() {
        return pass(format!("the victim's callback is refused: {status}"));
    }
    // A second consent, in the victim's own browser, would be a way to notice.
    match s.onward(victim, page).await {
        Ok(Onward::Client(url)) if query(&url, "code").is_some() => {
            fail("the victim's browser hands a code to the attacker's client")
        }
        _ => pass(format!("no code: {status}")),
    }
}

async fn across(s: &Subject) -> Outcome {
    match begin(s, &mut Person::default()).await? {
        Some(provider) => finish_as(s, &mut Person::default(), &provider).await,
        None => not_applicable("no identity provider behind it"),
    }
}

async fn across_with_cookies(s: &Subject) -> Outcome {
    let mut victim = Person::default();
    begin(s, &mut victim).await?;
    match begin(s, &mut Person::default()).await? {
        Some(provider) => finish_as(s, &mut victim, &provider).await,
        None => not_applicable("no identity provider behind it"),
    }
}

async fn again(s: &Subject) -> Outcome {
    let mut person = Person::default();
    let Some(provider) = begin(s, &mut person).await? else { return not_applicable("no identity provider behind it") };
    let callback = s.sign_in(&mut person, &provider, 0).await?;
    let mut earlier = person.clone();
    let first = person.open(&s.client, &callback).await?;
    if !matches!(s.onward(&mut person, first).await?, Onward::Client(_)) {
        return Err(Trouble::Unable("the first did not lead to the client".to_owned()));
    }
    let mut found = Vec::new();
    for (name, browser) in [("in the same browser", &mut person), ("with the cookies of before", &mut earlier)] {
        let page = browser.open(&s.client, &callback).await?;
        if !page.answer.refused()
            && let Ok(Onward::Client(url)) = s.onward(browser, page).await
            && query(&url, "code").is_some()
        {
            found.push(format!("a second code {name}"));
        }
    }
    none_of(&found, "twice, no second code")
}

async fn made_up(s: &Subject) -> Outcome {
    let mut person = Person::default();
    let Some(provider) = begin(s, &mut person).await? else { return not_applicable("no identity provider behind it") };
    let named = query(&provider, "redirect_uri").and_then(|uri| Url::parse(&uri).ok());
    let Some(callback) = named else { return not_applicable("the provider's URL names no callback") };
    let mut found = Vec::new();
    for state in ["", &random_text(), "../../x", "\u{0}"] {
        let mut url = callback.clone();
        url.query_pairs_mut().append_pair("code", &random_text());
        if !state.is_empty() {
            url.query_pairs_mut().append_pair("state", state);
        }
        let page = person.open(&s.client, &url).await?;
        if !page.answer.refused() {
            found.push(format!("{} for state={state:?}", page.answer.status));
        }
    }
    none_of(&found, "four, all refused")
}
