//! The public URL, as a client finds it: its name, its certificate, and whether what answers there is this very edge.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::header::{DATE, HeaderMap, LOCATION, SERVER};
use reqwest::redirect::Policy;
use serde_json::{Map, Value};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::{Host, Url};

use super::entra::of_clock;
use super::finding::shown;
use super::{Finding, Level, Subject, certificate};
use crate::pem;

/// One document as it came.
struct Fetched {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

/// A path with what we would serve there, and what came.
type Pair<'a> = ((&'a str, &'a Bytes), Result<Fetched, String>);

/// Each step needs the one before, so a failure is the last line.
pub async fn look(subject: &Subject) -> Vec<Finding> {
    let mut findings: Vec<_> = of_proxies(subject).into_iter().collect();
    let url = Url::parse(subject.settings.public_url.as_str()).expect("a public URL is a URL");
    let (host, port) = match url.host() {
        Some(Host::Domain(name)) => (name.to_owned(), url.port_or_known_default()),
        Some(Host::Ipv4(address)) => (address.to_string(), url.port_or_known_default()),
        Some(Host::Ipv6(address)) => (address.to_string(), url.port_or_known_default()),
        None => return findings,
    };
    let port = port.unwrap_or(443);
    let addresses = match timeout(PATIENCE, lookup_host((host.as_str(), port))).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(error)) => return with(findings, no_name(&host, &error.to_string())),
        Err(_) => return with(findings, no_name(&host, "the name server does not answer")),
    };
    let texts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    findings.push(Finding::ok("public_url.dns", format!("{host} is at {}", texts.join(", "))));
    let stream = match connect(&addresses).await {
        Ok(stream) => stream,
        Err(cause) => return with(findings, not_reached(subject, &cause).await),
    };
    if url.scheme() == "https" {
        let own = subject.settings.tls.as_ref().and_then(|files| std::fs::read(&files.certificate).ok());
        let own = own.and_then(|pem| pem::chain(&pem).ok()).and_then(|chain| chain.into_iter().next());
        findings.push(certificate::look(stream, &host, own.as_deref(), subject.clock.now()).await);
        if findings.iter().any(|finding| finding.level == Level::Fail) {
            return findings;
        }
    }
    findings.extend(of_documents(subject).await);
    findings
}

fn with(mut findings: Vec<Finding>, last: Finding) -> Vec<Finding> {
    findings.push(last);
    findings
}

/// Who ends TLS in front of the edge is on every connection, and nobody else is seen.
fn of_proxies(subject: &Subject) -> Option<Finding> {
    let settings = &subject.settings;
    let ends_in_front = settings.public_url.scheme() == "https" && settings.tls.is_none();
    (ends_in_front && settings.trusted_proxies.is_empty()).then(|| {
        Finding::warn(
            "listen.trusted_proxies",
            "something in front ends TLS and is not trusted to say who calls: all clients count as one address for [limits]",
            "listen.trusted_proxies = [\"<the network of the balancers>\"]",
        )
    })
}

fn no_name(host: &str, cause: &str) -> Finding {
    let fix = format!("add a record for {host} to its zone, or correct public_url");
    Finding::fail("public_url.dns", format!("{host} has no address: {}", shown(cause)), fix)
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut cause = "no address".to_owned();
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => cause = format!("{address}: {error}"),
            Err(_) => cause = format!("{address} does not answer"),
        }
    }
    Err(cause)
}

async fn not_reached(subject: &Subject, cause: &str) -> Finding {
    const CHECK: &str = "public_url.reachable";
    let url = subject.settings.public_url.as_str();
    let says = format!("{url} cannot be reached: {}", shown(cause));
    if !is_listening(subject).await {
        return not_running(subject);
    }
    let listen = listens_at(subject);
    let fix = format!(
        "the edge listens at {listen}: let the firewall, the balancer and the record of the name lead there. If only this machine \
         cannot reach it, ask from where clients are"
    );
    Finding::fail(CHECK, says, fix)
}

fn not_running(subject: &Subject) -> Finding {
    let says = format!("not running: nothing listens at {}", listens_at(subject));
    Finding::warn("public_url.reachable", says, "start it by sallyport serve --config FILE, then ask the doctor again")
}

