//! `[[upstream]]`: what stands behind the edge.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::reader::Section;
use crate::config::values::{duration, origin, path, pem_file, roots_of_trust, scope, secret};
use crate::pem::PemError;
use crate::pool::{self, HealthSettings, HttpVersion, Resolver, Tls};
use crate::server::UpstreamSettings;

/// `None` goes with at least one mistake, an empty list too.
pub fn read(root: &Section<'_>, default_scope: Option<&str>) -> Option<Vec<UpstreamSettings>> {
    let mut taken = Taken::default();
    let read: Vec<_> =
        root.sections("upstream").iter().map(|section| upstream(section, default_scope, &mut taken)).collect();
    let upstreams: Option<Vec<_>> = read.into_iter().collect();
    upstreams.filter(|upstreams| !upstreams.is_empty())
}

/// What the upstreams before have.
#[derive(Default)]
struct Taken {
    names: Vec<String>,
    paths: Vec<String>,
}

fn upstream(section: &Section<'_>, default_scope: Option<&str>, taken: &mut Taken) -> Option<UpstreamSettings> {
    let name = section.text("name").required("a short name for logs and metrics").parse(|text| taken.name(text));
    let path_here = section.text("path").required("where clients find it, such as /mcp").parse(|text| taken.path(text));
    let what = "one or more origins, such as http://10.0.0.5:8000";
    let servers = section.list("servers").required(what).each(origin);
    let tls_here = section.section("tls");
    let tls = tls(&tls_here);
    let versions = [("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2), ("auto", HttpVersion::Negotiated)];
    let http = section.text("http").or("1.1").one_of(&versions);
    let resolve_interval = section.text("resolve_interval").or("10s");
    let resolve_interval =
        resolve_interval.parse(|text| duration(text, Duration::from_secs(1), Duration::from_secs(3600)));
    let endpoint = section.text("endpoint").or("/mcp").parse(path);
    let sse_endpoint = section.text("sse_endpoint").or("/sse").parse(path);
    let health = health(&section.section("health"));
    let headers = headers(&section.section("headers"));
    let access = super::access::upstream(section);
    let scope_here = section.text("scope");
    let scope_here = match default_scope {
        Some(default) => scope_here.or(default).parse(scope),
        None => scope_here.parse(scope),
    };
    section.finish();
    let plain = servers.as_ref().is_some_and(|servers| servers.iter().all(|server| server.scheme() == "http"));
    if plain && tls_here.is_given() {
        section.mistake("tls", "has no use: no server's origin begins with https");
    }
    if plain && http == Some(HttpVersion::Negotiated) {
        section.mistake("http", "must be 1.1 or 2: only servers whose origin begins with https say which they speak");
    }
    let pool = pool::Settings {
        name: name?,
        servers: servers?,
        resolver: Resolver::system(),
        resolve_interval: resolve_interval?,
        tls: tls?,
        http: http?,
        endpoint: endpoint?,
        sse_endpoint: sse_endpoint?,
        health,
        headers: headers?,
    };
    Some(UpstreamSettings { path: path_here?, scope: scope_here?, pool, access: access? })
}

fn health(section: &Section<'_>) -> Option<HealthSettings> {
    if !section.is_given() {
        return None;
    }
    let path = section.text("path").required("the path that answers 200 when a server is well").parse(path);
    let interval = section.text("interval").or("5s");
    let interval = interval.parse(|text| duration(text, Duration::from_secs(1), Duration::from_secs(300)));
    section.finish();
    Some(HealthSettings { path: path?, interval: interval? })
}

fn tls(section: &Section<'_>) -> Option<Tls> {
    let roots = section.text("ca_file").parse(|file| roots_of_trust(&section.content("ca_file", file)));
    let certificate =
        section.text("certificate_file").parse(|file| pem_file(&section.content("certificate_file", file)));
    let key = section.text("key_file").parse(|file| pem_file(&section.content("key_file", file)));
    section.finish();
    let given = section.names();
    for (one, other) in [("certificate_file", "key_file"), ("key_file", "certificate_file")] {
        if given.iter().any(|name| name == one) && !given.iter().any(|name| name == other) {
            section.mistake(other, format!("is missing: {one} needs it"));
        }
    }
    let mut tls = Tls::default();
    if let Some(pem) = roots {
        tls = tls.with_roots(&pem).map_err(|error| section.mistake("ca_file", error.to_string())).ok()?;
    }
    if let (Some(certificate), Some(key)) = (certificate, key) {
        let with = tls.with_certificate(&certificate, &key);
        tls = with.map_err(|error| section.mistake(key_of(&error), error.to_string())).ok()?;
    }
    Some(tls)
}

fn key_of(error: &PemError) -> &'static str {
    match error {
        PemError::NoKey | PemError::Mismatch(_) => "key_file",
        PemError::NoCertificate | PemError::BadRoot(_) | PemError::NoRoot => "certificate_file",
    }
}

fn headers(section: &Section<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let names = section.names();
    let headers: Vec<_> = names.iter().map(|name| header(section, name)).collect();
    section.finish();
    headers.into_iter().collect()
}

fn header(section: &Section<'_>, name: &str) -> Option<(HeaderName, HeaderValue)> {
    let value = section.section(name);
    let file = value.text("file").required("the file that holds the header's value").parse(|file| {
        let secret = secret(&value.content("file", file))?;
        let mut value = HeaderValue::try_from(secret.as_str()).map_err(|_| "must name a file with plain text")?;
        value.set_sensitive(true);
        Ok::<_, String>(value)
    });
    value.finish();
    match header_name(name) {
        Ok(name) => Some((name, file?)),
        Err(words) => {
            section.mistake(name, words);
            None
        }
    }
}

/// Refused are the headers that the edge or HTTP itself sets, and those by which an upstream knows who is calling.
fn header_name(name: &str) -> Result<HeaderName, &'static str> {
    const OWN: [&str; 18] = [
        "accept",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "last-event-id",
        "origin",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    const OWN_PREFIXES: [&str; 4] = ["mcp-", "proxy-", "x-forwarded-", "x-sallyport-"];
    let name = HeaderName::try_from(name).map_err(|_| "is not the name of a header")?;
    let text = name.as_str();
    if OWN.contains(&text) || OWN_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return Err("must not be a header that the edge or HTTP itself sets");
    }
    Ok(name)
}

