//! `[clients]`: which clients there may be.

use url::Url;

use crate::config::reader::Section;
use crate::config::values::{name, secret};
use crate::oauth::{
    BadRedirectUri, CUSTOM_SCHEMES, ClientSecret, ClientSettings, DocumentHost, DocumentSettings, METADATA_HOSTS,
    Network, Preregistered, RedirectUri,
};
use crate::public_url::PublicUrl;

pub fn read(section: &Section<'_>, public_url: Option<&PublicUrl>) -> Option<ClientSettings> {
    let registration = section.flag("registration", true);
    let custom_schemes = section.list("custom_schemes").or(&CUSTOM_SCHEMES).each(custom_scheme);
    let metadata_documents = section.flag("metadata_documents", true);
    let hosts = section.list("metadata_hosts").or(&METADATA_HOSTS).each(DocumentHost::parse);
    let denied = section.list("denied").or(&[]).each(denied);
    let sections = section.optional_sections("preregistered");
    let mut taken = Vec::new();
    let known: Vec<_> = sections
        .iter()
        .map(|section| preregistered(section, custom_schemes.as_deref(), public_url, &mut taken))
        .collect();
    section.finish();
    Some(ClientSettings {
        registration: registration?,
        custom_schemes: custom_schemes?,
        preregistered: known.into_iter().collect::<Option<_>>()?,
        denied: denied?,
        documents: documents(metadata_documents?, hosts?),
    })
}

/// The network is the real one, and no key changes that.
fn documents(on: bool, hosts: Vec<DocumentHost>) -> Option<DocumentSettings> {
    on.then(|| DocumentSettings { hosts, network: Network::default() })
}

fn preregistered(
    section: &Section<'_>,
    custom_schemes: Option<&[String]>,
    public_url: Option<&PublicUrl>,
    taken: &mut Vec<String>,
) -> Option<Preregistered> {
    let client_id = section.text("client_id").required("the id that the client is configured with");
    let client_id = client_id.parse(|text| client_id_here(text, taken));
    let name = section.text("name").required("what people call the client").parse(name);
    let redirect_uris = section.list("redirect_uris").required("where the client takes its answers");
    let redirect_uris = redirect_uris.each(|text| redirect_uri(text, custom_schemes, public_url));
    let secret = section
        .text("secret_file")
        .parse(|file| client_secret(&secret(&section.content("secret_file", file))?).map_err(str::to_owned));
    section.finish();
    Some(Preregistered { client_id: client_id?, name: name?, redirect_uris: redirect_uris?, secret })
}

fn client_id_here(text: &str, taken: &mut Vec<String>) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(is_plain) {
        return Err("must be 1 to 128 letters, digits, and - . _");
    }
    if text.starts_with("sp1_") {
        return Err("must not begin with sp1_, as what Sallyport gives out does");
    }
    if taken.iter().any(|other| other == text) {
        return Err("is the id of another client");
    }
    taken.push(text.to_owned());
    Ok(text.to_owned())
}

/// When the schemes or the public URL are wrong, which is a mistake of its own, any is good here.
fn redirect_uri(
    text: &str,
    custom_schemes: Option<&[String]>,
    public_url: Option<&PublicUrl>,
) -> Result<RedirectUri, BadRedirectUri> {
    let own = [text.split(':').next().unwrap_or_default().to_owned()];
    let uri = RedirectUri::parse(text, custom_schemes.unwrap_or(&own))?;
    match public_url {
        Some(public_url) => uri.elsewhere(public_url),
        None => Ok(uri),
    }
}

/// Every way to encode such a secret gives the same bytes, and a short one could be guessed.
fn client_secret(text: &str) -> Result<ClientSecret, &'static str> {
    match text.len() >= 32 && text.bytes().all(is_plain) {
        true => Ok(ClientSecret::of(text)),
        false => {
            Err("must name a file with at least 32 letters, digits, and - . _ such as `openssl rand -hex 32` gives")
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

fn denied(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be a client id or a host");
    }
    let document = Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.path() != "/");
    match document || !text.contains([':', '/']) {
        true => Ok(text.to_owned()),
        false => Err("must be a host without scheme, port or slash, or a whole client id"),
    }
}

/// RFC 3986 section 3.1, in lower case. Some schemes are never a client's own: they run code, read files, or are the web's.
fn custom_scheme(text: &str) -> Result<String, &'static str> {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.bytes().all(rest) {
        return Err("must be a URI scheme in lower case, without colon, such as vscode");
    }
    match text {
        "http" | "https" => Err("must not be http or https, which clients may use anyway by stricter rules"),
        "javascript" | "data" | "file" | "vbscript" | "blob" | "about" | "filesystem" | "view-source" => {
            Err("must not be a scheme that browsers act on themselves")
        }
        _ => Ok(text.to_owned()),
    }
}
