//! What requests to the admin listener that tell or change something must be like, and how they are answered.
//!
//! Nobody signs in here, so whoever reaches the listener may ask; a browser of somebody who reaches it must not be made
//! to. A page has an `Origin` or says where it is from, a name that was pointed here (DNS rebinding) is no IP address, and a
//! form cannot send JSON.

use std::net::IpAddr;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use super::answer;
use crate::audit::Context;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("ask by IP address or as localhost, not by name")]
    Host,
    #[error("not for web pages")]
    Page,
    #[error("only from this machine: use ssh -L or kubectl port-forward")]
    Elsewhere,
    #[error("only {0}")]
    Method(&'static str),
    #[error("send application/json")]
    NotJson,
    #[error("not a form of the status page; load it anew")]
    NotOurForm,
    #[error("the body is too long, too slow or broken off")]
    Body,
    /// In words for the caller.
    #[error("{0}")]
    Wrong(String),
    /// Likewise.
    #[error("{0}")]
    Unknown(&'static str),
    #[error("the store does not answer; ask again")]
    Away,
}

/// Lets a request for what only answers `GET` pass.
pub fn check_get(session: &ServerSession) -> Result<(), Refusal> {
    let header = session.req_header();
    is_no_page(&header.uri, &header.headers)?;
    if header.method == Method::GET { Ok(()) } else { Err(Refusal::Method("GET")) }
}

/// The body of a request that changes something.
pub async fn read_post(session: &mut ServerSession) -> Result<BytesMut, Refusal> {
    let header = session.req_header();
    is_no_page(&header.uri, &header.headers)?;
    if header.method != Method::POST {
        return Err(Refusal::Method("POST"));
    }
    if !is_json(&header.headers) {
        return Err(Refusal::NotJson);
    }
    let body = tokio::time::timeout(BODY_DEADLINE, read_body(session)).await;
    body.ok().flatten().ok_or(Refusal::Body)
}

/// The body of a form that our own page has sent: its origin is the very address that was asked, and it says so itself.
pub async fn read_form(session: &mut ServerSession) -> Result<BytesMut, Refusal> {
    let header = session.req_header();
    let (host, origin) = (single(&header.headers, &HOST), single(&header.headers, &ORIGIN));
    is_at_an_address(&header.uri, &header.headers)?;
    is_from_no_other_site(&header.headers)?;
    if header.method != Method::POST {
        return Err(Refusal::Method("POST"));
    }
    let ours = host.map(|host| format!("http://{host}"));
    if origin.is_none() || origin != ours.as_deref() || single(&header.headers, &CONTENT_TYPE) != Some(FORM) {
        return Err(Refusal::NotOurForm);
    }
    let body = tokio::time::timeout(BODY_DEADLINE, read_body(session)).await;
    body.ok().flatten().ok_or(Refusal::Body)
}

/// The only value of a header; `None` when there are none, several, or no text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.to_str().ok()
}

/// Who asks, for the audit log.
pub fn context(session: &ServerSession) -> Context {
    let address = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
    Context { address, ..Context::default() }
}

pub fn refused(session: &mut ServerSession, refusal: &Refusal) -> Response<Vec<u8>> {
    // What was not read of the request must not become the next one.
    session.set_keepalive(None);
    refusal.answer()
}

impl Refusal {
    fn answer(&self) -> Response<Vec<u8>> {
        let status = match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Page | Self::Elsewhere | Self::NotOurForm => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body | Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Away => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = json_answer(status, &error(&self.to_string()));
        if let Self::Method(method) = self {
            set(&mut response, ALLOW, method);
        }
        response
    }
}

/// What only programs ask for: a browser's page would have an `Origin`, ours too.
fn is_no_page(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    is_at_an_address(uri, headers)?;
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Page);
    }
    is_from_no_other_site(headers)
}

/// A name could have been pointed here by anybody.
fn is_at_an_address(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let named = [host.as_ref(), uri.authority()];
    if host.is_none() || hosts.next().is_some() || !named.into_iter().flatten().all(is_an_address) {
        return Err(Refusal::Host);
    }
    Ok(())
}

/// `none` is somebody who typed the address.
fn is_from_no_other_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_ours = |site: &HeaderValue| site == "none" || site == "same-origin";
    if headers.get_all("sec-fetch-site").iter().all(is_ours) { Ok(()) } else { Err(Refusal::Page) }
}

fn is_an_address(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// `None` when it is too long or breaks off.
async fn read_body(session: &mut ServerSession) -> Option<BytesMut> {
    let mut body = BytesMut::new();
    while let Some(chunk) = session.read_request_body().await.ok()? {
        if body.len() + chunk.len() > BODY_LIMIT {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

pub fn error(words: &str) -> Value {
    json!({ "error": words })
}

pub fn json_answer(status: StatusCode, body: &Value) -> Response<Vec<u8>> {
    let mut response = answer(status, "application/json", body.to_string().into_bytes());
    set(&mut response, CACHE_CONTROL, "no-store");
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        set(&mut response, RETRY_AFTER, "2");
    }
    response
}

pub fn set(response: &mut Response<Vec<u8>>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

const FORM: &str = "application/x-www-form-urlencoded";
/// A client id is the longest thing to be named, and may be a few kilobytes.
const BODY_LIMIT: usize = 16 * 1024;
const BODY_DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let pairs = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a header's value"))
        });
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            all.append(name, value);
        }
        is_no_page(&Uri::from_static("/sessions"), &all)
    }

    #[test]
    fn addresses_are_answered_and_names_are_not() {
        for host in ["127.0.0.1:9464", "[::1]:9464", "10.0.0.7:9464", "localhost", "LOCALHOST:9464", "[fd00::1]"] {
            assert_eq!(checked(&[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example", "2130706433.example", "", "[::1"]
        {
            assert_eq!(checked(&[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(checked(&[]), Err(Refusal::Host));
        assert_eq!(checked(&[("host", "127.0.0.1"), ("host", "evil.example")]), Err(Refusal::Host));
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1"));
        let absolute = Uri::from_static("http://evil.example/sessions");
        assert_eq!(is_no_page(&absolute, &headers), Err(Refusal::Host));
    }

    #[test]
    fn pages_are_refused_and_people_are_not() {
        let host = ("host", "127.0.0.1:9464");
        for site in ["none", "same-origin"] {
            assert_eq!(checked(&[host, ("sec-fetch-site", site)]), Ok(()));
        }
        for site in ["cross-site", "same-site", "", "None"] {
            assert_eq!(checked(&[host, ("sec-fetch-site", site)]), Err(Refusal::Page), "{site}");
        }
        assert_eq!(checked(&[host, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]), Err(Refusal::Page));
        for origin in ["https://evil.example", "null", "http://127.0.0.1:9464"] {
            assert_eq!(checked(&[host, ("origin", origin)]), Err(Refusal::Page), "{origin}");
        }
    }
}
