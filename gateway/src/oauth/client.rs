//! A client, however it is known, and the one place that knows all the ways (A9):
//!
//! | client id | known by | file |
//! | --- | --- | --- |
//! | `sp1_cl_…` | its registration, sealed into the id itself | [`registration`] |
//! | `https://…` | the document that the client publishes there | [`document`] |
//! | a plain word | the operator's configuration | [`preregistered`] |
//!
//! Whoever asks gets one type, [`Client`], and asks again at every step: what an operator bans meanwhile is banned.

mod denied;
pub mod document;
mod preregistered;
pub mod registration;
mod secret;

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use denied::Denied;
pub use document::{Asker, DocumentHost, DocumentSettings, Network, Resolver};
pub use preregistered::Preregistered;
pub use secret::ClientSecret;

use super::client_name::ClientName;
use super::redirect_uri::RedirectUri;
use crate::clock::Clock;
use crate::public_url::PublicUrl;
use crate::sealed::Sealer;
use document::Documents;
use registration::Registration;

/// Which clients there may be.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Whether clients may register themselves (RFC 7591).
    pub registration: bool,
    /// Private-use schemes that a redirect URI may have, such as `cursor`.
    pub custom_schemes: Vec<String>,
    /// Clients that the operator knows.
    pub preregistered: Vec<Preregistered>,
    /// Client ids, and hosts of metadata documents and redirect URIs, that are refused at every step.
    pub denied: Vec<String>,
    /// Whether a client id may be the URL of a document; `None`: it may not.
    pub documents: Option<DocumentSettings>,
}

/// A client that may ask.
#[derive(Clone, Debug)]
pub struct Client {
    pub reference: ClientRef,
    pub kind: Kind,
    pub name: ClientName,
    /// None of them leads to a denied host. Never empty.
    pub redirect_uris: Vec<RedirectUri>,
    /// What it proves itself with at `/token`; a public client has none, and PKCE protects its code.
    pub secret: Option<ClientSecret>,
}

/// How a client is known, and so what its name is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// It registered itself. Its name is its own word.
    Registered,
    /// The operator has configured it.
    Preregistered,
    /// Its publisher describes it at this host. What it says of itself may change; the fingerprint then does.
    MetadataDocument { host: String, fingerprint: [u8; 32] },
}

/// Names a client in what we seal and store: the SHA-256 of its client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientRef([u8; 32]);

/// Why there is no client for a client id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoClient {
    #[error("{0}")]
    Unknown(String),
    #[error("the operator denies it")]
    Denied,
    #[error("its document: {0}")]
    BadDocument(String),
    /// Not for good: its document was not to be had just now.
    #[error("its document: {0}")]
    Unavailable(String),
}

/// All the clients there are.
pub struct Clients {
    sealer: Sealer,
    preregistered: HashMap<String, Client>,
    documents: Option<Arc<Documents>>,
    denied: Denied,
}

/// Private-use schemes of well-known clients.
pub const CUSTOM_SCHEMES: [&str; 2] = ["cursor", "vscode"];

/// Where well-known clients publish their documents.
pub const METADATA_HOSTS: [&str; 3] = ["vscode.dev", "claude.ai", "chatgpt.com"];

impl Default for ClientSettings {
    /// Whoever registers itself, and nobody else.
    fn default() -> Self {
        Self {
            registration: true,
            custom_schemes: Vec::new(),
            preregistered: Vec::new(),
            denied: Vec::new(),
            documents: None,
        }
    }
}

impl Clients {
    /// # Errors
    /// When no HTTP client can be made for documents.
    pub fn new(
        settings: &ClientSettings,
        public_url: &PublicUrl,
        sealer: Sealer,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        let preregistered = settings.preregistered.iter();
        let documents = settings.documents.as_ref();
        Ok(Self {
            sealer,
            preregistered: preregistered.map(|client| (client.client_id.clone(), client.to_client())).collect(),
            documents: documents
                .map(|own| Documents::new(own, &settings.custom_schemes, public_url.clone(), clock))
                .transpose()?
                .map(Arc::new),
            denied: Denied::new(&settings.denied),
        })
    }

    /// Goes on with the documents that those `before` have fetched, if the same ones would be.
    pub fn after(mut self, before: &Self) -> Self {
        if let (Some(own), Some(before)) = (&mut self.documents, &before.documents)
            && own.reads_as(before)
        {
            *own = before.clone();
        }
        self
    }

    /// The client that a client id names; `asker` matters where its document must be fetched.
    pub async fn find(&self, client_id: &str, asker: Asker) -> Result<Client, NoClient> {
        let client = match (self.preregistered.get(client_id), &self.documents) {
            (Some(client), _) => client.clone(),
            (None, Some(documents)) if client_id.starts_with("https://") => {
                self.denied.check_document(client_id)?;
                documents.find(client_id, asker).await?
            }
            (None, _) => Registration::find(&self.sealer, client_id)?,
        };
        self.denied.check(client)
    }

    /// Whether a client id names a client by its document.
    pub fn is_published(&self, client_id: &str) -> bool {
        self.documents.as_ref().is_some_and(|documents| documents.may_be_at(client_id))
    }

    /// Whether somebody of ours vouches for what a client says: the operator, by its name or by the host of its document.
    pub fn vouches_for(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Registered => false,
            Kind::Preregistered => true,
            Kind::MetadataDocument { .. } => self.documents.as_ref().is_some_and(|documents| documents.are_listed()),
        }
    }

    pub fn denied(&self) -> &Denied {
        &self.denied
    }
}

impl Client {
    /// The redirect URI as the client sent it, when a registered one allows it.
    pub fn accept(&self, redirect_uri: &str) -> Option<RedirectUri> {
        self.redirect_uris.iter().find_map(|registered| registered.accept(redirect_uri))
    }
}

impl ClientRef {
    pub fn of(client_id: &str) -> Self {
        Self(Sha256::digest(client_id).into())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