impl Taken {
    fn name(&mut self, text: &str) -> Result<String, &'static str> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 32 || !text.bytes().all(plain) {
            return Err("must be 1 to 32 lower-case letters, digits and hyphens");
        }
        if self.names.iter().any(|taken| taken == text) {
            return Err("is the name of another upstream");
        }
        self.names.push(text.to_owned());
        Ok(text.to_owned())
    }

    fn path(&mut self, text: &str) -> Result<String, String> {
        path(text)?;
        if text.ends_with('/') {
            return Err("must not end with a slash, and must not be the root".to_owned());
        }
        let under = |own: &str| text.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(own) = OWN_PATHS.iter().find(|own| under(own)) {
            return Err(format!("must not be at or under {own}, an endpoint of the edge itself"));
        }
        for taken in &self.paths {
            if taken == text {
                return Err("is the path of another upstream".to_owned());
            }
            if is_endpoint_of(text, taken) || is_endpoint_of(taken, text) {
                return Err(format!("meets the /sse or /message of the upstream at {taken}, or has that there"));
            }
        }
        self.paths.push(text.to_owned());
        Ok(text.to_owned())
    }
}

/// Whether `path` is where the legacy transport of the upstream at `other` is.
fn is_endpoint_of(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| matches!(rest, "/sse" | "/message"))
}

/// Of the contract: all that the edge answers itself, now or in a later version.
const OWN_PATHS: [&str; 9] = [
    "/.well-known",
    "/authorize",
    "/connections",
    "/consent",
    "/oauth-callback",
    "/register",
    "/revoke",
    "/signed-out",
    "/token",
];
