//! A client that registered itself. The client id carries the whole registration, and a secret is derived from it: none can
//! be lost, and none fills a store (D4, T18).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::client_name::ClientName;
use super::super::redirect_uri::RedirectUri;
use super::{Client, ClientRef, ClientSecret, Kind, NoClient};
use crate::clock::Timestamp;
use crate::sealed::{OpenError, Purpose, Sealer};

/// What a client registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub name: ClientName,
    pub redirect_uris: Vec<RedirectUri>,
    pub issued: Timestamp,
    pub method: AuthenticationMethod,
}

/// `token_endpoint_auth_method` of RFC 7591 section 2. A client with a secret may show it either way (A12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthenticationMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
}

impl Registration {
    /// The client id. It has exactly one spelling, for base64url is read strictly.
    pub fn seal(&self, sealer: &Sealer) -> String {
        sealer.seal(Purpose::Client, &[], self)
    }

    /// The secret of a client id that [`Registration::seal`] gave; `None` for a public client. The same each time: a
    /// client registered before a key rotation keeps its secret for as long as its id opens.
    pub fn secret(&self, sealer: &Sealer, client_id: &str) -> Result<Option<Zeroizing<String>>, OpenError> {
        match self.method {
            AuthenticationMethod::None => Ok(None),
            AuthenticationMethod::ClientSecretBasic | AuthenticationMethod::ClientSecretPost => {
                let secret = sealer.companion(Purpose::Client, client_id)?;
                Ok(Some(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(secret.expose()))))
            }
        }
    }

    pub fn find(sealer: &Sealer, client_id: &str) -> Result<Client, NoClient> {
        let unknown = |cause: OpenError| NoClient::Unknown(cause.to_string());
        let registration: Self = sealer.open(Purpose::Client, &[], client_id).map_err(unknown)?;
        let secret = registration.secret(sealer, client_id).map_err(unknown)?;
        Ok(Client {
            reference: ClientRef::of(client_id),
            kind: Kind::Registered,
            name: registration.name,
            redirect_uris: registration.redirect_uris,
            secret: secret.map(|secret| ClientSecret::of(&secret)),
        })
    }
}

impl AuthenticationMethod {
    pub const ALL: [Self; 3] = [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }

    /// `None`: not one that there is here.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::KeyRing;

    fn registration(method: AuthenticationMethod) -> Registration {
        Registration {
            name: ClientName::clean("Inspector"),
            redirect_uris: vec![RedirectUri::parse("http://localhost:6274/oauth/callback", &[]).unwrap()],
            issued: Timestamp::from_unix(1_000),
            method,
        }
    }

    fn sealer() -> Sealer {
        Sealer::new(KeyRing::ephemeral(), "https://mcp.example.com")
    }

    #[test]
    fn a_client_id_carries_its_registration() {
        let sealer = sealer();
        let id = registration(AuthenticationMethod::None).seal(&sealer);
        assert!(id.starts_with("sp1_cl_") && id.len() < 200, "{} characters", id.len());
        let client = Registration::find(&sealer, &id).unwrap();
        assert_eq!((client.name.to_string().as_str(), client.secret.is_none()), ("Inspector", true));
        assert_eq!(client.redirect_uris, registration(AuthenticationMethod::None).redirect_uris);
    }

    #[test]
    fn another_installation_does_not_know_it() {
        let (ours, theirs) = (sealer(), sealer());
        let id = registration(AuthenticationMethod::ClientSecretPost).seal(&ours);
        assert!(Registration::find(&theirs, &id).is_err());
        assert!(Registration::find(&ours, "https://client.example/metadata.json").is_err());
    }

    #[test]
    fn a_secret_belongs_to_one_client_id() {
        let sealer = sealer();
        let registration = registration(AuthenticationMethod::ClientSecretBasic);
        let (id, other) = (registration.seal(&sealer), registration.seal(&sealer));
        let secret = registration.secret(&sealer, &id).unwrap().unwrap();
        assert_eq!(secret.len(), 43);
        assert!(Registration::find(&sealer, &id).unwrap().secret.unwrap().matches(&secret));
        assert!(!Registration::find(&sealer, &other).unwrap().secret.unwrap().matches(&secret));
    }
}
