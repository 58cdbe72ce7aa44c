//! Redirect URIs: what may be registered, what matches a registration, and the one builder of answers to a client.
//!
//! A redirect URI is only ever compared and copied as text. It is never decoded, folded or normalised: every published
//! bypass lives in the gap between two readings of one URI (T7). Registration therefore admits only URIs that a URL
//! parser reads exactly as they are written.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::public_url::PublicUrl;

/// Longer ones would not survive the trip through Entra and back.
const MAX_LENGTH: usize = 2048;

/// Never a redirect, whatever an operator allows: a browser would run or show what they carry.
const NEVER: [&str; 8] = ["about", "blob", "data", "file", "filesystem", "javascript", "vbscript", "view-source"];

/// Our answer has these exactly once, so a registered URI must not bring its own (T12).
const OURS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];

/// A redirect URI that may be registered. `Deserialize` is for what we sealed ourselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

/// Why a URI may not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedirectUri {
    #[error("longer than 2048 characters")]
    TooLong,
    #[error("not a URI, or not written the way it is read")]
    Malformed,
    #[error("https, or http on localhost, or a scheme that the operator allows")]
    Scheme,
    #[error("a user name or password in it")]
    UserInfo,
    #[error("a fragment in it")]
    Fragment,
    #[error("a parameter in it that only the answer may have")]
    ReservedParameter,
    #[error("an address of this server itself")]
    Ours,
}

/// Where and with which `state` a client wants its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnAddress {
    pub redirect_uri: RedirectUri,
    pub state: Option<String>,
}

impl RedirectUri {
    /// `https` with a DNS name; `http` for the loopback names of RFC 8252 section 7.3; a private-use scheme only when it
    /// is in `custom_schemes`.
    pub fn parse(text: &str, custom_schemes: &[String]) -> Result<Self, BadRedirectUri> {
        if text.len() > MAX_LENGTH {
            return Err(BadRedirectUri::TooLong);
        }
        if text.contains('#') {
            return Err(BadRedirectUri::Fragment);
        }
        if !text.bytes().all(is_uri_character) || has_hidden_character(text) {
            return Err(BadRedirectUri::Malformed);
        }
        let url = Url::parse(text).map_err(|_| BadRedirectUri::Malformed)?;
        if NEVER.contains(&url.scheme()) {
            return Err(BadRedirectUri::Scheme);
        }
        if has_user_info(text) || !url.username().is_empty() || url.password().is_some() {
            return Err(BadRedirectUri::UserInfo);
        }
        // An empty path is the one spelling that a parser changes and clients send.
        if url.as_str() != text && url.as_str().strip_suffix('/') != Some(text) {
            return Err(BadRedirectUri::Malformed);
        }
        match (url.scheme(), url.host()) {
            ("https", Some(Host::Domain(_))) => {}
            ("http", Some(_)) if without_port(text).is_some() => {}
            ("https" | "http", _) => return Err(BadRedirectUri::Scheme),
            (scheme, _) if custom_schemes.iter().any(|allowed| allowed == scheme) => {}
            _ => return Err(BadRedirectUri::Scheme),
        }
        if url.query_pairs().any(|(name, _)| OURS.contains(&name.as_ref())) {
            return Err(BadRedirectUri::ReservedParameter);
        }
        Ok(Self(text.to_owned()))
    }

    /// The URI that a client presents, if this registered one allows it: the same bytes, an empty path being `/`. On
    /// loopback `http` the port may differ, since a native client learns its port late (RFC 8252 section 7.3, D6).
    pub fn accept(&self, presented: &str) -> Option<Self> {
        let presented = Self::parse(presented, &[self.scheme().to_owned()]).ok()?;
        let same = match (without_port(&self.0), without_port(&presented.0)) {
            (Some(registered), Some(presented)) => registered == presented,
            _ => with_path(&self.0) == with_path(&presented.0),
        };
        same.then_some(presented)
    }

