//! Access tokens that were forged, altered, or brought in the wrong way.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, pass};
use crate::attack::http::{Request, Trouble};
use crate::attack::subject::{Subject, initialize, random_text};

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Low, Medium};
    vec![
        Case {
            id: "T1",
            severity: Critical,
            tried: "a good token with any letter changed, cut, or made longer",
            source: "RFC 9700 2.3; T16, S8",
            run: |s| Box::pin(altered(s)),
        },
        Case {
            id: "T2",
            severity: Critical,
            tried: "JWTs with alg none, and signed by weak or foreign keys",
            source: "RFC 8725 2.1, 3.2; T16, T17",
            run: |s| Box::pin(forged(s)),
        },
        Case {
            id: "T3",
            severity: High,
            tried: "random and hostile text for a token",
            source: "RFC 6750 3.1; T16",
            run: |s| Box::pin(nonsense(s)),
        },
        Case {
            id: "T4",
            severity: Medium,
            tried: "a good token in the query, a form or a cookie",
            source: "MCP authorization (token requirements); RFC 6750 2.3; T24",
            run: |s| Box::pin(elsewhere(s)),
        },
        Case {
            id: "T5",
            severity: Low,
            tried: "a good token without the scheme Bearer, and beside another",
            source: "RFC 6750 2.1; S17",
            run: |s| Box::pin(schemes(s)),
        },
    ]
}

async fn altered(s: &Subject) -> Outcome {
    let token = s.tokens(0).await?.access;
    if s.call(&token).await?.status != 200 {
        return Err(Trouble::Unable("a good token does not work".to_owned()));
    }
    let letters: Vec<char> = token.chars().collect();
    // The last letter of a part has bits that mean nothing.
    let counts = |at: usize| letters.get(at + 1).is_some_and(|&next| next != '.') && letters[at] != '.';
    let step = letters.len().div_ceil(MOST);
    let (mut found, mut tried) = (Vec::new(), 0);
    for at in (0..letters.len()).step_by(step).filter(|&at| counts(at)) {
        let mut other = letters.clone();
        other[at] = if other[at] == 'A' { 'B' } else { 'A' };
        tried += 1;
        if s.call(&other.iter().collect::<String>()).await?.status != 401 {
            found.push(format!("letter {at} changed"));
        }
    }
    let others = [
        token[..token.len() / 2].to_owned(),
        token[..token.len() - 2].to_owned(),
        token[1..].to_owned(),
        format!("{token}AAAA"),
        format!("{token}."),
        format!("A{token}"),
        token.to_ascii_uppercase(),
    ];
    for other in others.iter().filter(|other| **other != token) {
        tried += 1;
        if s.call(other).await?.status != 401 {
            found.push(format!("a token of {} letters", other.len()));
        }
    }
    none_of(&found, format!("{tried} altered tokens, all 401"))
}

async fn forged(s: &Subject) -> Outcome {
    // What the target's own tokens say, if they are JWTs, is what a forger would say.
    let own = s.tokens(0).await.ok().and_then(|tokens| claims(&tokens.access));
    let informed = own.is_some();
    let mut claims = own.unwrap_or_else(|| {
        json!({"iss": s.metadata["issuer"], "aud": s.resource_id(), "sub": "canary", "client_id": "canary", "scope": ""})
    });
    claims["exp"] = json!(4_102_444_800_u64);
    claims["jti"] = json!(random_text());
    let mut found = Vec::new();
    let mut tried = 0;
    for algorithm in ["none", "None", "NONE", "nOnE"] {
        for signature in ["", "AAAA"] {
            tried += 1;
            let token = format!("{}.{signature}", signed_part(algorithm, &claims));
            if s.call(&token).await?.status != 401 {
                found.push(format!("alg={algorithm}"));
            }
        }
    }
    for key in ["", "secret", "changeme", "password", "fastmcp", "your-256-bit-secret", &s.resource_id()] {
        tried += 1;
        let part = signed_part("HS256", &claims);
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, part.as_bytes()));
        if s.call(&format!("{part}.{signature}")).await?.status != 401 {
            found.push("HS256 with a key that is a word".to_owned());
        }
    }
    let how = if informed { "with the claims of a good one" } else { "with likely claims" };
    none_of(&found, format!("{tried} JWTs {how}, all 401"))
}

fn claims(token: &str) -> Option<Value> {
    let part = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn signed_part(algorithm: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(&json!({"alg": algorithm, "typ": "JWT"})), part(claims))
}

async fn nonsense(s: &Subject) -> Outcome {
    let mut texts: Vec<String> =
        ["", "null", "undefined", "true", "0", "a.b.c", "..", "' OR '1'='1", "../../etc/passwd"]
            .map(str::to_owned)
            .to_vec();
    texts.extend([
        "x".repeat(4000),
        "A.".repeat(1000),
        "%00".to_owned(),
        "\u{e9}\u{e9}".to_owned(),
        "{\"a\":1}".to_owned(),
    ]);
    texts.extend((0..20).map(|_| random_text()));
    let mut found = Vec::new();
    for text in &texts {
        let status = match s.call(text).await {
            // To end the connection is to refuse.
            Err(Trouble::NoAnswer) => continue,
            answer => answer?.status,
        };
        // RFC 6750: a header that is none may be 400.
        if !matches!(status, 400 | 401 | 431) {
            found.push(format!("{status} for {:?}", text.chars().take(20).collect::<String>()));
        }
    }
    none_of(&found, format!("{} texts, all refused", texts.len()))
}

async fn elsewhere(s: &Subject) -> Outcome {
    let token = s.tokens(0).await?.access;
    let mut url = s.mcp.clone();
    url.query_pairs_mut().append_pair("access_token", &token);
    let form = Request::form(&s.mcp, [("access_token", &token)]).with("Accept", "application/json, text/event-stream");
    let tried = [
        ("the query", initialize(&url)),
        ("a form", form),
        ("a cookie", initialize(&s.mcp).with("Cookie", format!("access_token={token}; token={token}"))),
        ("X-Access-Token", initialize(&s.mcp).with("X-Access-Token", &token).with("X-Forwarded-Access-Token", &token)),
    ];
    let mut found = Vec::new();
    for (name, request) in &tried {
        if !s.client.send(request).await?.refused() {
            found.push(format!("taken from {name}"));
        }
    }
    none_of(&found, "four places, none is looked at")
}

async fn schemes(s: &Subject) -> Outcome {
    let token = s.tokens(0).await?.access;
    let mut taken = Vec::new();
    for (name, headers) in [
        ("no scheme", vec![token.clone()]),
        ("Basic", vec![format!("Basic {token}")]),
        ("a bad one first", vec!["Bearer x".to_owned(), format!("Bearer {token}")]),
        ("a bad one last", vec![format!("Bearer {token}"), "Bearer x".to_owned()]),
    ] {
        let request =
            headers.into_iter().fold(initialize(&s.mcp), |request, value| request.with("Authorization", value));
        if s.client.send(&request).await?.status == 200 {
            taken.push(name);
        }
    }
    match taken.as_slice() {
        [] => pass("four, all refused"),
        ["a bad one first" | "a bad one last"] => advice(format!("of two headers one counts ({})", taken[0])),
        _ if taken.contains(&"Basic") || taken.contains(&"no scheme") => fail(taken.join(", ")),
        _ => advice(taken.join(", ")),
    }
}

const MOST: usize = 120;
