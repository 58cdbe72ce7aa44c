//! What a server is built from, and why it may not be.

use std::net::SocketAddr;
use std::path::PathBuf;

use entra::Credential;

use super::{ConnectionLimits, InheritedError, RingSource, TlsError, TlsFiles, UnixSocketError};
use crate::access::{Requirement, UpstreamAccess};
use crate::audit;
use crate::drain;
use crate::edge::{self, Bounds, StreamSettings};
use crate::oauth::{self, ClientSettings, Remember};
use crate::pool::{self, PoolError};
use crate::public_url::PublicUrl;
use crate::sealed::KeyRingError;
use crate::session;
use crate::source::TrustedProxies;
use crate::store;
use crate::traces;

/// Everything that configuration decides.
pub struct Settings {
    pub public_url: PublicUrl,
    pub listen: Vec<SocketAddr>,
    /// Absent: plain HTTP, on loopback or behind a TLS terminator.
    pub tls: Option<TlsFiles>,
    /// Where plain HTTP is told to come by HTTPS.
    pub redirect: Option<SocketAddr>,
    pub trusted_proxies: TrustedProxies,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    pub connections: ConnectionLimits,
    pub bounds: Bounds,
    pub oauth_limits: oauth::LimitSettings,
    pub edge_limits: edge::LimitSettings,
    pub admin: AdminSettings,
    pub entra: entra::Settings,
    pub credential: Credential,
    /// Who may sign in; `None`: every user of the tenants that are allowed.
    pub sign_in: Option<Requirement>,
    pub store: store::Settings,
    pub ring: RingSource,
    /// The first is the default resource. Never empty.
    pub upstreams: Vec<UpstreamSettings>,
    pub sessions: session::Settings,
    pub streams: StreamSettings,
    /// What people call this installation; large on every page.
    pub server_name: String,
    pub remember: Remember,
    pub clients: ClientSettings,
    /// Web origins besides our own whose pages may call the MCP endpoints.
    pub allowed_origins: Vec<String>,
    pub access_log: bool,
    /// Where the audit log goes; `None`: to the log.
    pub audit: Option<PathBuf>,
    /// Where traces go; `None`: none are made.
    pub traces: Option<traces::Settings>,
    pub drain: drain::Settings,
}

/// Where operators ask; at least at one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    pub address: Option<SocketAddr>,
    /// In the file system. Who may open it may ask for everything.
    pub socket: Option<PathBuf>,
}

impl AdminSettings {
    pub fn at(address: SocketAddr) -> Self {
        Self { address: Some(address), socket: None }
    }
}

#[derive(Clone)]
pub struct UpstreamSettings {
    /// The path of the resource on the edge.
    pub path: String,
    /// What Entra is asked for on its behalf.
    pub scope: String,
    pub pool: pool::Settings,
    pub access: UpstreamAccess,
}

/// The part of [`Settings`] that a server can take anew while it serves.
#[derive(Clone)]
pub struct LiveSettings {
    pub sign_in: Option<Requirement>,
    /// Never empty.
    pub upstreams: Vec<UpstreamSettings>,
    pub oauth_limits: oauth::LimitSettings,
    pub edge_limits: edge::LimitSettings,
    pub streams: StreamSettings,
    pub server_name: String,
    pub remember: Remember,
    pub clients: ClientSettings,
    pub allowed_origins: Vec<String>,
    pub access_log: bool,
}

impl Settings {
    pub fn live(&self) -> LiveSettings {
        LiveSettings {
            sign_in: self.sign_in.clone(),
            upstreams: self.upstreams.clone(),
            oauth_limits: self.oauth_limits,
            edge_limits: self.edge_limits,
            streams: self.streams.clone(),
            server_name: self.server_name.clone(),
            remember: self.remember,
            clients: self.clients.clone(),
            allowed_origins: self.allowed_origins.clone(),
            access_log: self.access_log,
        }
    }
}

/// Why a server cannot be built from settings that are well-formed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("the Entra client: {0}")]
    Entra(#[from] entra::SetUpError),
    #[error("the store: {0}")]
    Store(#[from] store::SettingsError),
    #[error("the key ring {0}")]
    Ring(#[from] KeyRingError),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("the HTTP client for metadata documents: {0}")]
    Documents(#[from] reqwest::Error),
    #[error("an allowed origin: {0}")]
    Origin(#[from] http::header::InvalidHeaderValue),
    #[error("the audit log: {0}")]
    Audit(#[from] audit::FileError),
    #[error("traces: {0}")]
    Traces(#[from] traces::StartError),
    #[error("the admin listener: {0}")]
    Admin(#[from] UnixSocketError),
    #[error("the listening sockets that were passed: {0}")]
    Inherited(#[from] InheritedError),
}
