//! A replica as it runs in production, and what makes one another than the rest.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::target::Target;

#[derive(Clone, Copy)]
pub struct Replica<'a> {
    /// Entries at hand; 0: Redis is asked at every request.
    pub cached: usize,
    /// PEM files of a certificate and its key.
    pub tls: Option<(&'a str, &'a str)>,
    pub logs: Logs,
    /// How many upstreams there are. Calls are for the last one.
    pub routes: usize,
    /// Another build than that of the run.
    pub program: Option<&'a Path>,
}

/// What is written for a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Logs {
    None,
    Access,
    AccessAndAudit,
}

/// What `fake-entra` says of itself.
#[derive(Deserialize)]
pub(super) struct Tenant {
    authority: String,
    pub(super) tenant_id: String,
    gateway_client_id: String,
    gateway_identity: String,
    imds_url: String,
    scope: String,
}

/// What all replicas of an installation have in common.
pub(super) struct Common<'a> {
    pub public: &'a Target,
    pub redis: SocketAddr,
    pub ring: &'a Path,
    pub tenant: &'a Tenant,
    /// Where an audit log goes.
    pub audit: PathBuf,
}

impl Default for Replica<'_> {
    fn default() -> Self {
        Self { cached: 0, tls: None, logs: Logs::Access, routes: 1, program: None }
    }
}

impl Replica<'_> {
    /// Sessions are at hand, as they are by default.
    pub fn warm() -> Self {
        Self { cached: 10_000, ..Self::default() }
    }

    /// In TOML.
    pub(super) fn configuration(
        &self,
        common: &Common<'_>,
        address: SocketAddr,
        admin: SocketAddr,
        upstream: SocketAddr,
    ) -> String {
        let Tenant { authority, tenant_id, gateway_client_id, gateway_identity, imds_url, scope } = common.tenant;
        let public_url = common.public.url().origin().ascii_serialization();
        let (redis, ring, cached) = (common.redis, common.ring.display(), self.cached);
        let tls = self.tls.map_or_else(String::new, |(certificate, key)| {
            format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n")
        });
        let access = self.logs != Logs::None;
        let audit = match self.logs {
            Logs::AccessAndAudit => format!("audit_file = \"{}\"\n", common.audit.display()),
            Logs::Access | Logs::None => String::new(),
        };
        let upstreams = self.upstreams(upstream);
        // Limits that the load would meet are raised: a refusal voids a window.
        format!(
            r#"public_url = "{public_url}"
[listen]
address = "{address}"
{tls}[admin]
address = "{admin}"
[entra]
authority = "{authority}"
tenant_id = "{tenant_id}"
client_id = "{gateway_client_id}"
scope = "{scope}"
[entra.credential]
kind = "managed-identity"
client_id = "{gateway_identity}"
endpoint = "{imds_url}"
[store]
url = "redis://{redis}"
[keys]
file = "{ring}"
{upstreams}[tokens]
session_cache = {cached}
[limits]
refusals_per_minute = 1000000
requests_per_second = 1000000
burst = 1000000
streams_per_session = 10000
connections_per_address = 1000000
[drain]
delay = "0s"
window = "1s"
[log]
access = {access}
{audit}"#
        )
    }

    fn upstreams(&self, server: SocketAddr) -> String {
        let mut text = String::new();
        let others = (1..self.routes).map(|number| (format!("other-{number}"), format!("/other/{number}/mcp")));
        for (name, path) in others.chain([("bench".to_owned(), "/mcp".to_owned())]) {
            // A String takes whatever is written.
            let _ =
                write!(text, "[[upstream]]\nname = \"{name}\"\npath = \"{path}\"\nservers = [\"http://{server}\"]\n");
        }
        text
    }
}
