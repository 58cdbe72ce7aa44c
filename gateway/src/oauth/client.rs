//! A client, however it is known. So far by its sealed registration: the client id carries everything, so that no
//! registration can be lost and none fills a store (D4, T18).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::client_name::ClientName;
use super::redirect_uri::RedirectUri;
use crate::clock::Timestamp;
use crate::sealed::{OpenError, Purpose, Sealer};

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub name: ClientName,
    pub redirect_uris: Vec<RedirectUri>,
    pub issued: Timestamp,
}

/// Names a client in what we seal and store: the SHA-256 of its client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRef([u8; 32]);

impl Client {
    /// The client id. It has exactly one spelling, for base64url is read strictly.
    pub fn seal(&self, sealer: &Sealer) -> String {
        sealer.seal(Purpose::Client, &[], self)
    }

    pub fn open(sealer: &Sealer, client_id: &str) -> Result<(Self, ClientRef), OpenError> {
        let client = sealer.open(Purpose::Client, &[], client_id)?;
        Ok((client, ClientRef::of(client_id)))
    }

    /// The redirect URI as the client sent it, when a registered one allows it.
    pub fn accept(&self, redirect_uri: &str) -> Option<RedirectUri> {
        self.redirect_uris.iter().find_map(|registered| registered.accept(redirect_uri))
    }
}

impl ClientRef {
    fn of(client_id: &str) -> Self {
        Self(Sha256::digest(client_id).into())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::KeyRing;

    fn client() -> Client {
        Client {
            name: ClientName::clean("Inspector"),
            redirect_uris: vec![RedirectUri::parse("http://localhost:6274/oauth/callback", &[]).unwrap()],
            issued: Timestamp::from_unix(1_000),
        }
    }

    #[test]
    fn a_client_id_carries_its_registration() {
        let sealer = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        let id = client().seal(&sealer);
        assert!(id.starts_with("sp1_cl_") && id.len() < 200, "{} characters", id.len());
        assert_eq!(Client::open(&sealer, &id).unwrap().0, client());
    }

    #[test]
    fn another_installation_does_not_know_it() {
        let ours = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        let theirs = Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com");
        assert!(Client::open(&theirs, &client().seal(&ours)).is_err());
        assert!(Client::open(&ours, "https://client.example/metadata.json").is_err());
    }
}
