//! Raw path -> route. Exact match, default deny.
//!
//! Nothing is decoded or normalised: two programs that read a path differently are how a check gets bypassed (T27). A path
//! that would need it is simply not ours.

use std::sync::Arc;

use super::challenge::{Challenge, Challenges};
use crate::access::ToolRules;
use crate::metrics::UpstreamCounts;
use crate::oauth::Resource;
use crate::pool::Pool;

/// One upstream as the edge knows it.
pub struct Upstream {
    pub resource: Resource,
    pub challenges: Challenges,
    pub pool: Arc<Pool>,
    /// Who may call which tool.
    pub tools: ToolRules,
    pub counts: Arc<UpstreamCounts>,
}

/// Where a request for an upstream goes.
#[derive(Clone)]
pub struct Target {
    pub upstream: Arc<Upstream>,
    pub endpoint: Endpoint,
}

impl Target {
    pub fn challenge(&self) -> &Challenge {
        self.upstream.challenges.at(self.endpoint)
    }
}

/// The endpoints of one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Streamable HTTP: `/mcp`.
    Streamable,
    /// The event stream of legacy HTTP+SSE: `/mcp/sse`.
    Sse,
    /// Where that transport's messages are posted: `/mcp/message`.
    Message,
}

/// The paths of all upstreams.
pub struct Routes {
    upstreams: Vec<Arc<Upstream>>,
}

impl Routes {
    pub fn new(upstreams: Vec<Upstream>) -> Self {
        Self { upstreams: upstreams.into_iter().map(Arc::new).collect() }
    }

    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.upstreams.iter().map(|upstream| &upstream.pool)
    }

    /// Of each upstream the path of its resource.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.upstreams.iter().map(|upstream| upstream.resource.path())
    }

    pub fn find(&self, path: &str) -> Option<Target> {
        self.upstreams.iter().find_map(|upstream| {
            let endpoint = Endpoint::of(path.strip_prefix(upstream.resource.path())?)?;
            Some(Target { upstream: upstream.clone(), endpoint })
        })
    }
}

impl Endpoint {
    /// `/mcp` and `/mcp/` alike: a redirect between them would lose the body or the token of some clients (C4).
    fn of(rest: &str) -> Option<Self> {
        match rest {
            "" | "/" => Some(Endpoint::Streamable),
            "/sse" => Some(Endpoint::Sse),
            "/message" => Some(Endpoint::Message),
            _ => None,
        }
    }

    /// What follows the upstream's path in our own URLs.
    pub fn suffix(self) -> &'static str {
        match self {
            Endpoint::Streamable => "",
            Endpoint::Sse => "/sse",
            Endpoint::Message => "/message",
        }
    }

    /// A label for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Streamable => "mcp",
            Endpoint::Sse => "mcp-sse",
            Endpoint::Message => "mcp-message",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented::{names, rows};
    use crate::metrics::Metrics;
    use crate::pool;
    use crate::public_url::PublicUrl;

    fn routes() -> Routes {
        let public_url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let upstream = |path: &str| Upstream {
            resource: Resource::new(&public_url, path, "scope"),
            challenges: Challenges::new(&public_url, path),
            pool: Arc::new(Pool::new(pool::Settings::single(path, "http://127.0.0.1:9")).unwrap()),
            tools: ToolRules::default(),
            counts: Metrics::default().upstream(path),
        };
        Routes::new(vec![upstream("/mcp"), upstream("/mcp-two")])
    }

    #[test]
    fn each_endpoint_is_found_at_its_upstream() {
        for (path, resource, endpoint) in [
            ("/mcp", "/mcp", Endpoint::Streamable),
            ("/mcp/", "/mcp", Endpoint::Streamable),
            ("/mcp/sse", "/mcp", Endpoint::Sse),
            ("/mcp/message", "/mcp", Endpoint::Message),
            ("/mcp-two", "/mcp-two", Endpoint::Streamable),
        ] {
            let target = routes().find(path).unwrap();
            assert_eq!((target.upstream.resource.path(), target.endpoint), (resource, endpoint), "{path}");
        }
    }

    #[test]
    fn every_endpoint_is_documented() {
        let documented: Vec<_> = rows("endpoints.md", "## MCP").iter().flat_map(|cells| names(&cells[0])).collect();
        let served = [Endpoint::Streamable, Endpoint::Sse, Endpoint::Message]
            .map(|endpoint| format!("/mcp{}", endpoint.suffix()));
        assert_eq!(documented, served);
    }

    #[test]
    fn tricks_with_the_path_lead_nowhere() {
        for path in [
            "",
            "/",
            "/MCP",
            "/mcp//",
            "//mcp",
            "/./mcp",
            "/x/../mcp",
            "/mcp/.",
            "/mcp/..",
            "/mcp%2f",
            "/%6dcp",
            "/mcp/sse/",
            "/mcp/sse%00",
            "/mcp;x",
            "/mcp/message/..",
            "/mcp\\sse",
            "/mcp-",
            "/mcp/ssee",
            "/mcp/message%2f..",
        ] {
            assert!(routes().find(path).is_none(), "{path}");
        }
    }
}
