//! One bounded way to speak HTTP: no redirects, no cookies, no `Origin`, deadlines on everything, capped answers.
//! Following a redirect would hand a code or an assertion to a host nobody configured.

use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode};
use zeroize::Zeroizing;

use crate::SetUpError;

/// Who is at the other end; it decides about proxies, roots of trust and patience.
pub(crate) enum Peer<'a> {
    /// Entra itself: system roots and perhaps one more, proxies as the environment says.
    Entra { extra_ca_file: Option<&'a Path> },
    /// A host on this machine or this link: a proxy in between would see what must not leave it. With `plain` it is only
    /// ever spoken to by http, and so needs no roots of trust; a minimal container has none.
    Near { plain: bool },
}

/// What came back. The body may hold tokens: it is wiped when dropped.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    pub request_id: Option<String>,
    /// By the clock at the other end.
    pub date: Option<SystemTime>,
    /// Never followed.
    pub location: Option<String>,
    pub body: Zeroizing<Vec<u8>>,
}

/// Why nothing (whole) came back. `sent` is false only if the request surely never left.
pub(crate) struct Silence {
    pub sent: bool,
    pub cause: String,
}

pub(crate) fn client(peer: &Peer<'_>) -> Result<Client, SetUpError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(SetUpError::NoTlsProvider);
    }
    let builder = Client::builder().redirect(Policy::none()).referer(false).timeout(WHOLE_CALL);
    let builder = match peer {
        Peer::Near { plain: false } => builder.no_proxy().connect_timeout(CONNECT_NEAR),
        Peer::Near { plain: true } => builder.no_proxy().connect_timeout(CONNECT_NEAR).tls_certs_only([]),
        Peer::Entra { extra_ca_file: None } => builder.connect_timeout(CONNECT),
        Peer::Entra { extra_ca_file: Some(path) } => {
            let unreadable = |cause: String| SetUpError::ExtraCa { path: path.to_path_buf(), cause };
            let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let roots = Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(error.to_string()))?;
            if roots.is_empty() {
                return Err(unreadable("no certificate in it".into()));
            }
            builder.connect_timeout(CONNECT).tls_certs_merge(roots)
        }
    };
    builder.build().map_err(|error| SetUpError::Http(chain(&error)))
}

pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, Silence> {
    // The URL may hold an identity's id; the error kinds say enough without it.
    let silence = |error: reqwest::Error| Silence { sent: !error.is_connect(), cause: chain(&error.without_url()) };
    let mut response = request.send().await.map_err(silence)?;
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let request_id = response.headers().get("x-ms-request-id").and_then(|id| id.to_str().ok()).and_then(guid);
    let date = response.headers().get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(silence)? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(Silence { sent: true, cause: format!("an answer of status {status} beyond 256 KiB") });
        }
        append(&mut body, &chunk);
    }
    Ok(Answer { status, retry_after, request_id, date, location, body })
}

/// A buffer that grows by itself leaves what it held where it was; this one wipes that.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if body.capacity() - body.len() < chunk.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((body.len() + chunk.len()).next_power_of_two()));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

impl Answer {
    /// By how many seconds the clock at the other end is ahead of `now`, if that is worth a word.
    pub fn clock_ahead(&self, now: SystemTime) -> Option<i64> {
        let date = self.date?;
        let ahead = match date.duration_since(now) {
            Ok(ahead) => i64::try_from(ahead.as_secs()).ok()?,
            Err(behind) => -i64::try_from(behind.duration().as_secs()).ok()?,
        };
        (ahead.abs() >= CLOCKS_DIFFER).then_some(ahead)
    }
}

/// A correlation id from outside, if it is one: anything else could forge lines in a log.
pub(crate) fn guid(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text).ok().map(|id| id.to_string())
}

/// Whole seconds, as Entra sends it; never more than an hour.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// reqwest's own words stop at "error sending request"; the reason is in the sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

const CONNECT: Duration = Duration::from_secs(3);
const CONNECT_NEAR: Duration = Duration::from_secs(2);
const WHOLE_CALL: Duration = Duration::from_secs(10);
/// Seconds. Well before tokens are refused for it.
const CLOCKS_DIFFER: i64 = 30;
/// Bytes.
const LARGEST_BODY: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_half_a_minute_are_worth_a_word() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ahead = |seconds: i64| {
            let by = Duration::from_secs(seconds.unsigned_abs());
            let date = Some(if seconds < 0 { now - by } else { now + by });
            let answer = Answer {
                status: StatusCode::OK,
                retry_after: None,
                request_id: None,
                date,
                location: None,
                body: Zeroizing::default(),
            };
            answer.clock_ahead(now)
        };
        assert_eq!(
            [-300, -30, -29, 0, 29, 30, 300].map(ahead),
            [Some(-300), Some(-30), None, None, None, Some(30), Some(300)]
        );
    }
}
