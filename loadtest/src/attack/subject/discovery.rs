//! How a client finds the authorization server.

use serde_json::Value;
use url::Url;

use super::{Subject, initialize};
use crate::attack::http::{Client, Request};
use crate::attack::person::Buttons;

impl Subject {
    /// Finds the authorization server as a client does: by the challenge, else at the well-known places.
    pub async fn discover(client: Client, mcp: Url, buttons: Buttons) -> anyhow::Result<Self> {
        let answer = client.send(&initialize(&mcp)).await?;
        let named = answer.header("www-authenticate").and_then(|challenge| parameter(challenge, "resource_metadata"));
        let mut places: Vec<_> = named.and_then(|url| Url::parse(&url).ok()).into_iter().collect();
        places.extend(well_known(&mcp, "oauth-protected-resource"));
        let resource = first_document(&client, &places, "resource").await;
        let issuer = resource
            .as_ref()
            .and_then(|(_, document)| document["authorization_servers"][0].as_str())
            .and_then(|issuer| Url::parse(issuer).ok());
        let issuer = match issuer {
            Some(issuer) => issuer,
            None => mcp.join("/")?,
        };
        let mut places = well_known(&issuer, "oauth-authorization-server");
        places.extend(well_known(&issuer, "openid-configuration"));
        places.push(issuer.join(&format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/')))?);
        let found = first_document(&client, &places, "authorization_endpoint").await;
        let Some((metadata_url, metadata)) = found else {
            anyhow::bail!(
                "no metadata of an authorization server at {issuer} (another origin has to be allowed by --also)"
            );
        };
        Ok(Self { client, mcp, buttons, resource, issuer, metadata_url, metadata })
    }
}

/// A parameter of a challenge (RFC 9110 section 11.2).
pub fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, rest) = challenge.split_once(&format!("{name}="))?;
    Some(match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default().to_owned(),
        None => rest.split([',', ' ']).next().unwrap_or_default().to_owned(),
    })
}

/// Before the path (RFC 8615), and without it.
fn well_known(url: &Url, name: &str) -> Vec<Url> {
    let path = url.path().trim_end_matches('/');
    let places = [format!("/.well-known/{name}{path}"), format!("/.well-known/{name}")];
    places.iter().filter_map(|place| url.join(place).ok()).collect()
}

/// The first of these places that has a document with this member.
async fn first_document(client: &Client, places: &[Url], member: &str) -> Option<(Url, Value)> {
    for place in places {
        if let Ok(answer) = client.send(&Request::get(place)).await
            && let Some(document) = answer.json().filter(|document| document.get(member).is_some())
        {
            return Some((place.clone(), document));
        }
    }
    None
}
