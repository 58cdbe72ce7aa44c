//! Where Redis is: one server, a service that sentinels know, or a cluster.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use url::Url;

/// `redis://[user@]host[:port][/database]`, `redis+sentinel://[user@]host[:port],../service[/database]`, or
/// `redis+cluster://[user@]host[:port],..`; with `rediss` in the place of `redis`, TLS on every hop.
#[derive(Clone)]
pub struct RedisUrl {
    text: String,
    pub(super) place: Box<Place>,
    pub(super) tls: bool,
    pub(super) user: Option<Box<str>>,
    pub(super) database: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Server(Node),
    /// Who know where the service's primary is now.
    Sentinels {
        sentinels: Vec<Node>,
        service: String,
    },
    /// Some of the cluster's nodes; they know the others.
    Cluster(Vec<Node>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    #[error("it is not a URL such as redis://host:6379/0")]
    Malformed,
    #[error("it must begin with redis: or rediss:, or one of them with +sentinel or +cluster")]
    Scheme,
    #[error("a password must not stand in a URL; name a file that holds it")]
    Password,
    /// `#insecure` would turn the check of certificates off.
    #[error("it must not have a query or a fragment")]
    Extra,
    #[error("it is not like redis+sentinel://host:26379,host:26379/service/0: the service is what sentinels monitor")]
    Service,
    #[error("a cluster has no databases: it is like redis+cluster://host:6379,host:6379")]
    Database,
}

impl RedisUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    pub fn names_a_user(&self) -> bool {
        self.user.is_some()
    }

    /// Whether what is sent to each host that it names stays on this machine.
    pub fn is_loopback(&self) -> bool {
        let nodes = match &*self.place {
            Place::Server(node) => std::slice::from_ref(node),
            Place::Sentinels { sentinels: nodes, .. } | Place::Cluster(nodes) => nodes,
        };
        let is_near = |host: &str| host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        nodes.iter().all(|node| node.host == "localhost" || is_near(&node.host))
    }

    pub fn has_sentinels(&self) -> bool {
        matches!(*self.place, Place::Sentinels { .. })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("RedisUrl").field(&self.text).finish()
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(RedisUrlError::Malformed)?;
        let (scheme, kind) = scheme.split_once('+').map_or((scheme, None), |(scheme, kind)| (scheme, Some(kind)));
        if !matches!(scheme, "redis" | "rediss") || !matches!(kind, None | Some("sentinel" | "cluster")) {
            return Err(RedisUrlError::Scheme);
        }
        let rest = rest.strip_prefix("//").ok_or(RedisUrlError::Malformed)?;
        if rest.contains(['?', '#']) {
            return Err(RedisUrlError::Extra);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        if user.contains(':') {
            return Err(RedisUrlError::Password);
        }
        let (service, database) = match kind {
            Some("sentinel") => path.split_once('/').unwrap_or((path, "")),
            _ => ("", path),
        };
        let default_port = if kind == Some("sentinel") { SENTINELS_PORT } else { REDIS_PORT };
        let mut nodes = Vec::new();
        let mut info = None;
        for host in hosts.split(',') {
            let (node, about) = one(scheme, user, host, database, default_port)?;
            nodes.push(node);
            info = Some(about);
        }
        // `split` gives one host at least.
        let info = info.ok_or(RedisUrlError::Malformed)?;
        let place = match kind {
            None if nodes.len() == 1 => Place::Server(nodes.remove(0)),
            None => return Err(RedisUrlError::Malformed),
            Some("sentinel") if is_service(service) => Place::Sentinels { sentinels: nodes, service: service.into() },
            Some("sentinel") => return Err(RedisUrlError::Service),
            Some(_) if database.is_empty() => Place::Cluster(nodes),
            Some(_) => return Err(RedisUrlError::Database),
        };
        Ok(Self {
            text: text.to_owned(),
            place: Box::new(place),
            tls: scheme == "rediss",
            user: info.redis_settings().username().map(Into::into),
            database: info.redis_settings().db(),
        })
    }
}

/// One host as Redis' client reads it.
fn one(
    scheme: &str,
    user: &str,
    host: &str,
    database: &str,
    default_port: u16,
) -> Result<(Node, ConnectionInfo), RedisUrlError> {
    let at = if user.is_empty() { "" } else { "@" };
    let url = Url::parse(&format!("{scheme}://{user}{at}{host}/{database}")).map_err(|_| RedisUrlError::Malformed)?;
    let port = url.port().unwrap_or(default_port);
    let info = url.into_connection_info().map_err(|_| RedisUrlError::Malformed)?;
    let host = match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => return Err(RedisUrlError::Malformed),
    };
    Ok((Node { host, port }, info))
}

