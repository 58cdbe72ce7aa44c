//! Which sessions an operator means.

use sha2::{Digest, Sha256};

use super::{Listed, Listing};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    All,
    User(Who),
    Client(Which),
    /// The start of a session's id, lower-case hexadecimal.
    Session(String),
}

/// A user, as an operator names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Tenant and object id: the identity. In any of these tenants, where none was named.
    Identity { tenants: Vec<String>, object_id: String },
    /// In lower case. A login may pass from one person to another; the identity does not.
    Login(String),
}

/// A client, as an operator names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    /// SHA-256 of what was said, which may be the client id.
    digest: [u8; 32],
    /// What was said, when it may be the start of such a digest.
    start: Option<String>,
}

/// What was said can mean no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    #[error("a user is an object id, a tenant id and an object id with a slash between, or a login name")]
    User,
    #[error("a client is its client id, or at least 16 digits of the id that the list shows")]
    Client,
    #[error("a session is at least 8 hexadecimal digits of the id that the list shows")]
    Session,
}

impl Selector {
    /// An object id without a tenant is one of any of these `tenants`.
    pub fn user(text: &str, tenants: &[String]) -> Result<Self, BadSelector> {
        let identity = |tenants: &[String], object_id: &str| Who::Identity {
            tenants: tenants.iter().map(|id| id.to_ascii_lowercase()).collect(),
            object_id: object_id.to_ascii_lowercase(),
        };
        Ok(Self::User(match text.split_once('/') {
            Some((tenant_id, object_id)) if is_guid(tenant_id) && is_guid(object_id) => {
                identity(&[tenant_id.to_owned()], object_id)
            }
            Some(_) => return Err(BadSelector::User),
            None if is_guid(text) => identity(tenants, text),
            None if text.trim().is_empty() => return Err(BadSelector::User),
            None => Who::Login(text.to_lowercase()),
        }))
    }

    pub fn client(text: &str) -> Result<Self, BadSelector> {
        if text.is_empty() {
            return Err(BadSelector::Client);
        }
        let start = Some(text.to_ascii_lowercase()).filter(|start| is_hex(start, 16));
        Ok(Self::Client(Which { digest: Sha256::digest(text).into(), start }))
    }

    pub fn session(text: &str) -> Result<Self, BadSelector> {
        let start = text.to_ascii_lowercase();
        if is_hex(&start, 8) { Ok(Self::Session(start)) } else { Err(BadSelector::Session) }
    }

    /// A label for the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::User(_) => "user",
            Self::Client(_) => "client",
            Self::Session(_) => "session",
        }
    }

    /// `None` when it takes a listing to tell, and there is none that opens. A user by identity is looked for in the user's own
    /// sets alone: what is there without a listing was the user's when it was put there, and one that a revocation left half ended
    /// must not live for want of a name.
    pub(super) fn means(&self, session: &Listed) -> Option<bool> {
        match (self, &session.listing) {
            (Self::All, _) => Some(true),
            (Self::Session(start), _) => Some(session.id().starts_with(start)),
            (Self::User(Who::Identity { .. }), None) => Some(true),
            (Self::User(Who::Login(_)) | Self::Client(_), None) => None,
            (Self::User(who), Some(listing)) => Some(who.is(listing)),
            (Self::Client(which), Some(listing)) => Some(which.is(listing)),
        }
    }
}

impl Who {
    fn is(&self, listing: &Listing) -> bool {
        let user = &listing.user;
        match self {
            Self::Identity { tenants, object_id } => tenants.contains(&user.tenant_id) && user.object_id == *object_id,
            Self::Login(login) => user.login.as_ref().is_some_and(|own| own.to_lowercase() == *login),
        }
    }
}

impl Which {
    /// SHA-256 of what was said: that of the client id, if it was said whole.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    fn is(&self, listing: &Listing) -> bool {
        let client = &listing.client;
        client.digest == self.digest || self.start.as_ref().is_some_and(|start| client.id().starts_with(start))
    }
}

fn is_hex(text: &str, at_least: usize) -> bool {
    (at_least..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
