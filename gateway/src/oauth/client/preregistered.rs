//! A client that the operator knows: its id, its redirect URIs and perhaps its secret are agreed beforehand.

use super::super::client_name::ClientName;
use super::super::redirect_uri::RedirectUri;
use super::{Client, ClientRef, ClientSecret, Kind};

/// A client from configuration.
#[derive(Clone, Debug)]
pub struct Preregistered {
    pub client_id: String,
    /// As people know it.
    pub name: String,
    pub redirect_uris: Vec<RedirectUri>,
    /// `None`: a public client.
    pub secret: Option<ClientSecret>,
}

impl Preregistered {
    pub fn to_client(&self) -> Client {
        Client {
            reference: ClientRef::of(&self.client_id),
            kind: Kind::Preregistered,
            name: ClientName::clean(&self.name),
            redirect_uris: self.redirect_uris.clone(),
            secret: self.secret.clone(),
        }
    }
}
