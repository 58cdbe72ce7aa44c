//! How to sign in to Redis, and how long to wait for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::redis::TlsCertificates;
use ::redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use ::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError};
use zeroize::Zeroizing;

use super::token::EntraUser;
use super::url::{Node, RedisUrl};

#[derive(Clone)]
pub struct RedisSettings {
    pub url: RedisUrl,
    /// Comes from a file of its own: the URL is printed, this never is.
    pub password: Option<Zeroizing<String>>,
    /// Signs in by Entra's tokens in the place of the URL's user and a password. Sentinels know no such users.
    pub entra_user: Option<EntraUser>,
    /// Of the sentinels, which have users of their own.
    pub sentinel_password: Option<Zeroizing<String>>,
    /// PEM: the roots of trust in the place of the system's.
    pub ca: Option<Vec<u8>>,
    /// For finding a server, the connection, TLS and sign-in together.
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub breaker: BreakerSettings,
}

/// When to stop waiting for what does not answer.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// So many requests in a row that were waited for in vain.
    pub failures: u32,
    /// How often one request is let through to see whether it is well again.
    pub pause: Duration,
}

/// Redis' client does not accept settings that [`RedisUrl`] accepted. Its own words could quote a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis' client does not accept its settings")]
pub struct SettingsError;

impl From<RedisError> for SettingsError {
    fn from(_: RedisError) -> Self {
        Self
    }
}

impl RedisSettings {
    /// With the defaults for everything but the place.
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            password: None,
            entra_user: None,
            sentinel_password: None,
            ca: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_millis(250),
            breaker: BreakerSettings { failures: 5, pause: Duration::from_secs(1) },
        }
    }

    pub(super) fn sign_in(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default()
            .set_db(self.url.database)
            // Tells us at once that the connection is gone, instead of at the next request.
            .set_protocol(ProtocolVersion::RESP3)
            // Redis before 7.2 does not know the command, and the least user may not use it.
            .set_skip_set_lib_name();
        if let Some(user) = &self.url.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.as_str());
        }
        settings
    }

    pub(super) fn address(&self, node: &Node) -> ConnectionAddr {
        let (host, port) = (node.host.clone(), node.port);
        match self.url.tls {
            false => ConnectionAddr::Tcp(host, port),
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        }
    }

    /// Of a server that we ask for records.
    pub(super) fn server(&self, address: ConnectionAddr) -> Result<ConnectionInfo, RedisError> {
        let info = address.into_connection_info()?;
        Ok(info.set_redis_settings(self.sign_in()).set_tcp_settings(self.tcp()))
    }

    pub(super) fn tcp(&self) -> TcpSettings {
        TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE))
            // A peer that vanished acknowledges nothing: without this the kernel would try for a quarter of an hour, and
            // every request until then would time out on a dead connection.
            .set_user_timeout(self.connect_timeout)
    }

    pub(super) fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: self.ca.clone() }
    }

    /// Of one connection. `lost` is set when it cannot be signed in again.
    pub(super) fn connection(&self, lost: Arc<AtomicBool>) -> ::redis::AsyncConnectionConfig {
        let config = ::redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout));
        match &self.entra_user {
            Some(user) => config.set_credentials_provider(user.for_connection(lost)),
            None => config,
        }
    }

    /// Whether there is what to sign in with.
    pub(super) async fn ready(&self) -> Result<(), RedisError> {
        match &self.entra_user {
            Some(user) => user.ready(self.connect_timeout).await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |secret: &Option<Zeroizing<String>>| secret.as_ref().map(|_| "..");
        formatter
            .debug_struct("RedisSettings")
            .field("url", &self.url.as_str())
            .field("password", &secret(&self.password))
            .field("entra_user", &self.entra_user)
            .field("sentinel_password", &secret(&self.sentinel_password))
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

/// Shorter than what firewalls and Azure's load balancer forget an idle connection after.
const KEEPALIVE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_to_redis_and_into_no_text() {
        let url = "rediss://edge@redis.example:6380/2".parse().unwrap();
        let password = || Some(Zeroizing::new("hunter2".to_owned()));
        let settings = RedisSettings { password: password(), sentinel_password: password(), ..RedisSettings::new(url) };
        let sign_in = settings.sign_in();
        assert_eq!((sign_in.username(), sign_in.password(), sign_in.db()), (Some("edge"), Some("hunter2"), 2));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
