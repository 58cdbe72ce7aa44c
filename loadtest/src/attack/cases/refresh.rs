//! Refresh tokens, and their end.

use serde_json::Value;

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, not_applicable, pass};
use crate::attack::http::{Request, Trouble};
use crate::attack::subject::{Subject, Tokens, parameter};

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Low, Medium};
    vec![
        Case {
            id: "F1",
            severity: High,
            tried: "a public client's refresh token stays the same",
            source: "OAuth 2.1 4.3.1; RFC 9700 4.14.2; T13",
            run: |s| Box::pin(rotated(s)),
        },
        Case {
            id: "F2",
            severity: High,
            tried: "a refresh token used again after its successor was",
            source: "OAuth 2.1 4.3.1; RFC 9700 4.14.2; T13",
            run: |s| Box::pin(again(s)),
        },
        Case {
            id: "F3",
            severity: Low,
            tried: "the newest refresh token after an old one was used again",
            source: "RFC 9700 4.14.2; T13",
            run: |s| Box::pin(family(s)),
        },
        Case {
            id: "F4",
            severity: Critical,
            tried: "a refresh token presented by another client",
            source: "RFC 6749 6, 10.4; T13",
            run: |s| Box::pin(another_client(s)),
        },
        Case {
            id: "F5",
            severity: High,
            tried: "more scope than was granted",
            source: "RFC 6749 6",
            run: |s| Box::pin(more(s)),
        },
        Case {
            id: "F6",
            severity: High,
            tried: "a refresh token, a code, a client id for an access token, and the other way round",
            source: "RFC 9068 5; T15",
            run: |s| Box::pin(mistaken(s)),
        },
        Case {
            id: "F7",
            severity: High,
            tried: "a refresh token that was revoked",
            source: "RFC 7009 2.1, 2; S14",
            run: |s| Box::pin(revoked(s)),
        },
        Case {
            id: "F8",
            severity: Medium,
            tried: "another client revokes a token",
            source: "RFC 7009 2.1",
            run: |s| Box::pin(revoked_by_another(s)),
        },
        Case {
            id: "F9",
            severity: High,
            tried: "a call with a token asks for its scope in the challenge, not for another server's",
            source: "MCP authorization; CVE-2025-6514; T28",
            run: |s| Box::pin(challenge_with_token(s)),
        },
    ]
}

/// Tokens with a refresh token, or why there is nothing to try.
async fn tokens(s: &Subject) -> Result<Option<(Tokens, String)>, Trouble> {
    let tokens = s.tokens(0).await?;
    Ok(tokens.refresh.clone().map(|refresh| (tokens, refresh)))
}

const NONE: &str = "no refresh tokens";

/// The successor of a refresh token.
async fn next(s: &Subject, tokens: &Tokens, refresh: &str) -> Result<String, Trouble> {
    let answer = s.refresh(&tokens.client, refresh).await?;
    let document = answer.json().unwrap_or_default();
    match document["refresh_token"].as_str() {
        Some(next) => Ok(next.to_owned()),
        // RFC 6749 section 6: the old one goes on.
        None if answer.status == 200 => Ok(refresh.to_owned()),
        None => Err(Trouble::Unable(format!("a good refresh token: {}", answer.status))),
    }
}

async fn rotated(s: &Subject) -> Outcome {
    let Some((tokens, first)) = tokens(s).await? else { return not_applicable(NONE) };
    if next(s, &tokens, &first).await? == first { fail("the same again") } else { pass("a new one") }
}

async fn again(s: &Subject) -> Outcome {
    let Some((tokens, first)) = tokens(s).await? else { return not_applicable(NONE) };
    let second = next(s, &tokens, &first).await?;
    next(s, &tokens, &second).await?;
    let answer = s.refresh(&tokens.client, &first).await?;
    if answer.status == 200 { fail("the first one gives tokens") } else { pass(answer.status.to_string()) }
}

async fn family(s: &Subject) -> Outcome {
    let Some((tokens, first)) = tokens(s).await? else { return not_applicable(NONE) };
    let second = next(s, &tokens, &first).await?;
    let third = next(s, &tokens, &second).await?;
    if s.refresh(&tokens.client, &first).await?.status == 200 {
        return advice("the old one itself is taken (see F2)");
    }
    match s.refresh(&tokens.client, &third).await?.status {
        200 => advice("still good: whoever stole it goes on"),
        status => pass(format!("ended for both: {status}")),
    }
}

