//! Listening sockets that somebody else holds: systemd's socket activation.
//!
//! Such a socket is open before this process and after it. Who connects while none runs waits in the kernel's queue, and the
//! next one serves him: a restart refuses nobody. It may also be held by two processes at once, of which either accepts.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{IntoRawFd, OwnedFd};

use async_trait::async_trait;
use listenfd::ListenFd;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};

/// The sockets that this process was started with.
pub struct Inherited(ListenFd);

impl Inherited {
    /// As the environment says, from which `LISTEN_FDS` and `LISTEN_PID` are taken away. To be called before the process has
    /// a second thread. Names of sockets (`LISTEN_FDNAMES`) play no role: a socket is known by its address.
    pub fn from_environment() -> Self {
        Self(ListenFd::from_env())
    }

    pub fn none() -> Self {
        Self(ListenFd::empty())
    }

    /// The sockets, each of which is at one of these addresses.
    ///
    /// # Errors
    /// When one is not, or cannot be listened at: who connects to it would wait for ever.
    pub(super) fn claim(mut self, configured: &[SocketAddr]) -> Result<Sockets, InheritedError> {
        let mut sockets = Sockets(Vec::new());
        for index in 0..self.0.len() {
            if let Some(listener) = self.0.take_tcp_listener(index)? {
                sockets.add(listener, configured)?;
            }
        }
        Ok(sockets)
    }
}

/// Why a socket that was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    #[error("{0}")]
    Unusable(#[from] io::Error),
    #[error("the one at {0} is a connection, as systemd passes with Accept=yes")]
    Connection(SocketAddr),
    #[error("there are two at {0}, as systemd passes with ReusePort=yes; one of them would never be served")]
    Twice(SocketAddr),
    #[error("the one at {address} is at none of the addresses that are configured: {configured}")]
    NotConfigured { address: SocketAddr, configured: Addresses },
}

#[derive(Debug)]
pub struct Addresses(Vec<SocketAddr>);

impl fmt::Display for Addresses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&addresses.join(", "))
    }
}

/// Hands the sockets to the services that listen, which depend on it: Pingora binds what is not in its table by then.
pub struct Sockets(Vec<(String, OwnedFd)>);

impl Sockets {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, listener: TcpListener, configured: &[SocketAddr]) -> Result<(), InheritedError> {
        let (listener, address) = checked(listener)?;
        if !configured.contains(&address) {
            return Err(InheritedError::NotConfigured { address, configured: Addresses(configured.to_vec()) });
        }
        let name = address.to_string();
        if self.0.iter().any(|(other, _)| *other == name) {
            return Err(InheritedError::Twice(address));
        }
        tracing::info!(%address, "a listening socket was passed");
        self.0.push((name, listener.into()));
        Ok(())
    }

    /// One that this process has opened itself, under the name that its service has for it.
    pub fn hold(&mut self, name: String, listener: OwnedFd) {
        self.0.push((name, listener));
    }
}

#[async_trait]
impl ServiceWithDependents for Sockets {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        if let Some(fds) = fds {
            let mut table = fds.lock();
            for (name, listener) in self.0.drain(..) {
                table.add(name, listener.into_raw_fd());
            }
        }
        ready.notify_ready();
    }

    fn name(&self) -> &str {
        "inherited"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

fn checked(listener: TcpListener) -> Result<(TcpListener, SocketAddr), InheritedError> {
    let address = listener.local_addr()?;
    let stream = TcpStream::from(OwnedFd::from(listener));
    if stream.peer_addr().is_ok() {
        return Err(InheritedError::Connection(address));
    }
    // systemd passes sockets that block, and one that does would stop the thread that accepts.
    stream.set_nonblocking(true)?;
    Ok((TcpListener::from(OwnedFd::from(stream)), address))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_socket_that_listens_is_told_from_a_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = TcpListener::from(OwnedFd::from(accepted));
        assert!(matches!(checked(accepted), Err(InheritedError::Connection(at)) if at == address));
        let (listener, at) = checked(listener).unwrap();
        assert_eq!(at, address);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn each_address_is_listened_at_once() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, other) = (listener.local_addr().unwrap(), listener.try_clone().unwrap());
        let mut sockets = Sockets(Vec::new());
        sockets.add(listener, &[address]).unwrap();
        assert!(matches!(sockets.add(other, &[address]), Err(InheritedError::Twice(at)) if at == address));
    }
}
