//! The documents that clients discover us by: RFC 8414 for the authorization server, RFC 9728 for each resource.
//!
//! Made once from what is configured and routed; a `Host` header has no say in them (T42). Asked for often and never
//! allowed to fail (Q15).

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::registration::AuthenticationMethod;
use super::error::Error;
use super::{SCOPE, Settings};
use crate::public_url::PublicUrl;

const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// Where the resource at `path` is described, for the `WWW-Authenticate` of a challenge (RFC 9728 section 5.1).
pub fn resource_metadata_url(public_url: &PublicUrl, path: &str) -> String {
    format!("{}{PROTECTED_RESOURCE}{path}", public_url.as_str())
}

/// Every document by its path.
pub struct Metadata(HashMap<String, Document>);

struct Document {
    body: Bytes,
    etag: HeaderValue,
}

impl Metadata {
    pub fn new(settings: &Settings) -> Self {
        let mut documents = HashMap::new();
        documents.insert(AUTHORIZATION_SERVER.to_owned(), Document::new(&authorization_server(settings)));
        // Clients compare `resource` with the URL that the user typed: each spelling has a document that says just that.
        let variants = settings
            .resources
            .iter()
            .flat_map(|resource| ["", "/", "/sse"].map(|suffix| format!("{}{suffix}", resource.path())));
        for path in variants.chain([String::new()]) {
            let document = Document::new(&protected_resource(settings, &path));
            documents.insert(format!("{PROTECTED_RESOURCE}{path}"), document);
        }
        Self(documents)
    }

    /// Each as it is served, by its path.
    pub fn documents(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(path, document)| (path.as_str(), &document.body))
    }

    pub fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let document = self.0.get(request.uri().path()).ok_or(Error::NotFound)?;
        let known = request.headers().get(IF_NONE_MATCH) == Some(&document.etag);
        let mut response = Response::new(if known { Bytes::new() } else { document.body.clone() });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(ETAG, document.etag.clone());
        Ok(response)
    }
}

impl Document {
    fn new(content: &Value) -> Self {
        let body = Bytes::from(content.to_string());
        let digest = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&body)[..12]);
        Self { etag: HeaderValue::try_from(format!("\"{digest}\"")).expect("base64url is visible ASCII"), body }
    }
}

/// Says only what is served (S14), and has no member that is null (A4).
fn authorization_server(settings: &Settings) -> Value {
    let methods = AuthenticationMethod::ALL.map(AuthenticationMethod::as_str);
    let url = &settings.public_url;
    let mut document = json!({
        "issuer": url.as_str(),
        "authorization_endpoint": url.join("/authorize"),
        "token_endpoint": url.join("/token"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "revocation_endpoint": url.join("/revoke"),
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "scopes_supported": [SCOPE],
        "authorization_response_iss_parameter_supported": true,
    });
    if settings.clients.documents.is_some() {
        document["client_id_metadata_document_supported"] = true.into();
    }
    if settings.clients.registration {
        document["registration_endpoint"] = url.join("/register").into();
    }
    document
}

fn protected_resource(settings: &Settings, path: &str) -> Value {
    json!({
        "resource": settings.public_url.join(path),
        "authorization_servers": [settings.public_url.as_str()],
        "scopes_supported": [SCOPE],
        "bearer_methods_supported": ["header"],
        "resource_name": settings.server_name,
    })
}
