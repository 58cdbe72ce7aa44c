//! What an operator bans: clients by their ids, and hosts.
//!
//! A client that registers itself gets a new id whenever it likes; what bans it for good is the host that its answers go to.

use std::collections::HashSet;

use super::super::redirect_uri::{self, RedirectUri};
use super::{Client, ClientRef, Kind, NoClient};

/// Client ids and hosts. A host bans the hosts below it too.
pub struct Denied {
    clients: HashSet<ClientRef>,
    hosts: Vec<String>,
}

impl Denied {
    /// Each entry may be either: nobody has to say which.
    pub fn new(entries: &[String]) -> Self {
        Self {
            clients: entries.iter().map(|entry| ClientRef::of(entry)).collect(),
            hosts: entries.iter().map(|entry| plain(entry)).collect(),
        }
    }

    /// A client that names a denied host among others is denied whole: what was granted there before the ban must not be
    /// refreshed by way of the others.
    pub fn check(&self, client: Client) -> Result<Client, NoClient> {
        let refused = self.refuses_client(client.reference, &client.kind)
            || client.redirect_uris.iter().any(|uri| self.refuses_redirect_uri(uri.as_str()));
        if refused { Err(NoClient::Denied) } else { Ok(client) }
    }

    /// Before a document is even fetched.
    pub fn check_document(&self, client_id: &str) -> Result<(), NoClient> {
        let refused =
            self.clients.contains(&ClientRef::of(client_id)) || self.refuses_host(redirect_uri::host(client_id));
        if refused { Err(NoClient::Denied) } else { Ok(()) }
    }

    fn refuses_client(&self, client: ClientRef, kind: &Kind) -> bool {
        let host_refused = matches!(kind, Kind::MetadataDocument { host, .. } if self.refuses_host(host));
        self.clients.contains(&client) || host_refused
    }

    pub fn refuses_redirect_uri(&self, text: &str) -> bool {
        self.refuses_host(redirect_uri::host(text))
    }

    /// What was proven and sealed a while ago, perhaps before the ban.
    pub fn refuses(&self, client: ClientRef, kind: &Kind, redirect_uri: &RedirectUri) -> bool {
        self.refuses_client(client, kind) || self.refuses_redirect_uri(redirect_uri.as_str())
    }

    fn refuses_host(&self, host: &str) -> bool {
        let host = plain(host);
        self.hosts
            .iter()
            .any(|denied| host.strip_suffix(denied.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }
}

/// `Bad.example.` is `bad.example` to whoever resolves it.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_those_below_it_are_banned_and_no_others() {
        let denied = Denied::new(&["bad.example".to_owned(), "sp1_cl_x".to_owned()]);
        for uri in [
            "https://bad.example/cb",
            "https://a.b.bad.example:8443/cb",
            "custom://Bad.example/cb",
            "https://bad.example./cb",
        ] {
            assert!(denied.refuses_redirect_uri(uri), "{uri}");
        }
        for uri in ["https://notbad.example/cb", "https://bad.example.org/cb", "http://[::1]:1/bad.example"] {
            assert!(!denied.refuses_redirect_uri(uri), "{uri}");
        }
        for (id, refused) in [("sp1_cl_x", true), ("sp1_cl_y", false)] {
            assert_eq!(denied.refuses_client(ClientRef::of(id), &Kind::Registered), refused, "{id}");
        }
        for (id, refused) in
            [("https://bad.example/m", true), ("https://a.bad.example:1/m", true), ("https://a.example/m", false)]
        {
            assert_eq!(denied.check_document(id).is_err(), refused, "{id}");
        }
    }
}
