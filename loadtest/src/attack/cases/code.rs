//! Codes: stolen, guessed at, used twice.

use futures_util::future::join_all;

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, pass};
use crate::attack::http::{Answer, Request, Trouble};
use crate::attack::subject::{Subject, random_text};

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Low, Medium};
    vec![
        Case {
            id: "K1",
            severity: Critical,
            tried: "a code with a wrong, short, empty or no verifier, or the challenge for one",
            source: "RFC 7636 4.6; OAuth 2.1 4.1.3; T9, S7",
            run: |s| Box::pin(verifiers(s)),
        },
        Case {
            id: "K2",
            severity: Critical,
            tried: "a code presented by another client",
            source: "RFC 6749 4.1.3; T10, S6",
            run: |s| Box::pin(another_client(s)),
        },
        Case {
            id: "K3",
            severity: Medium,
            tried: "a code with another redirect URI",
            source: "RFC 6749 4.1.3; T10",
            run: |s| Box::pin(another_redirect_uri(s)),
        },
        Case {
            id: "K4",
            severity: High,
            tried: "a code used a second time",
            source: "RFC 6749 4.1.2; OAuth 2.1 4.1.3; T10, S6",
            run: |s| Box::pin(twice(s)),
        },
        Case {
            id: "K5",
            severity: Low,
            tried: "the tokens of a code that was used twice",
            source: "RFC 6749 4.1.2 (SHOULD revoke); T10",
            run: |s| Box::pin(after_a_replay(s)),
        },
        Case {
            id: "K6",
            severity: High,
            tried: "twenty redemptions of one code at once",
            source: "RFC 6749 4.1.2; T10",
            run: |s| Box::pin(at_once(s)),
        },
        Case {
            id: "K7",
            severity: Medium,
            tried: "answers with tokens in caches",
            source: "RFC 6749 5.1; T24",
            run: |s| Box::pin(caches(s)),
        },
        Case {
            id: "K8",
            severity: Medium,
            tried: "the token endpoint by GET, and with the code in the query",
            source: "RFC 6749 3.2, 2.3.1; T24",
            run: |s| Box::pin(by_link(s)),
        },
        Case {
            id: "K9",
            severity: High,
            tried: "other grants: password, client_credentials, assertions, made-up ones",
            source: "OAuth 2.1 10.2; RFC 9700 2.4",
            run: |s| Box::pin(grants(s)),
        },
        Case {
            id: "K10",
            severity: Medium,
            tried: "5 MiB, 10000 fields, NUL and bad UTF-8 at the token endpoint",
            source: "T34",
            run: |s| Box::pin(bombs(s)),
        },
        Case {
            id: "K11",
            severity: Low,
            tried: "a wrong verifier burns nobody's code",
            source: "T11",
            run: |s| Box::pin(burned(s)),
        },
    ]
}

async fn verifiers(s: &Subject) -> Outcome {
    let (mut found, mut tried) = (Vec::new(), 0);
    for name in ["wrong", "one letter less", "empty", "none", "the challenge", "in capitals"] {
        // A new code for each: a target may burn it.
        let granted = s.grant(0).await?;
        let verifier = &granted.proof.verifier;
        let instead = match name {
            "wrong" => random_text(),
            "one letter less" => verifier[1..].to_owned(),
            "the challenge" => granted.proof.challenge(),
            "in capitals" => verifier.to_ascii_uppercase(),
            // Left out.
            _ => String::new(),
        };
        let answer = if name == "empty" {
            let fields = [
                ("grant_type", "authorization_code".to_owned()),
                ("code", granted.code.clone()),
                ("redirect_uri", granted.client.redirect_uri.clone()),
                ("code_verifier", String::new()),
            ];
            s.token(&granted.client, &fields).await?
        } else {
            s.redeem(&granted, &[("code_verifier", instead)]).await?
        };
        tried += 1;
        if answer.status == 200 {
            found.push(format!("{name}: a token"));
        }
    }
    none_of(&found, format!("{tried} verifiers, no token"))
}

async fn another_client(s: &Subject) -> Outcome {
    let mut granted = s.grant(0).await?;
    granted.client = s.register().await?;
    let answer = s.redeem(&granted, &[]).await?;
    if answer.status == 200 { fail("a token for another client") } else { pass(told(&answer)) }
}

async fn another_redirect_uri(s: &Subject) -> Outcome {
    let mut found = Vec::new();
    for uri in ["http://127.0.0.1:33418/other", "https://attacker.example/cb"] {
        let granted = s.grant(0).await?;
        if s.redeem(&granted, &[("redirect_uri", uri.to_owned())]).await?.status == 200 {
            found.push(format!("a token with {uri}"));
        }
    }
    none_of(&found, "two, no token")
}