async fn another_client(s: &Subject) -> Outcome {
    let Some((_, refresh)) = tokens(s).await? else { return not_applicable(NONE) };
    let other = s.register().await?;
    let answer = s.refresh(&other, &refresh).await?;
    if answer.status == 200 { fail("another client gets tokens") } else { pass(answer.status.to_string()) }
}

async fn more(s: &Subject) -> Outcome {
    let Some((tokens, refresh)) = tokens(s).await? else { return not_applicable(NONE) };
    let fields = [
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", refresh),
        ("scope", "admin canary:everything".to_owned()),
    ];
    let answer = s.token(&tokens.client, &fields).await?;
    let scope = answer.json().and_then(|document| document["scope"].as_str().map(str::to_owned)).unwrap_or_default();
    match answer.status {
        200 if scope.contains("canary:everything") => fail(format!("granted: {scope}")),
        200 => pass(format!("not granted: scope={scope:?}")),
        status => pass(status.to_string()),
    }
}

async fn mistaken(s: &Subject) -> Outcome {
    let granted = s.grant(0).await?;
    let mut found = Vec::new();
    for (name, token) in [("a code", &granted.code), ("a client id", &granted.client.id)] {
        if s.call(token).await?.status != 401 {
            found.push(format!("{name} as access token"));
        }
    }
    let answer = s.redeem(&granted, &[]).await?;
    let Some(tokens) = granted.tokens(&answer) else {
        return Err(Trouble::Unable("a good code gives no token".to_owned()));
    };
    if let Some(refresh) = &tokens.refresh
        && s.call(refresh).await?.status != 401
    {
        found.push("a refresh token as access token".to_owned());
    }
    for (name, kind, field, value) in [
        ("an access token as refresh token", "refresh_token", "refresh_token", Some(&tokens.access)),
        ("a code as refresh token", "refresh_token", "refresh_token", Some(&granted.code)),
        ("an access token as code", "authorization_code", "code", Some(&tokens.access)),
        ("a refresh token as code", "authorization_code", "code", tokens.refresh.as_ref()),
    ] {
        let Some(value) = value else { continue };
        let fields = [
            ("grant_type", kind.to_owned()),
            (field, value.clone()),
            ("code_verifier", granted.proof.verifier.clone()),
            ("redirect_uri", tokens.client.redirect_uri.clone()),
        ];
        if s.token(&tokens.client, &fields).await?.status == 200 {
            found.push(name.to_owned());
        }
    }
    none_of(&found, "seven mistakes, none is taken")
}

async fn revoke(s: &Subject, fields: Vec<(&'static str, String)>, token: &str) -> Result<u16, Trouble> {
    let url = s.endpoint("revocation_endpoint")?;
    let fields = fields.into_iter().chain([("token", token.to_owned())]);
    Ok(s.client.send(&Request::form(&url, fields)).await?.status)
}

async fn revoked(s: &Subject) -> Outcome {
    if s.metadata["revocation_endpoint"] == Value::Null {
        return not_applicable("no revocation endpoint");
    }
    let Some((tokens, refresh)) = tokens(s).await? else { return not_applicable(NONE) };
    let status = revoke(s, tokens.client.fields(), &refresh).await?;
    if status != 200 {
        return fail(format!("a public client cannot revoke its own token: {status}"));
    }
    if s.refresh(&tokens.client, &refresh).await?.status == 200 {
        return fail("it still gives tokens");
    }
    match s.call(&tokens.access).await?.status {
        401 => pass("refresh and access token are both over"),
        status => advice(format!("its access token is still good: {status}")),
    }
}

async fn revoked_by_another(s: &Subject) -> Outcome {
    if s.metadata["revocation_endpoint"] == Value::Null {
        return not_applicable("no revocation endpoint");
    }
    let Some((tokens, refresh)) = tokens(s).await? else { return not_applicable(NONE) };
    let other = s.register().await?;
    let status = revoke(s, other.fields(), &refresh).await?;
    match s.refresh(&tokens.client, &refresh).await?.status {
        200 => pass(format!("{status}, and it still serves its owner")),
        _ => fail("another client ended it"),
    }
}

/// A bad token's challenge still leads here.
async fn challenge_with_token(s: &Subject) -> Outcome {
    let answer = s.call("\"realm=x, resource_metadata=https://attacker.example/").await?;
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    match parameter(challenge, "resource_metadata") {
        Some(url) if url.contains("attacker") => fail("the challenge repeats what the caller said"),
        _ if challenge.contains("attacker") => fail("the challenge repeats what the caller said"),
        _ if answer.refused() => pass(answer.status.to_string()),
        _ => fail(answer.status.to_string()),
    }
}
