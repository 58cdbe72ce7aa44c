//! Protected resources: what a token is for (RFC 8707, RFC 9728).

use std::sync::Arc;

use url::Url;

use crate::public_url::PublicUrl;

/// One upstream as a client sees it. Its URL is part of a token's associated data, so that a token for one resource fails
/// as a forgery at another (T14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    url: Arc<str>,
    path: Arc<str>,
    entra_scope: Arc<str>,
}

impl Resource {
    /// `path` begins with a slash and does not end in one; `entra_scope` is what Entra is asked for on its behalf.
    pub fn new(public_url: &PublicUrl, path: &str, entra_scope: &str) -> Self {
        Self { url: public_url.join(path).into(), path: path.into(), entra_scope: entra_scope.into() }
    }

    /// The canonical URL, `<origin>/mcp`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn entra_scope(&self) -> &str {
        &self.entra_scope
    }
}

/// Every resource behind this edge, the first being the default.
#[derive(Clone, Debug)]
pub struct Resources {
    origin: Url,
    all: Arc<[Resource]>,
}

impl Resources {
    /// # Panics
    /// When `all` is empty: configuration requires an upstream.
    pub fn new(public_url: &PublicUrl, all: Vec<Resource>) -> Self {
        assert!(!all.is_empty(), "there is at least one upstream");
        let origin = Url::parse(public_url.as_str()).expect("a public URL is a URL");
        Self { origin, all: all.into() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.all.iter()
    }

    /// What a client means that names no resource: older clients send none (A21).
    pub fn default(&self) -> &Resource {
        &self.all[0]
    }

    /// The resource that a client's `resource` parameter means; `None` is `invalid_target`.
    ///
    /// Compared after parsing, so that case of scheme and host, a default port and one trailing slash do not matter (A21).
    /// The origin alone means the default; a resource's legacy SSE endpoint means the resource.
    pub fn find(&self, parameter: &str) -> Option<&Resource> {
        let url = Url::parse(parameter).ok()?;
        let foreign = url.origin() != self.origin.origin() || url.query().is_some() || url.fragment().is_some();
        if foreign || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        match url.path().strip_suffix('/').unwrap_or(url.path()) {
            "" => Some(self.default()),
            path => self.all.iter().find(|resource| {
                path.strip_prefix(resource.path()).is_some_and(|rest| rest.is_empty() || rest == "/sse")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Resources {
        let public_url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let resource = |path| Resource::new(&public_url, path, "api://m/access_as_user");
        Resources::new(&public_url, vec![resource("/mcp"), resource("/mcp-two")])
    }

    #[test]
    fn spellings_of_one_resource_are_one_resource() {
        let resources = resources();
        for spelling in [
            "https://mcp.example.com/mcp",
            "https://mcp.example.com/mcp/",
            "HTTPS://MCP.example.com:443/mcp",
            "https://mcp.example.com/mcp/sse",
            "https://mcp.example.com",
            "https://mcp.example.com/",
        ] {
            assert_eq!(resources.find(spelling).map(Resource::path), Some("/mcp"), "{spelling}");
        }
        assert_eq!(resources.find("https://mcp.example.com/mcp-two").map(Resource::path), Some("/mcp-two"));
    }

    #[test]
    fn other_resources_are_refused() {
        for foreign in [
            "https://evil.example/mcp",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com/MCP",
            "https://mcp.example.com/mcp//",
            "https://mcp.example.com/mcp/other",
            "https://mcp.example.com/mcp?x",
            "https://mcp.example.com/mcp#x",
            "https://user@mcp.example.com/mcp",
            "mcp",
        ] {
            assert_eq!(resources().find(foreign), None, "{foreign}");
        }
    }
}
