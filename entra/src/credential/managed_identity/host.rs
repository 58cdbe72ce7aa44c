//! Who hands out a managed identity's tokens: IMDS on machines (entra.md 6.1), an endpoint beside the program on App Service,
//! Functions and Container Apps (6.2). They differ in how they want to be asked, and in one field of the answer.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::credential::{CredentialError, Now};
use crate::http::Answer;
use crate::token::{seconds, seconds_until};
use crate::{AccessToken, Secret, SetUpError};

/// Where IMDS is on every Azure machine.
pub const IMDS: &str = "http://169.254.169.254";

/// Who is asked.
#[derive(Clone, Debug)]
pub enum IdentityHost {
    /// IMDS. Its origin is [`IMDS`] except in tests, in development, and where a proxy stands in for it.
    Metadata { endpoint: String },
    /// What App Service puts beside the program: its whole URL (`IDENTITY_ENDPOINT`), and what shows that we are the program
    /// it was meant for (`IDENTITY_HEADER`).
    AppService { endpoint: String, header: Secret },
}

impl IdentityHost {
    /// Whom the platform's variables name: App Service by its pair, else IMDS, whose place
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST` can change.
    pub fn of_platform(variable: impl Fn(&str) -> Option<String>) -> Self {
        match (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
            (Some(endpoint), Some(header)) => Self::AppService { endpoint, header: header.into() },
            _ => Self::Metadata { endpoint: variable(POD_IDENTITY_AUTHORITY).unwrap_or_else(|| IMDS.to_owned()) },
        }
    }
}

/// What the host is asked, always the same.
pub(super) struct Question {
    url: Url,
    header: (&'static str, Secret),
    now: Now,
}

impl Question {
    pub fn new(host: &IdentityHost, client_id: Option<&str>, resource: &str, now: Now) -> Result<Self, SetUpError> {
        let (mut url, version, header) = match host {
            IdentityHost::Metadata { endpoint } => {
                let mut url = parse(endpoint).filter(|url| url.path() == "/").ok_or(SetUpError::IdentityEndpoint)?;
                url.set_path("/metadata/identity/oauth2/token");
                (url, "2018-02-01", ("Metadata", "true".to_owned().into()))
            }
            IdentityHost::AppService { endpoint, header } => {
                let url = parse(endpoint).ok_or(SetUpError::IdentityEndpoint)?;
                (url, "2019-08-01", ("X-IDENTITY-HEADER", header.clone()))
            }
        };
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if let Some(client_id) = client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        Ok(Self { url, header, now })
    }

    pub fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    pub fn put(&self, http: &reqwest::Client) -> reqwest::RequestBuilder {
        http.get(self.url.clone()).header(self.header.0, self.header.1.expose())
    }

    /// The token of an answer with status 200.
    pub fn token(&self, answer: &Answer) -> Result<AccessToken, CredentialError> {
        #[derive(Deserialize)]
        struct Body {
            access_token: String,
            expires_in: Option<Value>,
            expires_on: Option<Value>,
        }
        let unusable = || CredentialError::Unavailable("the identity's host answered without a token".into());
        let body: Body = serde_json::from_slice(&answer.body).map_err(|_| unusable())?;
        let token = Secret::new(body.access_token);
        // IMDS says both; App Service only when, by the clock of this machine.
        let life = match (body.expires_in, body.expires_on) {
            (Some(life), _) => seconds(&life),
            (None, Some(end)) => seconds_until(&end, (self.now)()),
            (None, None) => None,
        };
        let expires_in = life.filter(|life| !life.is_zero()).ok_or_else(unusable)?;
        if token.expose().is_empty() {
            return Err(unusable());
        }
        Ok(AccessToken { token, expires_in, scope: String::new() })
    }
}

/// What Microsoft's own libraries take the address of IMDS from.
const POD_IDENTITY_AUTHORITY: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

fn parse(endpoint: &str) -> Option<Url> {
    let url = Url::parse(endpoint).ok()?;
    let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.has_host();
    Some(url).filter(|url| bare && matches!(url.scheme(), "http" | "https"))
}
