//! The URL of a metadata document, which is the client's id.

use super::super::super::redirect_uri::{self, RedirectUri};

/// Longer ones are nobody's, and an id travels in URLs itself.
const MAX_LENGTH: usize = 512;

/// `https`, a DNS name, a path; no user, query, fragment, dot segment or second spelling. A port only where the operator
/// lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentUrl(String);

/// `host` or `host:port`, as a document's URL has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentHost(String);

impl DocumentUrl {
    /// The client id stays as it is, byte for byte: the document must name just these.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_LENGTH {
            return Err("longer than 512 characters");
        }
        // The rules of an https redirect URI are these very rules: a URL that every reader reads alike.
        if !text.starts_with("https://") || RedirectUri::parse(text, &[]).is_err() {
            return Err("not an https URL in its one spelling");
        }
        let url = Self(text.to_owned());
        if text.contains('?') || text.len() == "https://".len() + url.authority().len() {
            return Err("a query, or no path");
        }
        match is_dns_name(url.host()) {
            true => Ok(url),
            false => Err("the host is not a public DNS name"),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn host(&self) -> &str {
        redirect_uri::host(&self.0)
    }

    /// The host, with the port if it is not 443.
    pub fn authority(&self) -> &str {
        let rest = &self.0["https://".len()..];
        &rest[..rest.find('/').unwrap_or(rest.len())]
    }

    /// With no list, any host is good and no port but 443.
    pub fn is_at_one_of(&self, hosts: &[DocumentHost]) -> bool {
        match hosts {
            [] => self.authority() == self.host(),
            hosts => hosts.iter().any(|listed| listed.0 == self.authority()),
        }
    }
}

impl DocumentHost {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match DocumentUrl::parse(&format!("https://{text}/x")) {
            Ok(url) if url.authority() == text => Ok(Self(text.to_owned())),
            _ => Err("must be a DNS name in lower case such as claude.ai, with a port only if it is not 443"),
        }
    }
}

/// At least two labels: what has one is of this network. The names of RFC 6761 are nobody's.
fn is_dns_name(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let label = |label: &&str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    labels.len() >= 2
        && labels.iter().all(label)
        && !matches!(labels[labels.len() - 1], "localhost" | "local" | "internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_today_have_good_urls() {
        for text in [
            "https://vscode.dev/oauth/client-metadata.json",
            "https://claude.ai/oauth/claude-code-client-metadata",
            "https://client.example/",
            "https://client.example:8443/a/b_c-d.json",
        ] {
            assert_eq!(DocumentUrl::parse(text).map(|url| url.as_str().to_owned()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_no_client_id() {
        for text in [
            "http://client.example/m",
            "https://client.example",
            "https://client.example/m?x",
            "https://client.example/m?",
            "https://client.example/m#x",
            "https://user@client.example/m",
            "https://client.example:443/m",
            "https://CLIENT.example/m",
            "https://client.example/../m",
            "https://client.example/%2e%2e/m",
            "https://client.example/./m",
            "https://client.example\\@evil.example/m",
            "https://client.example./m",
            "https://client/m",
            "https://localhost/m",
            "https://a.localhost/m",
            "https://printer.local/m",
            "https://metadata.google.internal/computeMetadata/v1/",
            "https://127.0.0.1/m",
            "https://169.254.169.254/metadata",
            "https://[::1]/m",
            "https://0x7f.1/m",
            "https://client..example/m",
            "file:///etc/passwd",
            &format!("https://client.example/{}", "a".repeat(512)),
        ] {
            assert!(DocumentUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_is_good_if_it_is_listed_with_its_port() {
        let url = |text| DocumentUrl::parse(text).unwrap();
        let hosts = ["claude.ai", "client.example:8443"].map(|text| DocumentHost::parse(text).unwrap());
        assert!(
            url("https://claude.ai/m").is_at_one_of(&hosts)
                && url("https://client.example:8443/m").is_at_one_of(&hosts)
        );
        for other in ["https://client.example/m", "https://claude.ai:8443/m", "https://x.claude.ai/m"] {
            assert!(!url(other).is_at_one_of(&hosts), "{other}");
        }
        assert!(url("https://any.example/m").is_at_one_of(&[]) && !url("https://any.example:444/m").is_at_one_of(&[]));
        for bad in ["", "claude.ai/", "Claude.ai", "claude.ai:443", "https://claude.ai", "localhost", "*.claude.ai"] {
            assert!(DocumentHost::parse(bad).is_err(), "{bad}");
        }
    }
}
