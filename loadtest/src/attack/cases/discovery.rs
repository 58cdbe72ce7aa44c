//! What the target says of itself: whether it can be believed, and whether a caller can change it.

use url::Url;

use crate::attack::case::{Case, Outcome, Severity, advice, fail, none_of, not_applicable, pass};
use crate::attack::http::{Answer, Request, Trouble, host};
use crate::attack::is_loopback;
use crate::attack::subject::{Subject, initialize, parameter};

pub fn cases() -> Vec<Case> {
    use Severity::{High, Low, Medium};
    vec![
        Case {
            id: "D1",
            severity: High,
            tried: "a call without a token",
            source: "MCP authorization; RFC 9728 5.1; S17",
            run: |s| Box::pin(challenge(s)),
        },
        Case {
            id: "D2",
            severity: High,
            tried: "metadata of the resource is of this resource",
            source: "RFC 9728 3.3; T14",
            run: |s| Box::pin(resource(s)),
        },
        Case {
            id: "D3",
            severity: High,
            tried: "the issuer is the one that was asked for",
            source: "RFC 8414 3.3; T12",
            run: |s| Box::pin(issuer(s)),
        },
        Case {
            id: "D4",
            severity: High,
            tried: "endpoints without TLS, other than on loopback",
            source: "MCP authorization; OAuth 2.1 1.5",
            run: |s| Box::pin(plain_http(s)),
        },
        Case {
            id: "D5",
            severity: Medium,
            tried: "S256 is offered",
            source: "MCP authorization (PKCE); T9",
            run: |s| Box::pin(s256(s)),
        },
        Case {
            id: "D6",
            severity: Low,
            tried: "every endpoint that is advertised is there",
            source: "RFC 8414 2; S14",
            run: |s| Box::pin(advertised(s)),
        },
        Case {
            id: "D7",
            severity: High,
            tried: "metadata and challenge poisoned by Host, X-Forwarded-*, Forwarded",
            source: "T42; RFC 9700 4.13",
            run: |s| Box::pin(poisoned(s)),
        },
        Case {
            id: "D8",
            severity: High,
            tried: "any site reads answers with the person's cookies (CORS with credentials)",
            source: "Fetch 3.3.5; T4",
            run: |s| Box::pin(credentials(s)),
        },
        Case {
            id: "D9",
            severity: Low,
            tried: "a code's answer says who answers (iss)",
            source: "RFC 9207; MCP authorization; T12",
            run: |s| Box::pin(issuer_in_answers(s)),
        },
    ]
}

async fn challenge(s: &Subject) -> Outcome {
    let answer = s.client.send(&initialize(&s.mcp)).await?;
    if answer.status != 401 {
        return fail(format!("{} and not 401", answer.status));
    }
    let kept = answer.header("cache-control").is_some_and(|policy| policy.contains("public"));
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    let named = parameter(challenge, "resource_metadata");
    match (named, &s.resource) {
        _ if kept => fail("the refusal may be kept by caches"),
        (Some(url), Some((at, _))) if url == at.as_str() => pass(format!("401, resource_metadata={url}")),
        (Some(url), _) => fail(format!("401, but there is no metadata at {url}")),
        (None, Some((at, _))) => pass(format!("401 without resource_metadata; metadata is at {at}")),
        (None, None) => fail("401 without resource_metadata, and no metadata at the well-known places"),
    }
}

async fn resource(s: &Subject) -> Outcome {
    let Some((at, document)) = &s.resource else { return fail("there is no metadata of the resource") };
    match document["resource"].as_str() {
        Some(named) if named == s.mcp.as_str() => pass(named),
        // A client may be told of a resource that covers the endpoint.
        Some(named) if covers(named, &s.mcp) => pass(format!("{named}, which covers the endpoint")),
        named => fail(format!("{at} is of {named:?}")),
    }
}