/// What Sentinel takes for the name of a service.
fn is_service(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

const REDIS_PORT: u16 = 6379;
const SENTINELS_PORT: u16 = 26379;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    #[test]
    fn a_url_says_where_and_who() {
        for (text, place, tls, user, database) in [
            ("redis://localhost", Place::Server(node("localhost", 6379)), false, None, 0),
            ("rediss://edge@redis.example:6380/2", Place::Server(node("redis.example", 6380)), true, Some("edge"), 2),
            ("redis://a%40b@[::1]:7/", Place::Server(node("::1", 7)), false, Some("a@b"), 0),
            (
                "redis+sentinel://edge@one,two:7/my-master.1/3",
                Place::Sentinels { sentinels: vec![node("one", 26379), node("two", 7)], service: "my-master.1".into() },
                false,
                Some("edge"),
                3,
            ),
            (
                "rediss+sentinel://one/s",
                Place::Sentinels { sentinels: vec![node("one", 26379)], service: "s".into() },
                true,
                None,
                0,
            ),
            (
                "rediss+cluster://edge@one,two:7",
                Place::Cluster(vec![node("one", 6379), node("two", 7)]),
                true,
                Some("edge"),
                0,
            ),
        ] {
            let url: RedisUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.as_str(), &*url.place, url.tls), (text, &place, tls));
            assert_eq!((url.user.as_deref(), url.database), (user, database), "{text}");
        }
    }

    #[test]
    fn what_would_weaken_leak_or_mislead_is_refused() {
        for (url, error) in [
            ("redis://user:secret@host", RedisUrlError::Password),
            ("redis+sentinel://user:secret@host/s", RedisUrlError::Password),
            ("redis+cluster://one,user:secret@two", RedisUrlError::Password),
            ("rediss://host/#insecure", RedisUrlError::Extra),
            ("rediss+cluster://host#insecure", RedisUrlError::Extra),
            ("redis://host/?protocol=2", RedisUrlError::Extra),
            ("http://host", RedisUrlError::Scheme),
            ("redis+http://host", RedisUrlError::Scheme),
            ("unix:///run/redis.sock", RedisUrlError::Scheme),
            ("redis://host/first", RedisUrlError::Malformed),
            ("redis://one,two", RedisUrlError::Malformed),
            ("redis://0.0.0.0", RedisUrlError::Malformed),
            ("redis:", RedisUrlError::Malformed),
            ("host:6379", RedisUrlError::Scheme),
            ("", RedisUrlError::Malformed),
            ("redis+sentinel://one,two", RedisUrlError::Service),
            ("redis+sentinel://one//0", RedisUrlError::Service),
            ("redis+sentinel://one/my master", RedisUrlError::Service),
            ("redis+sentinel://one/service/first", RedisUrlError::Malformed),
            ("redis+sentinel://one,,two/service", RedisUrlError::Malformed),
            ("redis+cluster://", RedisUrlError::Malformed),
            ("redis+cluster://one:x", RedisUrlError::Malformed),
            ("redis+cluster://one/1", RedisUrlError::Database),
        ] {
            assert_eq!(url.parse::<RedisUrl>().unwrap_err(), error, "{url}");
        }
    }
}
