//! The public origin: the issuer, and the only source of every URL that Sallyport writes.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use url::{Host, Url};

/// `scheme://host[:port]`, no path, no trailing slash. The same bytes go into metadata, challenges and `iss`: one byte of
/// difference stops current clients (RFC 8414 section 3.3; A2).
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: Arc<str>,
    authority: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    #[error("it is not a URL ({0})")]
    Malformed(#[from] url::ParseError),
    #[error("it must be https, or http on localhost for development")]
    Scheme,
    #[error("it must be an origin without path, query, user or trailing slash, written as {0}")]
    NotAnOrigin(String),
}

impl PublicUrl {
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let url = Url::parse(text)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url.host()) => {}
            _ => return Err(PublicUrlError::Scheme),
        }
        let origin = url.origin().ascii_serialization();
        if origin != text {
            return Err(PublicUrlError::NotAnOrigin(origin));
        }
        let (_, authority) = origin.split_once("://").expect("an origin has a scheme");
        Ok(Self { authority: authority.into(), origin: origin.as_str().into() })
    }

    /// The issuer, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.origin
    }

    pub fn scheme(&self) -> &str {
        self.origin.split_once(':').expect("an origin has a scheme").0
    }

    /// `host[:port]`, as a `Host` header names it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether a `Host` header or `:authority` names this origin; its default port may be written out.
    pub fn is_at(&self, host: &str) -> bool {
        let default_port = if self.scheme() == "https" { ":443" } else { ":80" };
        host.strip_suffix(default_port).unwrap_or(host).eq_ignore_ascii_case(&self.authority)
    }

    /// The URL of one of our own paths.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin)
    }
}

/// `localhost`, `127.0.0.0/8` or `[::1]`.
pub fn is_loopback(host: Option<Host<&str>>) -> bool {
    match host {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_byte_for_byte() {
        for text in
            ["https://mcp.example.com", "https://mcp.example.com:8443", "http://localhost:8080", "http://[::1]:80"]
        {
            let parsed = PublicUrl::parse(text);
            match text {
                "http://[::1]:80" => assert!(parsed.is_err(), "a default port is not written"),
                _ => assert_eq!(parsed.unwrap().as_str(), text),
            }
        }
    }

    #[test]
    fn a_host_is_ours_in_any_case_and_with_its_default_port() {
        let url = PublicUrl::parse("https://mcp.example.com").unwrap();
        for host in ["mcp.example.com", "MCP.example.com", "mcp.example.com:443"] {
            assert!(url.is_at(host), "{host}");
        }
        for host in ["mcp.example.com:80", "mcp.example.com.", "evil.example", "", ":443", "a@mcp.example.com"] {
            assert!(!url.is_at(host), "{host}");
        }
    }

    #[test]
    fn anything_but_an_origin_is_refused() {
        for text in ["https://a.example/", "https://a.example/x", "https://u@a.example", "https://A.example"] {
            assert!(matches!(PublicUrl::parse(text), Err(PublicUrlError::NotAnOrigin(_))), "{text}");
        }
        assert_eq!(PublicUrl::parse("http://mcp.example.com"), Err(PublicUrlError::Scheme));
        assert!(PublicUrl::parse("mcp.example.com").is_err());
    }
}
