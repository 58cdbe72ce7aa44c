//! The MCP endpoint: who may speak to it, and in whose session.

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, not_applicable, pass};
use crate::attack::http::{Answer, Request, Trouble};
use crate::attack::subject::{Subject, initialize, random_text};
use serde_json::json;

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Medium};
    vec![
        Case {
            id: "M1",
            severity: Medium,
            tried: "a page of another site calls, with a good token (Origin)",
            source: "MCP transports (MUST validate Origin, 403); T30",
            run: |s| Box::pin(origin(s)),
        },
        Case {
            id: "M2",
            severity: Medium,
            tried: "a page calls by a name that was rebound to this address (Host)",
            source: "MCP transports (DNS rebinding); CVE-2025-66414; T30",
            run: |s| Box::pin(rebound(s)),
        },
        Case {
            id: "M3",
            severity: Critical,
            tried: "the Mcp-Session-Id of another user",
            source: "MCP security best practices (session hijacking); T31",
            run: |s| Box::pin(another_session(s)),
        },
        Case {
            id: "M4",
            severity: High,
            tried: "an Mcp-Session-Id for a credential, and one that was made up",
            source: "MCP security best practices (MUST NOT use sessions for authentication)",
            run: |s| Box::pin(session_alone(s)),
        },
        Case {
            id: "M5",
            severity: Critical,
            tried: "other spellings of the path, other methods, headers that rewrite, without a token",
            source: "T27; GHSA-7rh7-c77v-6434",
            run: |s| Box::pin(around(s)),
        },
        Case {
            id: "M6",
            severity: Medium,
            tried: "TRACE, CONNECT and Upgrade",
            source: "RFC 9110 9.3.8; T25",
            run: |s| Box::pin(methods(s)),
        },
        Case {
            id: "M7",
            severity: Medium,
            tried: "headers of 512 KiB, 5000 headers, a body of 20 MiB without a token",
            source: "RFC 6585 5; T32",
            run: |s| Box::pin(large(s)),
        },
        Case {
            id: "M8",
            severity: Medium,
            tried: "after all that the target serves, and never said 5xx",
            source: "T32, T34",
            run: |s| Box::pin(afterwards(s)),
        },
    ]
}

fn bearer(request: Request, token: &str) -> Request {
    request.with("Authorization", format!("Bearer {token}"))
}

/// A call in a session.
fn ping(s: &Subject, session: &str) -> Request {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "ping"}).to_string();
    let request = Request::json(&s.mcp, body).with("Accept", "application/json, text/event-stream");
    request.with("Mcp-Session-Id", session).with("MCP-Protocol-Version", "2025-06-18")
}

async fn begin(s: &Subject, token: &str) -> Result<Option<String>, Trouble> {
    let answer = s.client.send(&bearer(initialize(&s.mcp), token)).await?;
    if answer.status != 200 {
        return Err(Trouble::Unable(format!("a good token: {}", answer.status)));
    }
    Ok(answer.header("mcp-session-id").map(str::to_owned))
}

async fn origin(s: &Subject) -> Outcome {
    let token = s.tokens(0).await?.access;
    let mut found = Vec::new();
    let origins =
        ["https://attacker.example", "null", "http://localhost.attacker.example", "https://attacker.example:8080"];
    for origin in origins {
        let answer = s.client.send(&bearer(initialize(&s.mcp), &token).with("Origin", origin)).await?;
        if !answer.refused() {
            found.push(format!("{origin}: {}", answer.status));
        }
    }
    none_of(&found, format!("{} origins, all refused", origins.len()))
}

async fn rebound(s: &Subject) -> Outcome {
    let token = s.tokens(0).await?.access;
    let request = bearer(initialize(&s.mcp), &token).with("Host", "attacker.example");
    let answer = s.client.send(&request.clone()).await;
    let with_origin = s.client.send(&request.with("Origin", "http://attacker.example")).await;
    let taken = |answer: &Result<Answer, Trouble>| answer.as_ref().is_ok_and(|answer| answer.status == 200);
    match (taken(&answer), taken(&with_origin)) {
        (_, true) => fail("a page of the rebound name is served: Host and Origin of attacker.example"),
        (true, false) => advice("Host is not looked at; a page is refused by its Origin"),
        (false, false) => pass("refused"),
    }
}

