//! One GET to a place that a stranger chose.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode};

use super::address;
use super::url::DocumentUrl;

/// For all of it, so that a server that drips holds nothing.
const DEADLINE: Duration = Duration::from_secs(3);
/// Bytes; the draft's own recommendation.
const LARGEST_DOCUMENT: usize = 5 * 1024;

/// From a host name to its addresses.
pub type Resolver = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// How the Internet is reached. Configuration knows only the default; a test puts a loopback server in the Internet's place.
#[derive(Clone)]
pub struct Network {
    pub resolver: Resolver,
    pub may_connect: fn(IpAddr) -> bool,
    /// DER: a root of trust besides the system's.
    pub extra_root: Option<Vec<u8>>,
}

pub struct Fetcher {
    http: Client,
}

pub struct Fetched {
    pub body: Vec<u8>,
    /// What the headers say.
    pub lifetime: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It may be better in a while.
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("{0}")]
    Bad(String),
}

impl Default for Network {
    fn default() -> Self {
        Self { resolver: Arc::new(|host| Box::pin(look_up(host))), may_connect: address::is_public, extra_root: None }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Network(..)")
    }
}

impl Fetcher {
    pub fn new(network: &Network) -> Result<Self, reqwest::Error> {
        let mut builder = Client::builder()
            .https_only(true)
            .http1_only()
            .redirect(Policy::none())
            // A proxy would resolve the name a second time, out of our sight.
            .no_proxy()
            .referer(false)
            .timeout(DEADLINE)
            // A pooled connection would outlive the judgement of its address.
            .pool_max_idle_per_host(0)
            .dns_resolver(Guard { resolver: network.resolver.clone(), may_connect: network.may_connect });
        if let Some(root) = &network.extra_root {
            builder = builder.tls_certs_merge([Certificate::from_der(root)?]);
        }
        Ok(Self { http: builder.build()? })
    }

    pub async fn get(&self, url: &DocumentUrl) -> Result<Fetched, FetchError> {
        let request = self.http.get(url.as_str()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(silence)?;
        check(&response)?;
        let lifetime = lifetime(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silence)? {
            if body.len() + chunk.len() > LARGEST_DOCUMENT {
                return Err(FetchError::Bad("longer than 5 KiB".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, lifetime })
    }
}

/// Resolves a name once and lets the connector see nothing but addresses that were judged: there is no second look-up that
/// could answer differently (DNS rebinding).
struct Guard {
    resolver: Resolver,
    may_connect: fn(IpAddr) -> bool,
}

/// One address is not public. The others might be, but a name that mixes them is up to something.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that is not public")]
struct Blocked;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (addresses, may_connect) = ((self.resolver)(name.as_str().to_owned()), self.may_connect);
        Box::pin(async move {
            let addresses = addresses.await?;
            if addresses.is_empty() {
                return Err("the name has no address".into());
            }
            if !addresses.iter().all(|address| may_connect(*address)) {
                return Err(Blocked.into());
            }
            // Port 0: the one of the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

async fn look_up(host: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 443)).await?.map(|address| address.ip()).collect())
}

/// What says for good that there is no such document, and what may pass: a firewall's 403 must not make a client that is known
/// register anew.
fn check(response: &Response) -> Result<(), FetchError> {
    let status = response.status();
    let words = || format!("status {}", status.as_u16());
    match status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(FetchError::Bad(words())),
        _ if status.is_success() || status.is_redirection() => return Err(FetchError::Bad(words())),
        _ => return Err(FetchError::NoAnswer(words())),
    }
    match response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json) {
        true => Ok(()),
        false => Err(FetchError::Bad("not application/json".to_owned())),
    }
}

/// `application/json`, or a type that says it is written in JSON.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// RFC 9111 sections 5.2.2.1 and 5.2.2.10: we are a shared cache.
fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<_> =
        directives.flat_map(|value| value.split(',')).map(|part| part.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|part| part == "no-store" || part == "no-cache") {
        return None;
    }
    let seconds = |name: &str| directives.iter().find_map(|part| part.strip_prefix(name)?.parse().ok());
    seconds("s-maxage=").or_else(|| seconds("max-age=")).map(Duration::from_secs)
}

/// The URL is a stranger's, and stays out of the log; the reason is in the sources.
fn silence(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = source {
        if cause.is::<Blocked>() {
            return FetchError::Bad(cause.to_string());
        }
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    FetchError::NoAnswer(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_how_long_a_document_is_good() {
        let lifetime = |value: &'static str| {
            lifetime(&HeaderMap::from_iter([(CACHE_CONTROL, value.parse().unwrap())])).map(|known| known.as_secs())
        };
        assert_eq!(lifetime("public, max-age=3600"), Some(3600));
        assert_eq!(lifetime("max-age=60, S-MaxAge=7200"), Some(7200));
        for none in ["no-store, max-age=3600", "no-cache", "private", "max-age=soon", "max-age=-1", ""] {
            assert_eq!(lifetime(none), None, "{none}");
        }
    }

    #[test]
    fn json_by_any_of_its_names() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/oauth-client+json"] {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "text/html", "text/json", "application/jsonp", "text/x+json", "application/javascript"] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
