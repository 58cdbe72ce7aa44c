//! Active health checks: each server is asked by its own name, and over the same TLS as requests go.

use async_trait::async_trait;
use http::header::HOST;
use http::{StatusCode, Uri, Version};
use pingora::http::ResponseHeader;
use pingora::lb::Backend;
use pingora::lb::health_check::{HealthCheck, HttpHealthCheck};
use pingora::prelude::{Error, ErrorType, Result};

use super::server::{Members, Server};
use super::{CONNECT_TIMEOUT, HttpVersion, Settings};

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
            if settings.http == HttpVersion::Http2 {
                check.req.set_uri(server.absolute(path).expect("an origin and a path are a URI"));
                check.req.remove_header(&HOST);
                check.validator = Some(Box::new(is_well_over_http2));
            } else {
                check.req.set_uri(path.clone());
                check.req.insert_header(HOST, &server.authority).expect("an authority is a header value");
            }
            // Pingora puts the address in.
            check.peer_template = server.to_http_peer(([0, 0, 0, 0], 1).into(), settings);
            check.peer_template.options.read_timeout = Some(CONNECT_TIMEOUT);
            // A connection of its own each time, over HTTP/2 too: one that is shared would hide that there are no new ones.
            check.peer_template.options.max_h2_streams = 1;
            check
        });
        Self { checks: checks.collect(), members }
    }
}

fn is_well_over_http2(answer: &ResponseHeader) -> Result<()> {
    if answer.version == Version::HTTP_2 && answer.status == StatusCode::OK {
        return Ok(());
    }
    Err(Error::explain(ErrorType::InvalidH2, "not the 200 of a server that speaks HTTP/2"))
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
