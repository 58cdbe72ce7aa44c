//! What a metadata document must say, and must not.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::super::super::client_name::ClientName;
use super::super::super::json;
use super::super::super::redirect_uri::RedirectUri;
use super::super::super::register::check_flow;
use super::super::{Client, ClientRef, Kind};
use super::url::DocumentUrl;
use crate::public_url::PublicUrl;

/// The client that a document describes. Of it nothing is fetched further, no logo either.
///
/// # Errors
/// Why it is not a good one, in words for the log.
pub fn read(url: &DocumentUrl, body: &[u8], custom_schemes: &[String], ours: &PublicUrl) -> Result<Client, String> {
    let document = json::parse_object(body).map_err(|error| format!("not one JSON object: {error}"))?;
    // Byte for byte: otherwise whoever can place a file at a host could speak for another client of that host.
    if text(&document, "client_id") != Some(url.as_str()) {
        return Err("client_id is not the document's URL".to_owned());
    }
    let name = text(&document, "client_name").ok_or("client_name is missing")?;
    if document.contains_key("client_secret") || document.contains_key("client_secret_expires_at") {
        return Err("it publishes a secret".to_owned());
    }
    match document.get("token_endpoint_auth_method").map(Value::as_str) {
        None | Some(Some("none")) => {}
        _ => return Err("token_endpoint_auth_method is not none".to_owned()),
    }
    check_flow(&document).map_err(|_| "it leaves out grant type authorization_code or response type code")?;
    let (name, redirect_uris) = (ClientName::clean(name), redirect_uris(&document, custom_schemes, ours)?);
    let fingerprint = serde_json::to_vec(&(&name, &redirect_uris)).expect("texts serialise");
    Ok(Client {
        reference: ClientRef::of(url.as_str()),
        kind: Kind::MetadataDocument { host: url.host().to_owned(), fingerprint: Sha256::digest(fingerprint).into() },
        name,
        redirect_uris,
        secret: None,
    })
}

/// The good ones, as at registration.
fn redirect_uris(
    document: &Map<String, Value>,
    custom_schemes: &[String],
    ours: &PublicUrl,
) -> Result<Vec<RedirectUri>, String> {
    let listed = document.get("redirect_uris").and_then(Value::as_array).ok_or("redirect_uris is not a list")?;
    let good: Vec<_> = listed
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|uri| RedirectUri::parse(uri, custom_schemes).and_then(|uri| uri.elsewhere(ours)).ok())
        .collect();
    if good.is_empty() { Err("it has no redirect URI that is allowed here".to_owned()) } else { Ok(good) }
}

fn text<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "https://client.example/m.json";

    fn ours() -> PublicUrl {
        PublicUrl::parse("https://mcp.example.com").unwrap()
    }

    fn good() -> Value {
        json!({
            "client_id": URL, "client_name": "A\u{202e} client", "redirect_uris": ["http://127.0.0.1/", "ftp://x"],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "token_endpoint_auth_method": "none", "logo_uri": "https://client.example/logo.svg",
        })
    }

    fn read(document: &Value) -> Result<Client, String> {
        super::read(&DocumentUrl::parse(URL).unwrap(), document.to_string().as_bytes(), &[], &ours())
    }

    fn changed(name: &str, value: Value) -> Value {
        let mut document = good();
        document[name] = value;
        document
    }

    #[test]
    fn a_good_document_is_a_public_client() {
        let client = read(&good()).unwrap();
        assert_eq!((client.name.to_string().as_str(), client.secret.is_none()), ("A client", true));
        assert_eq!(client.redirect_uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>(), ["http://127.0.0.1/"]);
        assert_eq!(client.reference, ClientRef::of(URL));
    }

    #[test]
    fn what_matters_in_a_document_is_in_its_fingerprint() {
        let kind = |document: &Value| read(document).unwrap().kind;
        assert_eq!(kind(&good()), kind(&changed("logo_uri", "https://client.example/2".into())));
        assert_ne!(kind(&good()), kind(&changed("client_name", "Another".into())));
        assert_ne!(kind(&good()), kind(&changed("redirect_uris", json!(["https://client.example/cb"]))));
    }

    #[test]
    fn what_a_document_must_not_be() {
        for document in [
            changed("client_id", "https://client.example/m.json/".into()),
            changed("client_id", "https://client.example/other".into()),
            changed("client_id", "HTTPS://client.example/m.json".into()),
            changed("client_id", Value::Null),
            changed("client_name", Value::Null),
            changed("client_name", "".into()),
            changed("redirect_uris", "http://127.0.0.1/".into()),
            changed("redirect_uris", json!([])),
            changed("redirect_uris", json!(["https://mcp.example.com/signed-out"])),
            changed("redirect_uris", json!(["javascript:alert(1)", 7, "http://remote.example/cb"])),
            changed("client_secret", "x".into()),
            changed("client_secret", Value::Null),
            changed("client_secret_expires_at", 0.into()),
            changed("token_endpoint_auth_method", "client_secret_basic".into()),
            changed("token_endpoint_auth_method", "client_secret_post".into()),
            changed("token_endpoint_auth_method", "client_secret_jwt".into()),
            changed("token_endpoint_auth_method", "private_key_jwt".into()),
            changed("token_endpoint_auth_method", Value::Null),
            changed("grant_types", json!(["client_credentials"])),
            changed("response_types", json!(["token"])),
            json!([good()]),
            json!("x"),
        ] {
            assert!(read(&document).is_err(), "{document}");
        }
        let url = DocumentUrl::parse(URL).unwrap();
        let twice = good().to_string().replacen('{', r#"{"client_id":"https://evil.example/m","#, 1);
        for text in [twice.as_str(), "", "<html>", "{"] {
            assert!(super::read(&url, text.as_bytes(), &[], &ours()).is_err(), "{text}");
        }
    }
}