async fn twice(s: &Subject) -> Outcome {
    let granted = s.grant(0).await?;
    if s.redeem(&granted, &[]).await?.status != 200 {
        return Err(Trouble::Unable("a good code gives no token".to_owned()));
    }
    let answer = s.redeem(&granted, &[]).await?;
    if answer.status == 200 { fail("a second token") } else { pass(told(&answer)) }
}

async fn after_a_replay(s: &Subject) -> Outcome {
    let granted = s.grant(0).await?;
    let first = s.redeem(&granted, &[]).await?;
    let Some(tokens) = granted.tokens(&first) else {
        return Err(Trouble::Unable("a good code gives no token".to_owned()));
    };
    s.redeem(&granted, &[]).await?;
    match s.call(&tokens.access).await?.status {
        401 => pass("ended"),
        status => advice(format!("still good: {status}")),
    }
}

async fn at_once(s: &Subject) -> Outcome {
    let granted = s.grant(0).await?;
    let answers = join_all((0..20).map(|_| s.redeem(&granted, &[]))).await;
    let given = answers.iter().flatten().filter_map(|answer| granted.tokens(answer)).count();
    match given {
        1 => pass("one token"),
        0 => fail("no token at all"),
        many => fail(format!("{many} answers with tokens")),
    }
}

async fn caches(s: &Subject) -> Outcome {
    let granted = s.grant(0).await?;
    let answer = s.redeem(&granted, &[]).await?;
    let policy = answer.header("cache-control").unwrap_or("nothing");
    if answer.may_be_kept() { fail(format!("Cache-Control: {policy}")) } else { pass(policy) }
}

async fn by_link(s: &Subject) -> Outcome {
    let url = s.endpoint("token_endpoint")?;
    let mut found = Vec::new();
    for method in ["GET", "POST", "PUT"] {
        let granted = s.grant(0).await?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &granted.code),
            ("redirect_uri", &granted.client.redirect_uri),
            ("code_verifier", &granted.proof.verifier),
        ];
        let mut url = url.clone();
        url.query_pairs_mut().extend_pairs(granted.client.fields()).extend_pairs(fields);
        let request = Request::form(&url, [("x", "y")]).method(method);
        if s.client.send(&request).await?.status == 200 {
            found.push(format!("{method} with everything in the query"));
        }
    }
    none_of(&found, "three, no token")
}

async fn grants(s: &Subject) -> Outcome {
    let client = s.register().await?;
    let mut found = Vec::new();
    let kinds = [
        "password",
        "client_credentials",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:device_code",
        "AUTHORIZATION_CODE",
        "",
    ];
    for kind in kinds {
        let fields = [
            ("grant_type", kind.to_owned()),
            ("username", "adele@contoso.example".to_owned()),
            ("password", "password".to_owned()),
            ("code", random_text()),
            ("assertion", "eyJhbGciOiJub25lIn0.e30.".to_owned()),
            ("subject_token", "eyJhbGciOiJub25lIn0.e30.".to_owned()),
        ];
        let answer = s.token(&client, &fields).await?;
        if !answer.refused() {
            found.push(format!("{kind:?}: {}", answer.status));
        }
    }
    none_of(&found, format!("{} grants, all refused", kinds.len()))
}

async fn bombs(s: &Subject) -> Outcome {
    let url = s.endpoint("token_endpoint")?;
    let (mut found, mut said) = (Vec::new(), Vec::new());
    let many: String = (0..10_000).map(|number| format!("x{number}=y&")).collect();
    let bodies = [
        ("5 MiB", [b"code=".to_vec(), vec![b'x'; 5 * 1024 * 1024]].concat()),
        ("10000 fields", many.into_bytes()),
        ("NUL", b"grant_type=authorization_code&code=%00%00&client_id=%00".to_vec()),
        ("bad UTF-8", b"grant_type=authorization_code&code=%ff%fe&client_id=\xff\xfe".to_vec()),
    ];
    for (name, body) in bodies {
        let request = Request { body, ..Request::form(&url, [("", "")]) };
        match s.client.send(&request).await {
            Err(Trouble::NoAnswer) => said.push(format!("{name}: closed")),
            Ok(answer) if answer.refused() => said.push(format!("{name}: {}", answer.status)),
            Ok(answer) => found.push(format!("{name}: {}", answer.status)),
            Err(trouble) => return Err(trouble),
        }
    }
    none_of(&found, said.join(", "))
}

async fn burned(s: &Subject) -> Outcome {
    let granted = s.grant(0).await?;
    for _ in 0..5 {
        s.redeem(&granted, &[("code_verifier", random_text())]).await?;
    }
    let answer = s.redeem(&granted, &[]).await?;
    match answer.status {
        200 => pass("five wrong guesses, and the right one still counts"),
        _ => advice(format!("the right one is too late: {}", told(&answer))),
    }
}

/// Status and error.
fn told(answer: &Answer) -> String {
    let error = answer.json().and_then(|document| document["error"].as_str().map(str::to_owned));
    format!("{} {}", answer.status, error.unwrap_or_default()).trim().to_owned()
}