fn listens_at(subject: &Subject) -> String {
    subject.settings.listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether anybody does at the edge's own addresses.
async fn is_listening(subject: &Subject) -> bool {
    for address in &subject.settings.listen {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        if timeout(CONNECT, TcpStream::connect((ip, address.port()))).await.is_ok_and(|stream| stream.is_ok()) {
            return true;
        }
    }
    false
}

/// What discovery finds: whether it is ours, and whether it is so to the last byte, as some clients want it (A2).
async fn of_documents(subject: &Subject) -> Vec<Finding> {
    let wanted: BTreeMap<&str, &Bytes> = subject.metadata.documents().collect();
    let client = reqwest::Client::builder().redirect(Policy::none()).no_proxy().timeout(PATIENCE).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let fix = "install the roots of trust of the system (ca-certificates)";
            return vec![Finding::fail("public_url.reachable", shown(&error.to_string()), fix)];
        }
    };
    let asked = wanted.keys().map(|path| fetch(&client, subject.settings.public_url.join(path)));
    let answers = join_all(asked).await;
    let first = answers.iter().find_map(|answer| answer.as_ref().ok());
    let Some(first) = first else {
        let cause = answers.into_iter().find_map(Result::err).unwrap_or_default();
        if subject.settings.tls.as_ref().is_some_and(|files| files.client_ca.is_some()) {
            return vec![Finding::warn(
                "public_url.reachable",
                format!("clients need a certificate, and the doctor has none: {}", shown(&cause)),
                "ask by hand: curl --cert CERTIFICATE --key KEY of a client",
            )];
        }
        return vec![not_reached(subject, &cause).await];
    };
    let date = first.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let clock = date.map(|date| of_clock("clock.public_url", "the public URL's", date, subject.clock.now()));
    let pairs: Vec<_> = wanted.into_iter().zip(answers).collect();
    let Some(stranger) = pairs.iter().find_map(|((_, ours), answer)| is_strange(ours, answer.as_ref().ok()?)) else {
        let url = subject.settings.public_url.as_str();
        let mut findings = vec![Finding::ok("public_url.reachable", format!("{url} leads to this edge"))];
        findings.push(of_bytes(&pairs));
        findings.extend(clock);
        return findings;
    };
    let finding = match is_listening(subject).await {
        true => Finding::fail(
            "public_url.reachable",
            format!("something else answers at {}: {stranger}", subject.settings.public_url.as_str()),
            format!(
                "let the record of the name, or the balancer for every path of that host, lead to {}",
                listens_at(subject)
            ),
        ),
        false => not_running(subject),
    };
    [finding].into_iter().chain(clock).collect()
}

async fn fetch(client: &reqwest::Client, url: String) -> Result<Fetched, String> {
    let words = |error: reqwest::Error| {
        let error = error.without_url();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
    };
    let mut answer = client.get(url).send().await.map_err(words)?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(words)? {
        body.extend_from_slice(&piece);
        if body.len() > LARGEST {
            break;
        }
    }
    Ok(Fetched { status, headers, body: body.into() })
}

/// How a stranger answers; `None` for one who says that the same issuer, or resource, is his own.
fn is_strange(ours: &Bytes, answer: &Fetched) -> Option<String> {
    let (ours, theirs) = (object(ours), object(&answer.body));
    let own = |name: &str| ours.get(name).is_some() && ours.get(name) == theirs.get(name);
    if answer.status == 200 && (own("issuer") || own("resource")) {
        return None;
    }
    let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(shown);
    let mut how = format!("status {}", answer.status);
    if let Some(name) = theirs.get("issuer").or(theirs.get("resource")).and_then(Value::as_str) {
        how += &format!(", of {}", shown(name));
    }
    how += &header(LOCATION).map(|place| format!(", on to {place}")).unwrap_or_default();
    how += &header(SERVER).map(|name| format!(", by {name}")).unwrap_or_default();
    Some(how)
}

fn of_bytes(pairs: &[Pair<'_>]) -> Finding {
    const CHECK: &str = "public_url.metadata";
    for ((path, ours), answer) in pairs {
        let Ok(answer) = answer else {
            return Finding::fail(CHECK, format!("{path} gives no answer"), "see the edge's log, and ask again");
        };
        if answer.body != **ours {
            let (ours, theirs) = (object(ours), object(&answer.body));
            let names = ours.keys().chain(theirs.keys());
            let mut differing: Vec<_> = names.filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect();
            differing.sort();
            differing.dedup();
            let what = if differing.is_empty() { "its form".to_owned() } else { shown(&differing.join(", ")) };
            return Finding::fail(
                CHECK,
                format!("{path} is not what this configuration serves; it differs in {what}"),
                "restart every replica with this file, or ask the doctor with the file that is served; nothing between may rewrite \
                 bodies",
            );
        }
    }
    Finding::ok(CHECK, format!("all {} documents are, to the byte, those of this configuration", pairs.len()))
}

fn object(bytes: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(bytes).unwrap_or_default()
}

const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(3);
/// Ours are below 2 KiB.
const LARGEST: usize = 64 * 1024;
