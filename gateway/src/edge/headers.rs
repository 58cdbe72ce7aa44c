//! What is stripped, set and passed on each hop.

mod hop_by_hop;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use hop_by_hop::{is_hop_by_hop, nominated};

/// What a browser may read of our answers (C25).
const EXPOSED: &str = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version";
const ALLOWED: &str = "authorization, content-type, accept, mcp-protocol-version, mcp-session-id, last-event-id, \
                       mcp-method, mcp-name";

/// What of a client's header goes on to an upstream. `None` when its `Connection` is no list of names.
pub fn to_upstream(client: &HeaderMap) -> Option<impl Iterator<Item = (&HeaderName, &HeaderValue)>> {
    let nominated = nominated(client)?;
    Some(client.iter().filter(move |(name, _)| {
        !is_hop_by_hop(name) && !is_refused_upstream(name.as_str()) && !nominated.contains(name)
    }))
}

/// What of an upstream's header stays here: what it may not say to a client, and what was between it and us.
pub fn kept_from_client(upstream: &HeaderMap) -> Vec<HeaderName> {
    let nominated = nominated(upstream).unwrap_or_default();
    let kept =
        |name: &&HeaderName| is_hop_by_hop(name) || is_refused_downstream(name.as_str()) || nominated.contains(name);
    upstream.keys().filter(kept).cloned().collect()
}

/// Whether a header must not reach an upstream from a client: its credentials, and whatever an upstream or its
/// framework might take for a proxy's word on who is calling, from where, or for what (T26). Everything else passes: MCP
/// wants unknown headers forwarded (C3).
fn is_refused_upstream(name: &str) -> bool {
    // Some servers read an underscore or a dot as a hyphen.
    name.contains(['_', '.'])
        || REFUSED_UPSTREAM.contains(&name)
        || match name.strip_prefix("x-") {
            Some(rest) => REFUSED_UPSTREAM_X_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)),
            None => REFUSED_UPSTREAM_PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
        }
}

/// Whether a header must not reach a client from an upstream: challenges, cookies, redirects, CORS, and what binds a
/// browser to a policy for the whole origin, are the edge's own (T28).
fn is_refused_downstream(name: &str) -> bool {
    REFUSED_DOWNSTREAM.contains(&name) || name.starts_with("access-control-")
}

/// `mcp-session-id` is among them because the client's is a sealed name: the edge puts the server's own in its place.
const REFUSED_UPSTREAM: [&str; 13] = [
    "authorization",
    "cookie",
    "origin",
    "referer",
    "forwarded",
    "via",
    "from",
    "mcp-session-id",
    "true-client-ip",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
    "x-method-override",
];

/// How names begin by which proxies, gateways and platforms say who is calling or from where; their `x-` is left off.
const REFUSED_UPSTREAM_X_PREFIXES: [&str; 26] = [
    "forwarded",
    "original-",
    "rewrite-",
    "http-method",
    "client-",
    "cluster-client-",
    "remote-",
    "user",
    "sallyport-",
    "ms-",
    "azure-",
    "arr-",
    "appservice-",
    "zumo-",
    "goog-",
    "amz",
    "envoy-",
    "auth",
    "webauth-",
    "email",
    "consumer-",
    "credential-",
    "pomerium-",
    "ssl-",
    "appengine-",
    "proxy",
];

/// Likewise, of those without an `x-`.
const REFUSED_UPSTREAM_PREFIXES: [&str; 10] = [
    "remote-",
    "cf-",
    "client-cert",
    "ssl-",
    "client-ip",
    "proxy",
    "wl-proxy-",
    "fastly-",
    "tailscale-",
    "impersonate-",
];

const REFUSED_DOWNSTREAM: [&str; 18] = [
    "www-authenticate",
    "proxy-authenticate",
    "proxy-authentication-info",
    "authentication-info",
    "set-cookie",
    "location",
    "content-location",
    "refresh",
    "link",
    "server",
    "alt-svc",
    "clear-site-data",
    "strict-transport-security",
    "content-security-policy",
    "service-worker-allowed",
    "report-to",
    "reporting-endpoints",
    "nel",
];

/// Adds headers to an answer of ours.
pub fn with_headers(mut response: Response<Bytes>, headers: Vec<(HeaderName, HeaderValue)>) -> Response<Bytes> {
    response.headers_mut().extend(headers);
    response
}

/// Which web origins may call the MCP endpoints from a page.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<HeaderValue>);

/// What a request says of the page it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// No page: an ordinary MCP client.
    Program,
    /// A page on an allowed origin.
    Page(HeaderValue),
    /// A page that has no business here: DNS rebinding, or a site that tries its luck (C1).
    Stranger,
}

