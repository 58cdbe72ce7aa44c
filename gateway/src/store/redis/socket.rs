//! The socket to a server, or what TLS makes of it. Redis' client could connect too, but would then run the driver itself.

use std::pin::Pin;
use std::sync::Arc;

use ::redis::aio::AsyncStream;
use ::redis::io::tcp::{TcpSettings, socket2::SockRef};
use ::redis::{ConnectionAddr, ErrorKind, RedisError};
use futures_util::future::select_ok;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::settings::RedisSettings;
use crate::pem;

pub type Socket = Pin<Box<dyn AsyncStream + Send>>;

/// Of the addresses that a name has, the first that answers.
pub async fn connect(address: &ConnectionAddr, settings: &RedisSettings) -> Result<Socket, RedisError> {
    let tcp = settings.tcp();
    match address {
        ConnectionAddr::Tcp(host, port) => Ok(Box::pin(plain(host, *port, &tcp).await?)),
        ConnectionAddr::TcpTls { host, port, .. } => {
            let name = ServerName::try_from(host.clone()).map_err(|_| not_usable("the host has no name for TLS"))?;
            let tls = TlsConnector::from(Arc::new(client_config(settings.ca.as_deref())?));
            Ok(Box::pin(tls.connect(name, plain(host, *port, &tcp).await?).await?))
        }
        _ => Err(not_usable("Redis is reached by TCP")),
    }
}

async fn plain(host: &str, port: u16, settings: &TcpSettings) -> Result<TcpStream, RedisError> {
    let addresses = lookup_host((host, port)).await?.map(|address| Box::pin(TcpStream::connect(address)));
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return Err(not_usable("the host has no address"));
    }
    let (stream, _) = select_ok(addresses).await?;
    let socket = SockRef::from(&stream);
    stream.set_nodelay(settings.nodelay())?;
    if let Some(keepalive) = settings.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    socket.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(stream)
}

/// Read anew for each connection: what the system trusts may change.
fn client_config(ca: Option<&[u8]>) -> Result<ClientConfig, RedisError> {
    let config = ClientConfig::builder();
    let config = match ca {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            let given = pem::roots(ca).map_err(|_| not_usable("the certificates to trust cannot be used"))?;
            roots.add_parsable_certificates(given);
            config.with_root_certificates(roots)
        }
        None => config.with_platform_verifier().map_err(|_| not_usable("the system trusts no certificate"))?,
    };
    Ok(config.with_no_client_auth())
}

fn not_usable(why: &'static str) -> RedisError {
    (ErrorKind::InvalidClientConfig, why).into()
}
