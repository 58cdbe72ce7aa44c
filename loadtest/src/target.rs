//! Whom load may be put on.
//!
//! Loopback only, and there is no switch: load on anything else needs its owner's word, which no flag can stand for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use http::{HeaderValue, Uri};
use thiserror::Error;
use url::{Host, Position, Url};

/// A URL on this machine.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    address: SocketAddr,
    host: HeaderValue,
}

#[derive(Debug, Error)]
pub enum NotATarget {
    #[error("that is no URL")]
    Malformed,
    #[error("only http: the generator measures the edge, TLS has its own measurements")]
    Scheme,
    #[error("only a loopback address: load on anything else needs its owner's word, which this program cannot ask for")]
    NotLoopback,
}

impl Target {
    /// # Errors
    /// When it is not plain HTTP on loopback.
    pub fn new(url: Url) -> Result<Self, NotATarget> {
        if url.scheme() != "http" {
            return Err(NotATarget::Scheme);
        }
        let ip: IpAddr = match url.host() {
            // Not looked up: whatever a resolver says, this name means this machine.
            Some(Host::Domain("localhost")) => Ipv4Addr::LOCALHOST.into(),
            Some(Host::Ipv4(ip)) => ip.into(),
            Some(Host::Ipv6(ip)) => ip.into(),
            _ => return Err(NotATarget::NotLoopback),
        };
        if !ip.is_loopback() {
            return Err(NotATarget::NotLoopback);
        }
        let address = SocketAddr::new(ip, url.port_or_known_default().unwrap_or(80));
        let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])
            .map_err(|_| NotATarget::Malformed)?;
        Ok(Self { url, address, host })
    }

    /// A reference found in an answer of this target's, such as `/consent?request=…`.
    ///
    /// # Errors
    /// When it leads away from this machine.
    pub fn join(&self, reference: &str) -> Result<Self, NotATarget> {
        Self::new(self.url.join(reference).map_err(|_| NotATarget::Malformed)?)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same URL, served at another address, such as that of one replica.
    ///
    /// # Errors
    /// When the address is not on loopback.
    pub fn served_at(mut self, address: SocketAddr) -> Result<Self, NotATarget> {
        if !address.ip().is_loopback() {
            return Err(NotATarget::NotLoopback);
        }
        self.address = address;
        Ok(self)
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What the `Host` header says.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The request target in origin form.
    pub fn path(&self) -> Uri {
        self.url[Position::BeforePath..Position::AfterQuery].parse().unwrap_or_default()
    }
}

/// Where its requests go: a name, a password or a fragment in the URL is not sent, and not shown.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.url[Position::BeforeHost..Position::AfterPort];
        write!(formatter, "http://{authority}{}", &self.url[Position::BeforePath..Position::AfterQuery])
    }
}

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        Self::new(Url::parse(text).map_err(|_| NotATarget::Malformed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_a_target() {
        for good in ["http://localhost:8080/mcp", "http://127.3.2.1/", "http://[::1]:1/x?y=z"] {
            assert!(good.parse::<Target>().is_ok(), "{good}");
        }
        for bad in [
            "http://mcp.example.com/",
            "http://10.0.0.1/",
            "http://[::2]/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://0.0.0.0/",
            "http://[::ffff:10.0.0.1]/",
            "https://localhost/",
            "localhost:8080",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_shown_without_a_password() {
        let target: Target = "http://me:secret@localhost:8080/mcp?a=b#c".parse().unwrap();
        assert_eq!(target.to_string(), "http://localhost:8080/mcp?a=b");
    }

    #[test]
    fn a_target_knows_what_to_send() {
        let target: Target = "http://localhost:8080/mcp?a=b#c".parse().unwrap();
        assert_eq!(target.host(), "localhost:8080");
        assert_eq!(target.path(), "/mcp?a=b");
        assert_eq!(target.address(), "127.0.0.1:8080".parse().unwrap());
        assert!(target.join("http://192.0.2.1/callback").is_err());
        let replica = target.clone().served_at("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!((replica.host(), replica.address().port()), (target.host(), 9));
        assert!(target.served_at("192.0.2.1:9".parse().unwrap()).is_err());
    }
}
