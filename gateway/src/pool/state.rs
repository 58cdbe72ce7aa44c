//! How a group's servers are, for operators.

use std::net::SocketAddr;

use url::Url;

use super::Pool;
use super::server::Server;

/// One address of a server, for operators.
pub struct ServerState {
    pub server: Url,
    pub address: SocketAddr,
    /// By the health check; always, without one.
    pub well: bool,
    pub ejected: bool,
    pub draining: bool,
}

/// How many addresses of servers there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ready: u32,
    pub down: u32,
    pub ejected: u32,
    pub draining: u32,
}

impl Pool {
    /// Every address of every server, in the order of the configuration.
    pub fn servers(&self) -> Vec<ServerState> {
        let members = self.members.load();
        let mut members: Vec<_> = members.iter().collect();
        members.sort_by_key(|(address, server)| (server.index, **address));
        let state = |(address, server): (&SocketAddr, &Server)| ServerState {
            server: self.settings.servers[server.index].clone(),
            address: *address,
            well: self.is_well(*address),
            ejected: self.ejections.is_ejected(*address),
            draining: self.is_draining(server),
        };
        members.into_iter().map(state).collect()
    }

    /// How many addresses of servers are ready, down, ejected, and draining; each counts once.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (address, server) in self.members.load().iter() {
            let state = if self.is_draining(server) {
                &mut counts.draining
            } else if !self.is_well(*address) {
                &mut counts.down
            } else if self.ejections.is_ejected(*address) {
                &mut counts.ejected
            } else {
                &mut counts.ready
            };
            *state += 1;
        }
        counts
    }
}
