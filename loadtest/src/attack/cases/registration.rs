//! Dynamic registration (RFC 7591), which anybody may ask for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::canary::Canary;
use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, pass};
use crate::attack::http::{Request, Trouble};
use crate::attack::person::Person;
use crate::attack::subject::{Proof, REDIRECT_URI, Subject, random_text, registered, with};

pub fn cases() -> Vec<Case> {
    use Severity::{Critical, High, Low, Medium};
    vec![
        Case {
            id: "R1",
            severity: Critical,
            tried: "redirect URIs that run as script or read files (javascript:, data:, ...)",
            source: "RFC 7591 5; RFC 8252 7.1; T7, S13",
            run: |s| Box::pin(scripts(s)),
        },
        Case {
            id: "R2",
            severity: High,
            tried: "redirect URIs of plain http to another machine",
            source: "MCP authorization (communication security); T7",
            run: |s| Box::pin(plain_http(s)),
        },
        Case {
            id: "R3",
            severity: Medium,
            tried: "redirect URIs with a fragment",
            source: "RFC 6749 3.1.2; OAuth 2.1 2.3.1; T7",
            run: |s| Box::pin(fragments(s)),
        },
        Case {
            id: "R4",
            severity: High,
            tried: "registering anew under the id of another client",
            source: "RFC 7591 3.2.1 (the id must not be of another client); T7",
            run: |s| Box::pin(takeover(s)),
        },
        Case {
            id: "R5",
            severity: High,
            tried: "the server fetches what a registration names (logo, keys, ...)",
            source: "RFC 7591 5; T19",
            run: |s| Box::pin(fetches(s)),
        },
        Case {
            id: "R6",
            severity: High,
            tried: "a client's metadata document at loopback and private addresses",
            source: "OAuth Client ID Metadata Document 6.5 (SSRF); T19",
            run: |s| Box::pin(documents(s)),
        },
        Case {
            id: "R7",
            severity: Medium,
            tried: "registrations of 5 MiB, deeply nested, not JSON",
            source: "CWE-770 (memory and store without bounds); T18, T34",
            run: |s| Box::pin(bombs(s)),
        },
        Case {
            id: "R8",
            severity: Medium,
            tried: "150 registrations leave earlier clients as they were",
            source: "RFC 7591 5; T18",
            run: |s| Box::pin(flood(s)),
        },
        Case {
            id: "R9",
            severity: Low,
            tried: "redirect URIs of schemes that are nobody's application",
            source: "RFC 8252 8.4 (SHOULD reject); T7",
            run: |s| Box::pin(nobodys(s)),
        },
        Case {
            id: "R10",
            severity: Low,
            tried: "the answer is of the form that is due",
            source: "RFC 7591 3.2.1; S13",
            run: |s| Box::pin(form(s)),
        },
    ]
}

/// Which of these redirect URIs a client gets, and may then use.
async fn usable(s: &Subject, uris: &[&str]) -> Result<(Vec<String>, usize), Trouble> {
    let (mut found, mut only_registered) = (Vec::new(), 0);
    for uri in uris {
        let answer = s.offer(json!([uri]), json!({})).await?;
        let Some(client) = registered(&answer, uri) else { continue };
        // What the server made of it counts: some drop what they do not accept.
        let kept = answer.json().is_some_and(|document| document["redirect_uris"].to_string().contains(uri));
        let page = s.ask(&mut Person::default(), &s.parameters(&client, &Proof::new())).await?;
        if kept && page.answer.status < 400 {
            found.push(format!("{uri} is registered and used"));
        } else {
            only_registered += 1;
        }
    }
    Ok((found, only_registered))
}

async fn scripts(s: &Subject) -> Outcome {
    let (found, late) = usable(s, &SCRIPTS).await?;
    none_of(&found, format!("{} refused, {late} of them only at the authorization", SCRIPTS.len()))
}

async fn plain_http(s: &Subject) -> Outcome {
    let (found, late) = usable(s, &PLAIN).await?;
    none_of(&found, format!("{} refused, {late} of them only at the authorization", PLAIN.len()))
}

async fn nobodys(s: &Subject) -> Outcome {
    let (found, late) = usable(s, &NOBODYS).await?;
    if !found.is_empty() {
        return advice(found.join("; "));
    }
    pass(format!("{} refused, {late} of them only at the authorization", NOBODYS.len()))
}

async fn fragments(s: &Subject) -> Outcome {
    let (found, late) = usable(s, &FRAGMENTS).await?;
    none_of(&found, format!("{} refused, {late} of them only at the authorization", FRAGMENTS.len()))
}

async fn takeover(s: &Subject) -> Outcome {
    let victim = s.register().await?;
    let evil = "https://attacker.example/cb";
    let answer = s.offer(json!([evil]), json!({"client_id": victim.id})).await?;
    if let Some(client) = registered(&answer, evil)
        && client.id == victim.id
    {
        return fail("the id of another client was given again");
    }
    let instead = [("redirect_uri", evil.to_owned())];
    let page = s.ask(&mut Person::default(), &with(s.parameters(&victim, &Proof::new()), &instead)).await?;
    if page.answer.refused() { pass("the other client is as it was") } else { fail("its redirect URIs were exchanged") }
}

