//! `/register`: dynamic client registration (RFC 7591) that stores nothing.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::client::ClientRef;
use super::client::registration::{AuthenticationMethod, Registration};
use super::client_name::ClientName;
use super::error::Error;
use super::redirect_uri::RedirectUri;
use super::{AuthorizationServer, SCOPE, answer, json as strict_json};
use crate::audit::{Context, Event, Field, Kind, Outcome};

const REDIRECT_URIS_AT_MOST: usize = 10;
/// A client id travels in URLs, where more would be cut off by somebody.
const CLIENT_ID_AT_MOST: usize = 4096;

impl AuthorizationServer {
    pub(super) fn register(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        if !self.settings.clients.registration {
            return Err(Error::RegistrationClosed);
        }
        if !answer::is_of_type(request.headers(), answer::JSON) {
            return Err(Error::InvalidClientMetadata("Send application/json."));
        }
        let metadata = strict_json::parse_object(request.body())
            .map_err(|_| Error::InvalidClientMetadata("Send one JSON object, with each name once."))?;
        check_flow(&metadata)?;
        let registration = Registration {
            name: client_name(&metadata)?,
            redirect_uris: self.redirect_uris(&metadata)?,
            issued: self.clock.now(),
            method: method(&metadata)?,
        };
        let client_id = registration.seal(&self.sealer);
        if client_id.len() > CLIENT_ID_AT_MOST {
            return Err(Error::InvalidClientMetadata("This is too much to register. Use fewer redirect URIs."));
        }
        let secret =
            registration.secret(&self.sealer, &client_id).expect("the key that has just sealed is in the ring");
        self.audit.record(
            Event::new(Kind::ClientRegistered, Outcome::Ok)
                .at(&Context::of(request))
                .client(*ClientRef::of(&client_id).as_bytes())
                .text(Field::Name, &registration.name.to_string())
                .text(Field::Method, registration.method.as_str()),
        );
        let mut answer = registered(&registration, &client_id, &metadata);
        if let Some(secret) = secret {
            answer["client_secret"] = secret.as_str().into();
            // RFC 7591 section 3.2.1: required beside a secret, and 0 says that it does not expire.
            answer["client_secret_expires_at"] = 0.into();
        }
        Ok(answer::json(StatusCode::CREATED, &answer))
    }

    /// The good ones are kept and the bad ones dropped, as RFC 7591 section 2 allows: clients register several at once, and
    /// must not fail for one that we do not take (A18).
    fn redirect_uris(&self, metadata: &Map<String, Value>) -> Result<Vec<RedirectUri>, Error> {
        let Some(Value::Array(sent)) = metadata.get("redirect_uris") else {
            return Err(Error::InvalidRedirectUri("redirect_uris must be a list."));
        };
        if sent.len() > REDIRECT_URIS_AT_MOST {
            return Err(Error::InvalidRedirectUri("Register at most 10 redirect URIs."));
        }
        let mut kept = Vec::new();
        for uri in sent {
            let uri = uri.as_str().ok_or(Error::InvalidRedirectUri("Every redirect URI must be a string."))?;
            let parsed = RedirectUri::parse(uri, &self.settings.clients.custom_schemes);
            match parsed.and_then(|uri| uri.elsewhere(&self.settings.public_url)) {
                Ok(uri) if self.clients.denied().refuses_redirect_uri(uri.as_str()) => {
                    tracing::info!("a redirect URI leads to a denied host");
                }
                Ok(uri) if !kept.contains(&uri) => kept.push(uri),
                Ok(_) => {}
                Err(cause) => tracing::info!(%cause, "a redirect URI was not registered"),
            }
        }
        match kept.is_empty() {
            true => Err(Error::InvalidRedirectUri(
                "Use https, or http on localhost, or a scheme that this server allows; no user name, no fragment, and not this server itself.",
            )),
            false => Ok(kept),
        }
    }
}

fn client_name(metadata: &Map<String, Value>) -> Result<ClientName, Error> {
    match metadata.get("client_name") {
        None | Some(Value::Null) => Ok(ClientName::default()),
        Some(Value::String(name)) => Ok(ClientName::clean(name)),
        Some(_) => Err(Error::InvalidClientMetadata("client_name must be a string.")),
    }
}

/// `none` unless a secret is asked for. RFC 7591's own default is a secret, but clients that say nothing are public ones
/// that would not know what to do with it (A12). RFC 7591 section 2 lets us put another method in the place of one that we
/// do not have, but a client that means to prove itself with a key would be public without knowing it.
fn method(metadata: &Map<String, Value>) -> Result<AuthenticationMethod, Error> {
    match metadata.get("token_endpoint_auth_method") {
        None | Some(Value::Null) => Ok(AuthenticationMethod::None),
        Some(name) => name.as_str().and_then(AuthenticationMethod::named).ok_or(Error::InvalidClientMetadata(
            "Use token_endpoint_auth_method none, client_secret_basic or client_secret_post.",
        )),
    }
}

/// Refuses a client that cannot work here: one that leaves out the only flow there is.
pub fn check_flow(metadata: &Map<String, Value>) -> Result<(), Error> {
    for (name, needed) in [("grant_types", "authorization_code"), ("response_types", "code")] {
        let works = match metadata.get(name) {
            None | Some(Value::Null) => true,
            Some(Value::Array(values)) => values.is_empty() || values.iter().any(|value| value == needed),
            Some(_) => false,
        };
        if !works {
            return Err(Error::InvalidClientMetadata("Use grant type authorization_code and response type code."));
        }
    }
    Ok(())
}

/// RFC 7591 section 3.2.1: what was registered, which may differ from what was asked for. What was not sent and has no
/// value is left out: clients choke on empty strings and nulls (A11).
fn registered(registration: &Registration, client_id: &str, sent: &Map<String, Value>) -> Value {
    let mut answer = json!({
        "client_id": client_id,
        "client_id_issued_at": registration.issued.unix(),
        "client_name": registration.name,
        "redirect_uris": registration.redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": registration.method.as_str(),
    });
    if matches!(sent.get("scope"), Some(Value::String(_))) {
        answer["scope"] = SCOPE.into();
    }
    if let Some(kind @ ("native" | "web")) = sent.get("application_type").and_then(Value::as_str) {
        answer["application_type"] = kind.into();
    }
    answer
}
