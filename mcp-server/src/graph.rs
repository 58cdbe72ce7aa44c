//! Microsoft Graph, as far as this server needs it: who is the user (entra.md section 9, MO-7).

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use entra::{AccessToken, ClaimsRequest, Url};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode, header};
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

/// Where Graph is: https, or http on loopback for a stand-in. A user's token goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphUrl(Url);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an https URL without query (http only for a stand-in on a loopback host)")]
pub struct GraphUrlError;

/// The properties that Graph gives of a user by default, and nothing else it may send.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserDetails {
    #[serde(rename = "@odata.context")]
    pub context: Option<String>,
    #[serde(default)]
    pub business_phones: Vec<String>,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub job_title: Option<String>,
    pub mail: Option<String>,
    pub mobile_phone: Option<String>,
    pub office_location: Option<String>,
    pub preferred_language: Option<String>,
    pub surname: Option<String>,
    pub user_principal_name: Option<String>,
    pub id: String,
}

/// Why there are no details.
#[derive(Clone, Debug)]
pub enum GraphError {
    Unauthorized,
    /// The token must say more than it does.
    Challenged(ClaimsRequest),
    Forbidden,
    NotFound,
    /// Throttled, and the wait would be too long.
    Busy,
    Unavailable,
    /// An answer that is not what Graph documents.
    Unreadable,
}

pub struct Graph {
    http: Client,
    me: Url,
}

impl FromStr for GraphUrl {
    type Err = GraphUrlError;

    fn from_str(text: &str) -> Result<Self, GraphUrlError> {
        let url = Url::parse(text).map_err(|_| GraphUrlError)?;
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        if bare && safe && url.has_host() && url.password().is_none() { Ok(Self(url)) } else { Err(GraphUrlError) }
    }
}

impl Graph {
    pub fn new(url: GraphUrl, extra_ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let GraphUrl(mut me) = url;
        // No redirects: the user's token must not follow one to another host.
        let mut http =
            Client::builder().redirect(Policy::none()).referer(false).connect_timeout(CONNECT).timeout(WHOLE_CALL);
        if is_loopback(&me) {
            http = http.no_proxy();
        }
        if me.scheme() == "http" {
            // No roots of trust are needed, and a minimal container has none.
            http = http.tls_certs_only([]);
        }
        if let Some(path) = extra_ca_file {
            let pem = std::fs::read(path).with_context(|| format!("extra_ca_file {}", path.display()))?;
            http = http.tls_certs_merge(Certificate::from_pem_bundle(&pem)?);
        }
        me.set_path(&format!("{}/v1.0/me", me.path().trim_end_matches('/')));
        Ok(Self { http: http.build()?, me })
    }

    /// The user that the token speaks for. Asked a second time if Graph says so and it fits into five seconds.
    pub async fn me(&self, token: &AccessToken) -> Result<UserDetails, GraphError> {
        match self.ask(token).await? {
            Asked::Details(details) => Ok(details),
            Asked::Again { after, error } if after > RETRY_BUDGET => Err(error),
            Asked::Again { after, .. } => {
                tokio::time::sleep(after).await;
                match self.ask(token).await? {
                    Asked::Details(details) => Ok(details),
                    Asked::Again { error, .. } => Err(error),
                }
            }
        }
    }

    async fn ask(&self, token: &AccessToken) -> Result<Asked, GraphError> {
        let request = self.http.get(self.me.clone()).bearer_auth(token.token.expose());
        let mut response = request.send().await.map_err(|error| {
            tracing::warn!(error = %error.without_url(), "no answer from Graph");
            GraphError::Unavailable
        })?;
        let status = response.status();
        // The body of a failure is not read: it may name people, and the status says all we use.
        if status != StatusCode::OK {
            let request_id = response.headers().get("request-id").and_then(|id| id.to_str().ok());
            tracing::warn!(status = status.as_u16(), request_id, "Graph refused");
            return refused(status, response.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| GraphError::Unavailable)? {
            if body.len() + chunk.len() > LARGEST_BODY {
                return Err(GraphError::Unreadable);
            }
            body.extend_from_slice(&chunk);
        }
        // The parser's error is dropped: it may quote what it could not read.
        serde_json::from_slice(&body).map(Asked::Details).map_err(|_| GraphError::Unreadable)
    }
}

#[expect(clippy::large_enum_variant, reason = "lives for one match")]
enum Asked {
    Details(UserDetails),
    Again { after: Duration, error: GraphError },
}

fn refused(status: StatusCode, headers: &header::HeaderMap) -> Result<Asked, GraphError> {
    let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(seconds);
    let again = |error| Ok(Asked::Again { after: after.unwrap_or(USUAL_PAUSE), error });
    match status.as_u16() {
        401 => {
            let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter().map(header::HeaderValue::as_bytes);
            Err(ClaimsRequest::in_challenges(challenges).map_or(GraphError::Unauthorized, GraphError::Challenged))
        }
        403 => Err(GraphError::Forbidden),
        404 => Err(GraphError::NotFound),
        429 => again(GraphError::Busy),
        502..=504 => again(GraphError::Unavailable),
        500.. => Err(GraphError::Unavailable),
        _ => Err(GraphError::Unreadable),
    }
}

/// Graph has sent decimals. What is no time at all counts as too long.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

const CONNECT: Duration = Duration::from_secs(3);
const WHOLE_CALL: Duration = Duration::from_secs(10);
const RETRY_BUDGET: Duration = Duration::from_secs(5);
const USUAL_PAUSE: Duration = Duration::from_secs(2);
/// Bytes.
const LARGEST_BODY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in ["https://graph.microsoft.com", "http://127.0.0.1:9/graph", "http://localhost:9", "http://[::1]/"] {
            assert!(good.parse::<GraphUrl>().is_ok(), "{good}");
        }
        for bad in ["http://graph.microsoft.com", "https://u:p@g", "https://g?a=b", "graph", "http://127.0.0.1.evil"] {
            assert_eq!(bad.parse::<GraphUrl>(), Err(GraphUrlError), "{bad}");
        }
    }

    #[test]
    fn retry_after_may_be_decimal() {
        assert_eq!(seconds("2.128"), Some(Duration::from_secs_f64(2.128)));
        assert_eq!(seconds("3"), Some(Duration::from_secs(3)));
        for bad in ["-1", "soon", "NaN", "inf", ""] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