async fn another_session(s: &Subject) -> Outcome {
    let victim = s.tokens(0).await?.access;
    let Some(session) = begin(s, &victim).await? else { return not_applicable("no sessions") };
    let attacker = s.tokens(1).await?.access;
    let own = s.client.send(&bearer(ping(s, &session), &victim)).await?;
    if own.status != 200 {
        return Err(Trouble::Unable(format!("a ping in one's own session: {}", own.status)));
    }
    let mut found = Vec::new();
    let requests = [
        ("a call", ping(s, &session)),
        (
            "its stream",
            Request::get(&s.mcp).with("Accept", "text/event-stream").with("Mcp-Session-Id", session.as_str()),
        ),
        ("its end", Request::get(&s.mcp).method("DELETE").with("Mcp-Session-Id", session.as_str())),
    ];
    for (name, request) in requests {
        let answer = match s.client.send(&bearer(request, &attacker)).await {
            // A stream that waits was opened.
            Err(Trouble::TimedOut) => {
                found.push(format!("{name}: stays open"));
                continue;
            }
            answer => answer?,
        };
        // A method that is not there is nobody's session.
        if !answer.refused() {
            found.push(format!("{name}: {}", answer.status));
        }
    }
    let after = s.client.send(&bearer(ping(s, &session), &victim)).await?;
    if after.status != 200 {
        found.push(format!("the owner's session is gone: {}", after.status));
    }
    none_of(&found, "call, stream and end by another user: refused, and it still serves its owner")
}

async fn session_alone(s: &Subject) -> Outcome {
    let token = s.tokens(0).await?.access;
    let mut found = Vec::new();
    if let Some(session) = begin(s, &token).await? {
        let answer = s.client.send(&ping(s, &session)).await?;
        if answer.status != 401 {
            found.push(format!("a session without a token: {}", answer.status));
        }
    }
    for session in [random_text(), "1".to_owned(), "../x".to_owned(), "0".repeat(32)] {
        let answer = s.client.send(&bearer(ping(s, &session), &token)).await?;
        // A server without sessions may pass over the header.
        if answer.status >= 500 {
            found.push(format!("a made-up session: {}", answer.status));
        }
    }
    none_of(&found, "no token, no call")
}

