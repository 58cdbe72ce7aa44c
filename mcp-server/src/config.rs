//! The configuration file: TOML, read once, every mistake named with its line and key. What comes out is [`Settings`].

mod reader;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use entra::authority::allowed_tenant;
use entra::credential::IdentityHost;
use entra::{Authority, Cloud, Credential};
use uuid::Uuid;

use crate::Settings;
use crate::clock::Clock;
use crate::graph::GraphUrl;
use reader::{Reader, Section};

/// Everything that is wrong with a file.
#[derive(Debug)]
pub struct Mistakes {
    pub file: PathBuf,
    pub found: Vec<Mistake>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// Dotted; empty when the file is not TOML.
    pub key: String,
    pub words: String,
}

/// Reads and checks a file. Nothing is contacted and no other file is opened.
pub fn load(file: &Path) -> Result<Settings, Mistakes> {
    let mistakes = |found| Mistakes { file: file.to_path_buf(), found };
    let text = std::fs::read_to_string(file)
        .map_err(|error| mistakes(vec![Mistake { line: 1, key: String::new(), words: error.to_string() }]))?;
    parse(&text, |name| std::env::var(name).ok()).map_err(mistakes)
}

/// Reads a file's text. `variable` reads the environment, where the platform says where its identity is to be had.
pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Settings, Vec<Mistake>> {
    let (document, reader) = Reader::parse(text)?;
    let settings = settings(&reader.root(&document), &variable);
    let found = reader.mistakes();
    match settings {
        Some(settings) if found.is_empty() => Ok(settings),
        _ => Err(found),
    }
}

/// `None` goes with at least one mistake, and every key is looked at before giving up.
fn settings(root: &Section<'_>, variable: &dyn Fn(&str) -> Option<String>) -> Option<Settings> {
    let listen = root.text_or("listen", "127.0.0.1:8000", |text| text.parse::<SocketAddr>());
    let allowed_callers = root.texts("allowed_callers", guid);
    let hop_secret_file = root.optional_text("hop_secret_file", path);
    let entra = root.section("entra");
    let cloud = entra.as_ref().and_then(|entra| entra.text_or("cloud", Cloud::default().name(), str::parse::<Cloud>));
    let graph = cloud.unwrap_or_default().graph();
    let graph_url = root.text_or("graph_url", graph, |text| text.parse::<GraphUrl>());
    let graph_scopes = root.texts_or("graph_scopes", &[&format!("{graph}/User.Read")], one_word);
    root.finish();

    let entra = entra?;
    let tenant_id = entra.text("tenant_id", guid);
    let authority = entra.text_or("authority", cloud.unwrap_or_default().authority(), |base| {
        // Cloud and tenant have their own keys, and their own mistakes.
        let tenant = tenant_id.as_deref().unwrap_or(NO_TENANT);
        cloud.map(|cloud| Authority::in_cloud(cloud, base, tenant)).transpose()
    });
    // Without it, those of the one tenant.
    let allowed = entra.texts_or("allowed_tenants", &[], allowed_tenant);
    let authority = authority.flatten().zip(allowed).and_then(|(authority, allowed)| match allowed.as_slice() {
        [] => Some(authority),
        _ => authority.allowing(&allowed).ok(),
    });
    let client_id = entra.text("client_id", guid);
    let extra_ca_file = entra.optional_text("extra_ca_file", path);
    let cae = entra.flag_or("cae", false);
    let credential = entra.section("credential");
    entra.finish();

    let credential = credential.and_then(|section| self::credential(&section, variable));
    tenant_id?;
    Some(Settings {
        listen: listen?,
        allowed_callers: allowed_callers?,
        hop_secret_file: hop_secret_file?,
        graph_url: graph_url?,
        graph_scopes: graph_scopes?,
        authority: authority?,
        client_id: client_id?,
        extra_ca_file: extra_ca_file?,
        credential: credential?,
        cae: cae?,
        accept_emulator: false,
        clock: Clock::system(),
    })
}

fn credential(section: &Section<'_>, variable: &dyn Fn(&str) -> Option<String>) -> Option<Credential> {
    let kind = section.text("kind", |kind| match kind {
        "workload-identity" | "managed-identity" | "certificate" | "client-secret" => Ok(kind.to_owned()),
        _ => Err("must be \"workload-identity\", \"managed-identity\", \"certificate\" or \"client-secret\""),
    })?;
    let credential = match kind.as_str() {
        "workload-identity" => {
            let projected = variable("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from);
            match section.optional_text("token_file", path)?.or(projected) {
                Some(token_file) => Some(Credential::WorkloadIdentity { token_file }),
                None => section.mistake("token_file", "is missing, and AZURE_FEDERATED_TOKEN_FILE is not set"),
            }
        }
        "managed-identity" => {
            let client_id = section.optional_text("client_id", guid);
            let endpoint = section.optional_text("endpoint", origin);
            let host = |endpoint: Option<String>| match endpoint {
                Some(endpoint) => IdentityHost::Metadata { endpoint },
                None => IdentityHost::of_platform(variable),
            };
            client_id
                .zip(endpoint)
                .map(|(client_id, endpoint)| Credential::ManagedIdentity { client_id, host: host(endpoint) })
        }
        "certificate" => {
            let (certificate_file, key_file) = (section.text("certificate_file", path), section.text("key_file", path));
            let files = certificate_file.zip(key_file);
            files.map(|(certificate_file, key_file)| Credential::Certificate { certificate_file, key_file })
        }
        _ => section.text("secret_file", path).map(|secret_file| Credential::ClientSecret { secret_file }),
    };
    section.finish();
    credential
}

fn guid(text: &str) -> Result<String, &'static str> {
    let guid = Uuid::try_parse(text).map(|guid| guid.to_string()).unwrap_or_default();
    if guid.eq_ignore_ascii_case(text) { Ok(guid) } else { Err("must be a GUID") }
}

fn one_word(text: &str) -> Result<String, &'static str> {
    let odd = text.is_empty() || text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    if odd { Err("must be a scope without spaces") } else { Ok(text.to_owned()) }
}

fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("must be a path") } else { Ok(text.into()) }
}

fn origin(text: &str) -> Result<String, &'static str> {
    let url = entra::Url::parse(text).ok();
    let origin =
        url.filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none());
    if origin.is_some() { Ok(text.to_owned()) } else { Err("must be an http or https origin") }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.found.iter().enumerate() {
            let newline = if number == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{}: ", self.file.display(), mistake.line)?;
            match mistake.key.as_str() {
                "" => write!(f, "{}", mistake.words)?,
                key => write!(f, "{key} {}", mistake.words)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Stands in for a missing tenant while the rest of the file is still checked.
const NO_TENANT: &str = "00000000-0000-0000-0000-000000000000";

#[cfg(test)]
mod tests;