impl Origins {
    /// `allowed` are origins as a browser writes them, our own included.
    ///
    /// # Errors
    /// The first text that cannot be a header's value.
    pub fn new<'a>(allowed: impl IntoIterator<Item = &'a str>) -> Result<Self, http::header::InvalidHeaderValue> {
        Ok(Self(allowed.into_iter().map(HeaderValue::from_str).collect::<Result<_, _>>()?))
    }

    pub fn caller(&self, headers: &HeaderMap) -> Caller {
        match headers.get(ORIGIN) {
            None => Caller::Program,
            Some(origin) if self.0.contains(origin) => Caller::Page(origin.clone()),
            Some(_) => Caller::Stranger,
        }
    }
}

impl Caller {
    /// The CORS headers of an answer on an MCP path, refusals included: a page must be able to read why.
    pub fn cors(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![(VARY, HeaderValue::from_static("Origin"))];
        if let Caller::Page(origin) = self {
            headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
            headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)));
        }
        headers
    }

    /// The headers of the answer to a preflight: what an MCP client sends, and any `Mcp-Param-*` it asks for.
    pub fn preflight(&self, request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = self.cors();
        if let Caller::Page(_) = self {
            let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|value| value.to_str().ok()).unwrap_or("");
            let parameters = asked.split(',').map(str::trim).filter(|name| {
                name.to_ascii_lowercase().starts_with("mcp-param-") && HeaderName::try_from(*name).is_ok()
            });
            let allowed = std::iter::once(ALLOWED).chain(parameters).collect::<Vec<_>>().join(", ");
            headers.push((ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE, OPTIONS")));
            headers.push((ACCESS_CONTROL_ALLOW_HEADERS, allowed.try_into().expect("header names are visible ASCII")));
            headers.push((ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_identity_stay_at_the_edge() {
        let refused = [
            "Authorization",
            "Cookie",
            "Origin",
            "Referer",
            "Forwarded",
            "Via",
            "Proxy",
            "Mcp-Session-Id",
            "X-Forwarded",
            "X-Forwarded-User",
            "X.Forwarded.For",
            "x_forwarded_user",
            "X-MS-CLIENT-PRINCIPAL",
            "Remote-User",
            "X-Auth-Request-User",
            "X-User",
            "X-Goog-Iap-Jwt-Assertion",
            "X-Amzn-Oidc-Data",
            "Cf-Access-Jwt-Assertion",
            "Client-Cert",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "X-Envoy-Original-Path",
            "True-Client-IP",
            "X-WebAuth-User",
            "X-Authenticated-UserId",
            "X-Authentik-Username",
            "X-Email",
            "X-Consumer-Username",
            "X-Credential-Identifier",
            "X-Pomerium-Jwt-Assertion",
            "X-SSL-Client-S-DN",
            "X-AppEngine-User-Email",
            "X-Proxy-User",
            "Client-IP",
            "Proxy-Client-IP",
            "WL-Proxy-Client-IP",
            "Fastly-Client-IP",
            "Tailscale-User-Login",
            "Impersonate-User",
        ];
        let passed = [
            "mcp-protocol-version",
            "mcp-method",
            "mcp-name",
            "mcp-param-x",
            "last-event-id",
            "accept",
            "content-type",
            "user-agent",
            "traceparent",
            "tracestate",
            "baggage",
            "x-api-version",
        ];
        for name in refused {
            assert!(is_refused_upstream(&name.to_ascii_lowercase()), "{name}");
        }
        for name in passed {
            assert!(!is_refused_upstream(name), "{name}");
        }
    }

    #[test]
    fn an_upstream_neither_challenges_nor_sets_cookies_nor_redirects() {
        for refused in
            ["www-authenticate", "set-cookie", "location", "server", "alt-svc", "access-control-allow-origin"]
        {
            assert!(is_refused_downstream(refused), "{refused}");
        }
        assert!(!is_refused_downstream("mcp-session-id") && !is_refused_downstream("content-type"));
    }

    #[test]
    fn only_listed_origins_are_reflected() {
        let origins = Origins::new(["https://mcp.example.com"]).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(origins.caller(&headers), Caller::Program);
        for (origin, stranger) in [
            ("https://mcp.example.com", false),
            ("http://mcp.example.com", true),
            ("null", true),
            ("https://evil.example", true),
        ] {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(origins.caller(&headers) == Caller::Stranger, stranger, "{origin}");
        }
        assert!(Caller::Stranger.cors().iter().all(|(name, _)| *name != ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn a_preflight_allows_requested_parameters_only() {
        let mut request = HeaderMap::new();
        request.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("Mcp-Param-City, X-Evil"));
        let headers = Caller::Page(HeaderValue::from_static("https://a.example")).preflight(&request);
        let allowed =
            headers.iter().find(|(name, _)| *name == ACCESS_CONTROL_ALLOW_HEADERS).unwrap().1.to_str().unwrap();
        assert!(allowed.ends_with(", mcp-name, Mcp-Param-City"), "{allowed}");
    }
}
