//! Where Redis is, and how to sign in to it.

use std::fmt;
use std::str::FromStr;

use ::redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use url::Url;
use zeroize::Zeroizing;

#[derive(Clone)]
pub struct RedisSettings {
    pub url: RedisUrl,
    /// Comes from a file of its own: the URL is printed, this never is.
    pub password: Option<Zeroizing<String>>,
}

/// `redis://[user@]host[:port][/database]`, or `rediss:` for TLS.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    text: String,
    info: Box<ConnectionInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    #[error("it is not a URL such as redis://host:6379/0")]
    Malformed,
    #[error("it must begin with redis: or rediss:")]
    Scheme,
    #[error("a password must not stand in a URL; name a file that holds it")]
    Password,
    /// `#insecure` would turn the check of certificates off.
    #[error("it must not have a query or a fragment")]
    Extra,
}

/// Redis' client does not accept settings that [`RedisUrl`] accepted. Its own words could quote a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis' client does not accept its settings")]
pub struct SettingsError;

impl RedisUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let url = Url::parse(text).map_err(|_| RedisUrlError::Malformed)?;
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Err(RedisUrlError::Scheme);
        }
        if url.password().is_some() {
            return Err(RedisUrlError::Password);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RedisUrlError::Extra);
        }
        let info = Box::new(url.into_connection_info().map_err(|_| RedisUrlError::Malformed)?);
        Ok(Self { text: text.to_owned(), info })
    }
}

impl RedisSettings {
    pub(super) fn connection_info(&self) -> ConnectionInfo {
        let from_url = self.url.info.redis_settings();
        let mut settings = RedisConnectionInfo::default()
            .set_db(from_url.db())
            // Tells us at once that the connection is gone, instead of at the next request.
            .set_protocol(ProtocolVersion::RESP3)
            // Redis before 7.2 does not know the command, and the least user may not use it.
            .set_skip_set_lib_name();
        if let Some(user) = from_url.username() {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.as_str());
        }
        ConnectionInfo::clone(&self.url.info).set_redis_settings(settings)
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "..");
        formatter.debug_struct("RedisSettings").field("url", &self.url.text).field("password", &password).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_who() {
        let url: RedisUrl = "rediss://edge@redis.example:6380/2".parse().unwrap();
        let settings = RedisSettings { url, password: Some(Zeroizing::new("hunter2".into())) };
        let info = settings.connection_info();
        assert_eq!(info.redis_settings().username(), Some("edge"));
        assert_eq!(info.redis_settings().password(), Some("hunter2"));
        assert_eq!(info.redis_settings().db(), 2);
        assert_eq!(info.addr().to_string(), "redis.example:6380");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn what_would_weaken_or_leak_is_refused() {
        for (url, error) in [
            ("redis://user:secret@host", RedisUrlError::Password),
            ("rediss://host/#insecure", RedisUrlError::Extra),
            ("redis://host/?protocol=2", RedisUrlError::Extra),
            ("http://host", RedisUrlError::Scheme),
            ("unix:///run/redis.sock", RedisUrlError::Scheme),
            ("redis://host/first", RedisUrlError::Malformed),
            ("redis://0.0.0.0", RedisUrlError::Malformed),
            ("redis:", RedisUrlError::Malformed),
            ("host:6379", RedisUrlError::Scheme),
            ("", RedisUrlError::Malformed),
        ] {
            assert_eq!(url.parse::<RedisUrl>().unwrap_err(), error, "{url}");
        }
    }
}
