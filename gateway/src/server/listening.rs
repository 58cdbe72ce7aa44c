//! Says when the server accepts connections: in the log, and to the service manager.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use sd_notify::NotifyState;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::service_manager;

const POLL: Duration = Duration::from_millis(10);
/// Pingora tries a taken port for half a minute; after that it has given up too.
const PATIENCE: Duration = Duration::from_secs(35);

/// Logs one line `listening` for each address, as soon as something answers there: Pingora binds late and tells nobody. At a
/// socket that was inherited that is at once, for the kernel answers and keeps for us who comes.
pub struct Announcer {
    pub addresses: Vec<SocketAddr>,
    /// In the file system; it was opened when the server was built.
    pub socket: Option<PathBuf>,
}

#[async_trait]
impl BackgroundService for Announcer {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut all = true;
        for &address in &self.addresses {
            let reachable = match address.ip().is_unspecified() {
                true => SocketAddr::new(loopback_like(address), address.port()),
                false => address,
            };
            match timeout(PATIENCE, connected(reachable)).await {
                Ok(()) => tracing::info!(%address, "listening"),
                Err(_) => {
                    tracing::error!(%address, "nothing listens here: is the address taken?");
                    all = false;
                }
            }
        }
        if let Some(socket) = &self.socket {
            tracing::info!(address = %socket.display(), "listening");
        }
        if all {
            service_manager::say(&[NotifyState::Ready]);
        }
    }
}

async fn connected(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(POLL).await;
    }
}

fn loopback_like(address: SocketAddr) -> std::net::IpAddr {
    match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}