async fn around(s: &Subject) -> Outcome {
    let path = s.mcp.path().to_owned();
    let name = path.trim_start_matches('/').to_owned();
    let spellings = [
        format!("{path}/"),
        format!("//{name}"),
        format!("/./{name}"),
        format!("/x/../{name}"),
        format!("/.well-known/..{path}"),
        format!("/.well-known/%2e%2e{path}"),
        format!("/.well-known/oauth-protected-resource/..%2f..%2f{name}"),
        format!("{path}%2f"),
        format!("{path}%00"),
        format!("{path};x=y"),
        format!("{path}?x=/.well-known/"),
        format!("{path}#/healthz"),
        format!("{path}\\"),
        format!("/%{:x}{}", name.bytes().next().unwrap_or(b'm'), name.get(1..).unwrap_or_default()),
        path.to_ascii_uppercase(),
        format!("http://localhost{path}"),
        format!("{path}/.well-known/oauth-protected-resource"),
    ];
    let headers = [
        ("X-Original-URL", "/.well-known/oauth-protected-resource"),
        ("X-Rewrite-URL", "/healthz"),
        ("X-Forwarded-Uri", "/.well-known/"),
        ("X-Forwarded-User", "admin"),
        ("X-Auth-Request-Email", "admin@contoso.example"),
        ("X-MS-CLIENT-PRINCIPAL-NAME", "admin"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Authorization", "Bearer"),
        ("User-Agent", "kube-probe/1.30"),
    ];
    let mut requests: Vec<_> = spellings.iter().map(|path| initialize(&s.mcp).at(path.as_str())).collect();
    requests.extend(headers.iter().map(|&(name, value)| initialize(&s.mcp).with(name, value)));
    requests
        .extend(["PUT", "PATCH", "DELETE", "GET", "OPTIONS", "post", "POSTX"].map(|it| initialize(&s.mcp).method(it)));
    let mut found = Vec::new();
    for request in &requests {
        let answer = match s.client.send(request).await {
            Err(Trouble::NoAnswer) => continue,
            answer => answer?,
        };
        let served = answer.status == 200 && answer.text().contains("serverInfo");
        let session = answer.header("mcp-session-id").is_some();
        if served || session {
            found.push(format!(
                "{} {} {:?}",
                request.method,
                request.path.as_deref().unwrap_or(&path),
                request.headers.last()
            ));
        }
    }
    none_of(&found, format!("{} requests, none served", requests.len()))
}

async fn methods(s: &Subject) -> Outcome {
    let mut found = Vec::new();
    let trace = Request::get(&s.mcp).method("TRACE").with("Authorization", "Bearer canary-trace");
    match s.client.send(&trace).await {
        Ok(answer) if answer.text().contains("canary-trace") => found.push("TRACE repeats the credential".to_owned()),
        Ok(_) | Err(Trouble::NoAnswer) => {}
        Err(trouble) => return Err(trouble),
    }
    let connect =
        Request::get(&s.mcp).method("CONNECT").at("attacker.example:443").with("Host", "attacker.example:443");
    match s.client.send(&connect).await {
        Ok(answer) if answer.status == 200 => found.push("CONNECT opens a tunnel".to_owned()),
        Ok(_) | Err(Trouble::NoAnswer) => {}
        Err(trouble) => return Err(trouble),
    }
    for protocol in ["websocket", "h2c", "canary"] {
        let upgrade = initialize(&s.mcp).with("Upgrade", protocol).with("Connection", "Upgrade");
        let upgrade = upgrade.with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").with("Sec-WebSocket-Version", "13");
        let answer = s.client.raw(&s.mcp, &upgrade.bytes()).await?;
        if answer.starts_with(b"HTTP/1.1 101") {
            found.push(format!("Upgrade: {protocol} without a token"));
        }
    }
    none_of(&found, "no echo, no tunnel")
}

async fn large(s: &Subject) -> Outcome {
    let mut many = initialize(&s.mcp);
    for number in 0..5000 {
        many = many.with(&format!("X-{number}"), "y");
    }
    let requests = [
        ("512 KiB of header", initialize(&s.mcp).with("X-Long", "x".repeat(512 * 1024))),
        ("5000 headers", many),
        ("a token of 64 KiB", bearer(initialize(&s.mcp), &"x".repeat(64 * 1024))),
        ("a body of 20 MiB", Request::json(&s.mcp, vec![b' '; 20 * 1024 * 1024]).with("Accept", "application/json")),
    ];
    let (mut found, mut told) = (Vec::new(), Vec::new());
    for (name, request) in requests {
        match s.client.send(&request).await {
            Err(Trouble::NoAnswer) => told.push(format!("{name}: closed")),
            Ok(answer) if answer.refused() => told.push(format!("{name}: {}", answer.status)),
            Ok(answer) => found.push(format!("{name}: {}", answer.status)),
            Err(trouble) => return Err(trouble),
        }
    }
    none_of(&found, told.join(", "))
}

async fn afterwards(s: &Subject) -> Outcome {
    let answer = s.client.send(&initialize(&s.mcp)).await?;
    if answer.status != 401 {
        return fail(format!("{} now", answer.status));
    }
    match s.client.server_errors() {
        0 => pass(format!("{} requests, none answered 5xx", s.client.sent())),
        some => advice(format!("it serves; {some} of {} requests were answered 5xx", s.client.sent())),
    }
}
