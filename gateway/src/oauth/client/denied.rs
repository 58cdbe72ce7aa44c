//! What an operator bans: clients by their ids, and hosts.
//!
//! A client that registers itself gets a new id whenever it likes; what bans it for good is the host that its answers go to.

use std::collections::HashSet;

use super::super::redirect_uri::{self, RedirectUri};
use super::{Client, ClientRef, NoClient};

/// Client ids and hosts. A host bans the hosts below it too.
pub struct Denied {
    clients: HashSet<ClientRef>,
    hosts: Vec<String>,
}

impl Denied {
    /// Each entry may be either: nobody has to say which.
    pub fn new(entries: &[String]) -> Self {
        Self { clients: entries.iter().map(|entry| ClientRef::of(entry)).collect(), hosts: entries.to_vec() }
    }

    /// The client without the redirect URIs that lead to a denied host.
    pub fn without_denied(&self, mut client: Client) -> Result<Client, NoClient> {
        if self.refuses_client(client.reference) {
            return Err(NoClient::Denied);
        }
        client.redirect_uris.retain(|uri| !self.refuses_redirect_uri(uri.as_str()));
        match client.redirect_uris.is_empty() {
            true => Err(NoClient::Denied),
            false => Ok(client),
        }
    }

    pub fn refuses_client(&self, client: ClientRef) -> bool {
        self.clients.contains(&client)
    }

    pub fn refuses_redirect_uri(&self, text: &str) -> bool {
        self.refuses_host(redirect_uri::host(text))
    }

    /// What was proven and sealed a while ago, perhaps before the ban.
    pub fn refuses(&self, client: ClientRef, redirect_uri: &RedirectUri) -> bool {
        self.refuses_client(client) || self.refuses_redirect_uri(redirect_uri.as_str())
    }

    fn refuses_host(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|denied| host.strip_suffix(denied.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_those_below_it_are_banned_and_no_others() {
        let denied = Denied::new(&["bad.example".to_owned(), "sp1_cl_x".to_owned()]);
        for uri in ["https://bad.example/cb", "https://a.b.bad.example:8443/cb", "custom://bad.example/cb"] {
            assert!(denied.refuses_redirect_uri(uri), "{uri}");
        }
        for uri in ["https://notbad.example/cb", "https://bad.example.org/cb", "http://[::1]:1/bad.example"] {
            assert!(!denied.refuses_redirect_uri(uri), "{uri}");
        }
        assert!(denied.refuses_client(ClientRef::of("sp1_cl_x")) && !denied.refuses_client(ClientRef::of("sp1_cl_y")));
    }
}
