//! Metadata documents: from anywhere, fetched because a stranger said so.

use serde_json::Value;
use url::{Host, Url};

use super::super::super::redirect_uri::RedirectUri;
use super::super::Kind;
use super::content;
use super::url::DocumentUrl;
use crate::fuzzing::ISSUER;
use crate::public_url::PublicUrl;

/// The client id, which is the document's URL; from the next line on the document.
pub fn metadata_document(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (text, body) = (std::str::from_utf8(&input[..end]), input.get(end + 1..).unwrap_or_default());
    let Ok(Ok(url)) = text.map(DocumentUrl::parse) else { return };
    is_fit_to_be_fetched(&url);
    let (schemes, ours) = (["cursor".to_owned()], PublicUrl::parse(ISSUER).expect("it is one"));
    let Ok(client) = content::read(&url, body, &schemes, &ours) else { return };
    let document: Value = serde_json::from_slice(body).expect("another reader reads it too");
    assert_eq!(document["client_id"], url.as_str());
    assert!(client.secret.is_none() && document.get("client_secret").is_none());
    let name = client.name.to_string();
    assert!(!name.is_empty() && name.chars().count() <= 128 && !name.chars().any(char::is_control), "{name:?}");
    assert!(matches!(&client.kind, Kind::MetadataDocument { host, .. } if host == url.host()));
    assert!(!client.redirect_uris.is_empty());
    for uri in &client.redirect_uris {
        assert!(document["redirect_uris"].as_array().expect("it was a list").contains(&uri.as_str().into()));
        let uri = RedirectUri::parse(uri.as_str(), &schemes).expect("it is a good one");
        assert!(uri.elsewhere(&ours).is_ok());
    }
    let again = content::read(&url, body, &schemes, &ours).expect("it was read before");
    assert!(again.kind == client.kind && again.reference == client.reference);
}

/// Every reader of the URL asks the same public name.
fn is_fit_to_be_fetched(url: &DocumentUrl) {
    let text = url.as_str();
    let read = Url::parse(text).expect("it is a URL");
    assert!(text.len() <= 512 && read.as_str() == text && read.scheme() == "https");
    assert!(read.query().is_none() && read.fragment().is_none() && read.username().is_empty());
    let Some(Host::Domain(host)) = read.host() else { panic!("{text} has no name") };
    let last = host.rsplit('.').next().expect("it has a last label");
    assert!(host == url.host() && host != last && !["", "localhost", "local", "internal"].contains(&last), "{text}");
    let port = read.port().map(|port| format!(":{port}")).unwrap_or_default();
    assert_eq!(url.authority(), format!("{host}{port}"), "{text}");
    assert_eq!(url.is_at_one_of(&[]), port.is_empty(), "{text}");
}