fn covers(named: &str, mcp: &Url) -> bool {
    Url::parse(named).is_ok_and(|named| {
        let path = named.path().trim_end_matches('/');
        named.origin() == mcp.origin()
            && mcp.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

async fn issuer(s: &Subject) -> Outcome {
    let asked = s.resource.as_ref().and_then(|(_, document)| document["authorization_servers"][0].as_str());
    let named = s.metadata["issuer"].as_str();
    match (asked, named) {
        (Some(asked), Some(named)) if asked == named => pass(named),
        (Some(asked), Some(named)) if asked.trim_end_matches('/') == named.trim_end_matches('/') => {
            fail(format!("{named} is asked for as {asked}: clients that compare as they must will stop"))
        }
        (None, Some(named)) if Url::parse(named).is_ok_and(|named| named == s.issuer) => pass(named),
        (asked, named) => fail(format!("asked for {asked:?}, got {named:?}")),
    }
}

async fn plain_http(s: &Subject) -> Outcome {
    let members = s.metadata.as_object().into_iter().flatten();
    let plain = |url: &Url| url.scheme() == "http" && !is_loopback(url);
    let found: Vec<_> = members
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "issuer" || *name == "jwks_uri")
        .filter(|(_, url)| url.as_str().and_then(|url| Url::parse(url).ok()).is_some_and(|url| plain(&url)))
        .map(|(name, url)| format!("{name} is {url}"))
        .collect();
    none_of(&found, "none")
}

async fn s256(s: &Subject) -> Outcome {
    let methods = s.metadata["code_challenge_methods_supported"].to_string();
    if methods.contains("\"S256\"") { pass(methods) } else { fail(format!("only {methods}")) }
}

async fn advertised(s: &Subject) -> Outcome {
    let members = s.metadata.as_object().into_iter().flatten();
    let endpoints: Vec<_> = members
        .filter(|(name, _)| name.ends_with("_endpoint"))
        .filter_map(|(name, url)| Some((name, Url::parse(url.as_str()?).ok()?)))
        .filter(|(_, url)| s.client.allows(url))
        .collect();
    let mut missing = Vec::new();
    for (name, url) in &endpoints {
        // Nothing is authorized here: a form for tokens, a look for pages.
        let request = match name.as_str() {
            "authorization_endpoint" => Request::get(url),
            "registration_endpoint" => Request::json(url, "{}"),
            _ => Request::form(url, [("probe", "1")]),
        };
        if s.client.send(&request).await?.status == 404 {
            missing.push(format!("{name} is 404"));
        }
    }
    none_of(&missing, format!("{} endpoints answer", endpoints.len()))
}

async fn poisoned(s: &Subject) -> Outcome {
    let mut found = Vec::new();
    let mut tried = 0;
    let documents = [Some(&s.metadata_url), s.resource.as_ref().map(|(at, _)| at)];
    for url in documents.into_iter().flatten() {
        for (name, value) in POISON {
            tried += 1;
            look(&mut found, name, s.client.send(&Request::get(url).with(name, value)).await)?;
        }
    }
    for (name, value) in POISON {
        tried += 1;
        look(&mut found, name, s.client.send(&initialize(&s.mcp).with(name, value)).await)?;
    }
    // A target that is asked in absolute form, by two names at once.
    tried += 1;
    let absolute = Request::get(&s.metadata_url).at(format!("http://{EVIL}{}", s.metadata_url.path()));
    look(&mut found, "absolute form", s.client.send(&absolute.with("Host", host(&s.metadata_url))).await)?;
    none_of(&found, format!("{tried} requests: refused or unchanged"))
}

fn look(found: &mut Vec<String>, name: &str, answer: Result<Answer, Trouble>) -> Result<(), Trouble> {
    let answer = match answer {
        // To end the connection is to refuse.
        Err(Trouble::NoAnswer) => return Ok(()),
        answer => answer?,
    };
    let told = |text: &str| text.contains(EVIL);
    let answers = answer.status < 400 || answer.status == 401;
    if answers && (told(&answer.text()) || answer.headers.iter().any(|(_, value)| told(value))) {
        found.push(format!("{name} is believed ({})", answer.status));
    }
    Ok(())
}

async fn credentials(s: &Subject) -> Outcome {
    let mut found = Vec::new();
    let mut open = 0;
    let mut urls = vec![s.metadata_url.clone(), s.mcp.clone()];
    urls.extend(s.resource.as_ref().map(|(at, _)| at.clone()));
    for name in ["token_endpoint", "registration_endpoint", "authorization_endpoint", "revocation_endpoint"] {
        urls.extend(s.endpoint(name).ok());
    }
    for url in urls.iter().filter(|url| s.client.allows(url)) {
        let get = Request::get(url).with("Origin", ORIGIN);
        let preflight = get.clone().method("OPTIONS").with("Access-Control-Request-Method", "POST");
        for request in [get, preflight] {
            let answer = s.client.send(&request).await?;
            let allowed = answer.header("access-control-allow-origin").unwrap_or_default();
            open += usize::from(!allowed.is_empty());
            let with_cookies = answer.header("access-control-allow-credentials") == Some("true");
            // A browser takes no asterisk together with cookies.
            if with_cookies && allowed == ORIGIN {
                found.push(format!("{} {}", request.method, url.path()));
            }
        }
    }
    none_of(&found, format!("{open} answers are for any site, none with cookies"))
}

async fn issuer_in_answers(s: &Subject) -> Outcome {
    let promised = s.metadata["authorization_response_iss_parameter_supported"] == true;
    let granted = match s.grant(0).await {
        Ok(granted) => granted,
        Err(_) if !promised => return not_applicable("not advertised, and no answer to look at without a sign-in"),
        Err(trouble) => return Err(trouble),
    };
    let given: Vec<_> =
        granted.answer.query_pairs().filter(|(name, _)| name == "iss").map(|(_, value)| value.into_owned()).collect();
    match given.as_slice() {
        [one] if s.metadata["issuer"] == **one => pass(format!("iss={one}")),
        [] if promised => fail("promised in the metadata, and not there"),
        [] => advice("not there, and not promised: only a client that talks to one server is safe from a mix-up"),
        other => fail(format!("{other:?}")),
    }
}

const EVIL: &str = "attacker.example";
const ORIGIN: &str = "https://attacker.example";
const POISON: [(&str, &str); 9] = [
    ("Host", EVIL),
    ("X-Forwarded-Host", EVIL),
    ("X-Forwarded-Server", EVIL),
    ("X-Host", EVIL),
    ("X-Original-Host", EVIL),
    ("X-Forwarded-Prefix", "//attacker.example"),
    ("X-Forwarded-Proto", "attacker.example"),
    ("Forwarded", "host=attacker.example;proto=http"),
    ("X-Original-URL", "//attacker.example/"),
];