async fn fetches(s: &Subject) -> Outcome {
    let canary = Canary::listen(&s.mcp).await?;
    let port = canary.port;
    let local = |scheme: &str, host: &str| format!("{scheme}://{host}:{port}/{}", random_text());
    let mut offered = 0;
    for scheme in ["http", "https"] {
        let url = local(scheme, "127.0.0.1");
        for name in FETCHED {
            offered += 1;
            let more = json!({name: url, "subject_type": "pairwise"});
            let answer = s.offer(json!([REDIRECT_URI]), more).await?;
            let Some(client) = registered(&answer, REDIRECT_URI) else { continue };
            s.ask(&mut Person::default(), &s.parameters(&client, &Proof::new())).await?;
        }
    }
    match canary.hits().await {
        0 => pass(format!("{offered} registrations that name a local address: no connection to it")),
        hits => fail(format!("{hits} connections to a local address that registrations named")),
    }
}

async fn documents(s: &Subject) -> Outcome {
    let canary = Canary::listen(&s.mcp).await?;
    let port = canary.port;
    let mut offered = 0;
    for host in LOCAL {
        for scheme in ["https", "http"] {
            offered += 1;
            let id = format!("{scheme}://{host}:{port}/{}.json", random_text());
            let mut client = s.register().await?;
            client.id = id;
            s.ask(&mut Person::default(), &s.parameters(&client, &Proof::new())).await?;
            let fields = [("grant_type", "authorization_code".to_owned()), ("code", random_text())];
            s.token(&client, &fields).await?;
        }
    }
    let offers = s.metadata["client_id_metadata_document_supported"] == true;
    match canary.hits().await {
        0 if offers => pass(format!("{offered} ids that lead to this machine: no connection")),
        0 => pass(format!("documents are not offered; {offered} ids that lead to this machine: no connection")),
        hits => fail(format!("{hits} connections to loopback, made for {offered} ids")),
    }
}

async fn bombs(s: &Subject) -> Outcome {
    let url = s.endpoint("registration_endpoint")?;
    let long = json!({"client_name": "x".repeat(5 * 1024 * 1024), "redirect_uris": [REDIRECT_URI]}).to_string();
    let deep = format!("{{\"redirect_uris\":[\"{REDIRECT_URI}\"],\"x\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let many: Vec<_> = (0..20_000).map(|number| format!("https://client.example/{number}")).collect();
    let many = json!({"redirect_uris": many}).to_string();
    let mut found = Vec::new();
    let mut told = Vec::new();
    for (name, body) in
        [("5 MiB", long), ("50000 deep", deep), ("20000 redirect URIs", many), ("no JSON", "{".to_owned())]
    {
        match s.client.send(&Request::json(&url, body)).await {
            // To end the connection is to refuse.
            Err(Trouble::NoAnswer) => told.push(format!("{name}: closed")),
            Ok(answer) if answer.refused() => told.push(format!("{name}: {}", answer.status)),
            Ok(answer) => found.push(format!("{name}: {}", answer.status)),
            Err(trouble) => return Err(trouble),
        }
    }
    none_of(&found, told.join(", "))
}

async fn flood(s: &Subject) -> Outcome {
    let first = s.register().await?;
    let mut ids = BTreeSet::new();
    for number in 0..FLOOD {
        match s.register().await {
            Ok(client) => {
                ids.insert(client.id);
            }
            Err(Trouble::Limited) => break,
            Err(trouble) => return fail(format!("after {number} registrations: {trouble}")),
        }
    }
    let page = s.ask(&mut Person::default(), &s.parameters(&first, &Proof::new())).await?;
    if page.answer.status >= 400 {
        return fail(format!("the first client is refused after {} more: {}", ids.len(), page.answer.status));
    }
    pass(format!("{} more ids, and the first client still works", ids.len()))
}

async fn form(s: &Subject) -> Outcome {
    let answer = s.offer(json!([REDIRECT_URI]), json!({})).await?;
    let document = answer.json().unwrap_or_default();
    let mut found = Vec::new();
    if answer.status != 201 {
        found.push(format!("{} and not 201", answer.status));
    }
    if document["client_secret"].is_string() && document["client_secret_expires_at"].is_null() {
        found.push("a secret without client_secret_expires_at".to_owned());
    }
    if !document["registration_client_uri"].is_null() && document["registration_access_token"].is_null() {
        found.push("registration_client_uri without a token for it".to_owned());
    }
    if !found.is_empty() {
        return fail(found.join("; "));
    }
    let public = document["token_endpoint_auth_method"] == "none" && document["client_secret"] != Value::Null;
    if public {
        return advice("a secret for a client that asked for none");
    }
    if answer.may_be_kept() {
        return advice("201, but without Cache-Control: no-store");
    }
    pass("201, no-store")
}

const SCRIPTS: [&str; 8] = [
    "javascript:alert(1)//",
    "javascript://client.example/%0aalert(1)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "DATA:text/html;base64,PHNjcmlwdD4=",
];
/// Without a period, as every scheme that an application may make its own has one.
const NOBODYS: [&str; 5] = [
    "blob:https://client.example/1",
    "about:blank",
    "view-source:https://client.example/",
    "ftp://client.example/cb",
    "tel:1",
];
const PLAIN: [&str; 6] = [
    "http://attacker.example/cb",
    "http://192.0.2.7/cb",
    "http://localhost.attacker.example/cb",
    "http://127.0.0.1.attacker.example/cb",
    "http://localhost@attacker.example/cb",
    "http://0x7f000001.attacker.example/cb",
];
const FRAGMENTS: [&str; 2] = ["https://client.example/cb#x", "http://127.0.0.1:33418/callback#x"];
const FETCHED: [&str; 8] = [
    "logo_uri",
    "client_uri",
    "policy_uri",
    "tos_uri",
    "jwks_uri",
    "sector_identifier_uri",
    "initiate_login_uri",
    "software_statement",
];
/// Spellings of this machine.
const LOCAL: [&str; 9] = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "2130706433",
    "0x7f.1",
    "0",
    "localhost.",
];
const FLOOD: usize = 150;
