//! Active health checks: each server is asked by its own name, and over the same TLS as requests go.

use async_trait::async_trait;
use http::Uri;
use pingora::lb::Backend;
use pingora::lb::health_check::{HealthCheck, HttpHealthCheck};
use pingora::prelude::{Error, ErrorType, Result};

use super::server::{Members, Server};
use super::{CONNECT_TIMEOUT, Settings};

/// A server that fails so often in a row gets no requests.
const FAILURES: usize = 2;

/// The checks of one group.
pub struct Checks {
    members: Members,
    /// In the order of the configured servers.
    checks: Vec<HttpHealthCheck>,
}

impl Checks {
    pub fn new(settings: &Settings, servers: &[Server], members: Members, path: &Uri) -> Self {
        let checks = servers.iter().map(|server| {
            let mut check = HttpHealthCheck::new("", false);
            check.req.set_uri(path.clone());
            check.req.insert_header(http::header::HOST, &server.authority).expect("an authority is a header value");
            // Pingora puts the address in.
            check.peer_template = server.to_http_peer(([0, 0, 0, 0], 1).into(), settings);
            check.peer_template.options.read_timeout = Some(CONNECT_TIMEOUT);
            check
        });
        Self { checks: checks.collect(), members }
    }
}

#[async_trait]
impl HealthCheck for Checks {
    async fn check(&self, target: &Backend) -> Result<()> {
        let server = target.addr.as_inet().and_then(|address| Some(self.members.load().get(address)?.index));
        let check = server.and_then(|index| self.checks.get(index));
        let check = check.ok_or_else(|| Error::explain(ErrorType::InternalError, "no server has this address"))?;
        check.check(target).await
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { 1 } else { FAILURES }
    }
}
