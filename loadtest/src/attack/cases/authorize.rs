//! A request for authorization that is weaker than it has to be.

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, not_applicable, pass};
use crate::attack::http::Trouble;
use crate::attack::person::Person;
use crate::attack::subject::{Onward, Proof, Subject, query, random_text, with};

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Low, Medium};
    vec![
        Case {
            id: "A1",
            severity: Critical,
            tried: "no code_challenge",
            source: "OAuth 2.1 4.1.1, 7.5.2; CVE-2025-4144; T9",
            run: |s| Box::pin(no_challenge(s)),
        },
        Case {
            id: "A2",
            severity: Medium,
            tried: "code_challenge_method=plain, or none",
            source: "RFC 9700 2.1.1; T9, S7",
            run: |s| Box::pin(plain(s)),
        },
        Case {
            id: "A3",
            severity: High,
            tried: "response types that put tokens into URLs",
            source: "OAuth 2.1 10.1; RFC 9700 2.1.2",
            run: |s| Box::pin(implicit(s)),
        },
        Case {
            id: "A4",
            severity: High,
            tried: "a token that was asked for another resource",
            source: "MCP authorization (audience); RFC 8707 2; T14",
            run: |s| Box::pin(other_resource(s)),
        },
        Case {
            id: "A5",
            severity: High,
            tried: "line breaks in every parameter",
            source: "RFC 9110 5.5 (header injection); S15",
            run: |s| Box::pin(line_breaks(s)),
        },
        Case {
            id: "A6",
            severity: Medium,
            tried: "a state of difficult characters comes back as it was, once",
            source: "RFC 6749 4.1.2; S15",
            run: |s| Box::pin(state(s)),
        },
        Case {
            id: "A7",
            severity: Low,
            tried: "a request of 100 KiB",
            source: "RFC 9110 15.5.15; T32",
            run: |s| Box::pin(long(s)),
        },
    ]
}

/// Whether a request so changed comes to nothing: at once, or by an error to the client.
async fn comes_to_nothing(s: &Subject, instead: &[(&'static str, String)]) -> Result<Option<String>, Trouble> {
    let client = s.register().await?;
    let parameters = with(s.parameters(&client, &Proof::new()), instead);
    let page = s.ask(&mut Person::default(), &parameters).await?;
    if page.answer.refused() {
        return Ok(Some(page.answer.status.to_string()));
    }
    let error = page.leads_to().and_then(|url| query(&url, "error"));
    Ok(error)
}

async fn no_challenge(s: &Subject) -> Outcome {
    let without = [("code_challenge", String::new()), ("code_challenge_method", String::new())];
    if let Some(error) = comes_to_nothing(s, &without).await? {
        return pass(error);
    }
    let granted = s.grant_to(s.register().await?, 0, &without).await?;
    let answer = s.redeem(&granted, &[("code_verifier", String::new())]).await?;
    if answer.status == 200 {
        fail("a token without PKCE")
    } else {
        pass(format!("the code is worth nothing: {}", answer.status))
    }
}

async fn plain(s: &Subject) -> Outcome {
    let verifier = random_text();
    let mut told = Vec::new();
    for method in ["plain", "", "PLAIN", "s256", "none"] {
        let instead = [("code_challenge", verifier.clone()), ("code_challenge_method", method.to_owned())];
        if let Some(error) = comes_to_nothing(s, &instead).await? {
            told.push(error);
            continue;
        }
        let granted = s.grant_to(s.register().await?, 0, &instead).await?;
        let answer = s.redeem(&granted, &[("code_verifier", verifier.clone())]).await?;
        if answer.status == 200 {
            return fail(format!("code_challenge_method={method:?}: the challenge itself is taken for the verifier"));
        }
        told.push(format!("{} at the token endpoint", answer.status));
    }
    pass(told.join(", "))
}

async fn implicit(s: &Subject) -> Outcome {
    let mut found = Vec::new();
    for kind in ["token", "id_token", "code token", "code id_token", "none", "CODE"] {
        if comes_to_nothing(s, &[("response_type", kind.to_owned())]).await?.is_none() {
            found.push(format!("response_type={kind} is taken"));
        }
    }
    none_of(&found, "six response types, all refused")
}

async fn other_resource(s: &Subject) -> Outcome {
    let other = [("resource", "https://other.example/mcp".to_owned())];
    if let Some(error) = comes_to_nothing(s, &other).await? {
        return pass(format!("refused at the authorization: {error}"));
    }
    let granted = s.grant_to(s.register().await?, 0, &other).await?;
    let answer = s.redeem(&granted, &other).await?;
    let Some(tokens) = granted.tokens(&answer) else { return pass(format!("no token: {}", answer.status)) };
    match s.call(&tokens.access).await?.status {
        200 => fail("a token asked for https://other.example/mcp serves here"),
        status => pass(format!("such a token is worth nothing here: {status}")),
    }
}

async fn line_breaks(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let good = s.parameters(&client, &Proof::new());
    let mut found = Vec::new();
    for (name, value) in &good {
        for breaks in ["\r\n", "\n", "\r", "\u{560a}"] {
            let value = format!("{value}{breaks}X-Canary: 1{breaks}Set-Cookie: canary=1{breaks}{breaks}<b>");
            let parameters = with(good.clone(), &[(name, value)]);
            let mut person = Person::default();
            let page = match s.ask(&mut person, &parameters).await {
                Err(Trouble::NoAnswer) => continue,
                page => page?,
            };
            let injected = |headers: &[(String, String)]| {
                headers
                    .iter()
                    .any(|(name, value)| name == "x-canary" || name == "set-cookie" && value.starts_with("canary"))
            };
            if injected(&page.answer.headers) || person.given.iter().any(|(_, line)| line.starts_with("canary")) {
                found.push(format!("{name} becomes a header"));
            }
        }
    }
    none_of(&found, format!("{} requests, no header came of them", good.len() * 4))
}

async fn state(s: &Subject) -> Outcome {
    let state = "a b+c&code=x&iss=y#z%2F%e9;=?/'\"<>\\";
    let granted = s.grant_to(s.register().await?, 0, &[("state", state.to_owned())]).await?;
    let answer = &granted.answer;
    let others = answer.query_pairs().filter(|(name, value)| name == "code" && value == "x").count();
    match query(answer, "state") {
        Some(given) if given == state && others == 0 && answer.fragment().is_none() => pass("as it was, once"),
        given => fail(format!("{given:?}")),
    }
}

async fn long(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let instead = [("state", "x".repeat(100 * 1024))];
    let url = s.authorize(&with(s.parameters(&client, &Proof::new()), &instead))?;
    let mut person = Person::default();
    match person.open(&s.client, &url).await {
        Err(Trouble::NoAnswer) => pass("the connection ends"),
        Ok(page) if page.answer.refused() => pass(page.answer.status.to_string()),
        Ok(page) if page.answer.status >= 500 => fail(page.answer.status.to_string()),
        Ok(page) => match s.onward(&mut person, page).await {
            Ok(Onward::Client(url)) if query(&url, "error").is_some() => pass("an error to the client"),
            _ => advice("taken"),
        },
        Err(trouble) => not_applicable(trouble.to_string()),
    }
}