    /// The same URI, if it does not lead back to us: no client is there, and a code or an error in the address of one of our
    /// own pages would be where nobody expects it.
    pub fn elsewhere(self, ours: &PublicUrl) -> Result<Self, BadRedirectUri> {
        // A last dot makes no other host.
        let host = host(&self.0);
        let authority = authority(&self.0).replacen(host, host.trim_end_matches('.'), 1);
        let is_web = self.scheme() == "https" || self.scheme() == "http";
        if is_web && ours.is_at(&authority) { Err(BadRedirectUri::Ours) } else { Ok(self) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_loopback(&self) -> bool {
        without_port(&self.0).is_some()
    }

    /// Whether the answer goes to a program on the user's own computer: loopback, or a scheme that opens one.
    pub fn is_local(&self) -> bool {
        self.scheme() != "https"
    }

    /// What a person should look at: the host with its port, or the scheme that opens another program.
    pub fn destination(&self) -> &str {
        match self.scheme() {
            "https" | "http" => authority(&self.0),
            _ => match authority(&self.0) {
                "" => self.scheme(),
                authority => &self.0[..self.scheme().len() + "://".len() + authority.len()],
            },
        }
    }

    fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl ReturnAddress {
    /// The answer that carries a code (RFC 6749 section 4.1.2, RFC 9207).
    pub fn with_code(&self, issuer: &str, code: &str) -> String {
        self.answer(issuer, &[("code", code)])
    }

    /// The answer that says what went wrong (RFC 6749 section 4.1.2.1, RFC 9207).
    pub fn with_error(&self, issuer: &str, error: &str, description: &str) -> String {
        self.answer(issuer, &[("error", error), ("error_description", description)])
    }

    /// The redirect URI stays as it is, byte for byte; what is appended is encoded.
    fn answer(&self, issuer: &str, parameters: &[(&str, &str)]) -> String {
        let mut url = self.redirect_uri.0.clone();
        url.push(match url.contains('?') {
            true => '&',
            false => '?',
        });
        let state = self.state.as_deref().map(|state| ("state", state));
        let pairs = parameters.iter().copied().chain(state).chain([("iss", issuer)]);
        // `%20` and not `+`: not every client reads its answer as a form.
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().replace('+', "%20");
        url.push_str(&query);
        url
    }
}

/// The characters of RFC 3986, and no others.
fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte)
}

/// In front of the query, an encoded separator, dot or `@` means different things to different readers. Nowhere may a
/// control character be encoded, nor a percent sign encode nothing.
fn has_hidden_character(text: &str) -> bool {
    let query = text.find('?').unwrap_or(text.len());
    text.match_indices('%').any(|(at, _)| match text.get(at + 1..at + 3).map(|hex| u8::from_str_radix(hex, 16)) {
        Some(Ok(byte)) => byte.is_ascii_control() || (at < query && b"/\\.@".contains(&byte)),
        _ => true,
    })
}

/// What stands between `://` and the path.
fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
}

fn has_user_info(text: &str) -> bool {
    authority(text).contains('@')
}

/// The host, without its port. Of a private-use scheme, what stands in that place.
pub fn host(text: &str) -> &str {
    let authority = authority(text);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// A loopback `http` URI without its port: host and everything after the port. `None` for any other URI.
fn without_port(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    ["127.0.0.1", "[::1]", "localhost"].into_iter().find_map(|host| {
        let rest = rest.strip_prefix(host)?;
        let rest = match rest.strip_prefix(':') {
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                (digits > 0).then(|| &rest[digits..])?
            }
            None => rest,
        };
        (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| (host, path_or_slash(rest)))
    })
}

fn path_or_slash(rest: &str) -> &str {
    if rest.is_empty() { "/" } else { rest }
}

/// An `https` URI cut into everything before its path, and its path.
fn with_path(text: &str) -> (&str, &str) {
    let authority = authority(text);
    if authority.is_empty() || !text.starts_with("https://") {
        return (text, "");
    }
    let (origin, rest) = text.split_at("https://".len() + authority.len());
    (origin, path_or_slash(rest))
}

#[cfg(test)]
mod tests;
