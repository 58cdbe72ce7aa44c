//! What a Redis is like, for whoever looks for what is wrong: asked as the user that the edge signs in as. Nothing is written:
//! what would change something is asked in a form that Redis refuses, after it has looked whether the user may.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, Cmd, RedisError, Value, cmd};
use futures_util::future::join_all;

use super::link::Link;
use super::{RedisSettings, SettingsError, StoreError, unavailable};

/// One server, or one node of a cluster.
pub struct Inspection {
    /// `host:port`.
    pub node: String,
    pub facts: Result<Facts, StoreError>,
}

/// What it says of itself, and what its user may do.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub version: String,
    /// `master` or `replica`.
    pub role: String,
    /// How many replicas are connected to it.
    pub replicas: usize,
    /// How long each question took, the first one too.
    pub round_trips: Vec<Duration>,
    /// What the edge needs and the user may not do.
    pub lacks: Vec<&'static str>,
    /// What the user may do and the edge never does.
    pub exceeds: Vec<&'static str>,
    /// `INFO`, by its names; `None` when the user may not ask for it.
    pub info: Option<BTreeMap<String, String>>,
}

impl Facts {
    pub fn info(&self, name: &str) -> Option<&str> {
        self.info.as_ref()?.get(name).map(String::as_str)
    }
}

/// Looks at the server, the primary that the sentinels know, or each node of a cluster that is named.
///
/// # Errors
/// When Redis' client does not accept the settings.
pub async fn inspect(settings: RedisSettings, topic: &'static str) -> Result<Vec<Inspection>, SettingsError> {
    let patience = settings.connect_timeout;
    let link = Arc::new(Link::new(settings)?);
    let nodes = link.nodes().await;
    let looks = nodes.into_iter().map(async |(node, client)| {
        let facts = match client {
            Ok(client) => look(&link, client, patience, topic).await,
            Err(error) => Err(error),
        };
        Inspection { node, facts: facts.map_err(|error| unavailable(&error, &link)) }
    });
    Ok(join_all(looks).await)
}

async fn look(link: &Link, client: Client, patience: Duration, topic: &str) -> Result<Facts, RedisError> {
    let mut connection = link.connection_for_looking(&client, patience).await?;
    let hello: HashMap<String, Value> = cmd("HELLO").arg(3).query_async(&mut connection).await?;
    let text = |name: &str| hello.get(name).and_then(|value| ::redis::from_redis_value(value.clone()).ok());
    let mut facts = Facts {
        version: text("version").unwrap_or_default(),
        role: text("role").unwrap_or_default(),
        ..Facts::default()
    };
    for _ in 0..ROUND_TRIPS {
        let asked = Instant::now();
        let _: Option<Value> = cmd("GET").arg(NOTHING).query_async(&mut connection).await.or_else(refused)?;
        facts.round_trips.push(asked.elapsed());
    }
    for (name, command) in needed(topic) {
        if !may(&mut connection, name, command).await? {
            facts.lacks.push(name);
        }
    }
    for (name, command) in needless() {
        if may(&mut connection, name, command).await? {
            facts.exceeds.push(name);
        }
    }
    // A list whose first is "master" and whose third the replicas.
    let role: Vec<Value> = cmd("ROLE").query_async(&mut connection).await.or_else(refused)?.unwrap_or_default();
    if let Some(Value::Array(replicas)) = role.get(2) {
        facts.replicas = replicas.len();
    }
    let info: Option<String> = cmd("INFO").query_async(&mut connection).await.or_else(refused)?;
    facts.info = info.map(|info| {
        info.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.into(), value.into())).collect()
    });
    Ok(facts)
}

/// Whether the user may do something. Any answer but one counts as yes: Redis looks at the user's rights first.
async fn may(connection: &mut MultiplexedConnection, name: &str, command: Cmd) -> Result<bool, RedisError> {
    match command.query_async::<Value>(connection).await {
        Ok(_) => Ok(true),
        // That the channel is none of the user's is not what was asked.
        Err(error) if is_denied(&error) => {
            Ok(name == PUBLISH && error.detail().is_some_and(|words| words.contains("channel")))
        }
        Err(error) if error.is_io_error() || error.is_timeout() => Err(error),
        Err(_) => Ok(true),
    }
}

/// What the store does, each in a form that changes nothing.
fn needed(topic: &str) -> Vec<(&'static str, Cmd)> {
    vec![
        ("get", of(&["GET", NOTHING])),
        ("set", of(&["SET", NOTHING, "", "NO-SUCH-OPTION"])),
        ("del", of(&["DEL", NOTHING])),
        ("exists", of(&["EXISTS", NOTHING])),
        ("expire", of(&["EXPIRE", NOTHING, "1"])),
        ("zadd", of(&["ZADD", NOTHING, "no-number", "member"])),
        ("zrem", of(&["ZREM", NOTHING, "member"])),
        ("zrange", of(&["ZRANGE", NOTHING, "0", "0"])),
        ("zrangebyscore", of(&["ZRANGEBYSCORE", NOTHING, "0", "0"])),
        ("zremrangebyscore", of(&["ZREMRANGEBYSCORE", NOTHING, "0", "0"])),
        ("evalsha", of(&["EVALSHA", "0000000000000000000000000000000000000000", "1", NOTHING])),
        ("script|load", of(&["SCRIPT", "LOAD", "this is no program"])),
        // Nobody listens there. That it may not be written to either is as it should be.
        (PUBLISH, of(&["PUBLISH", NOTHING, ""])),
        ("subscribe, or the channel", of(&["SUBSCRIBE", topic])),
    ]
}

/// What who takes the edge over could do to others, likewise.
fn needless() -> [(&'static str, Cmd); 4] {
    [
        ("read names outside sallyport:*", of(&["EXISTS", "doctor:nothing"])),
        ("list all names", of(&["SCAN", "0", "MATCH", "doctor:nothing", "COUNT", "1"])),
        ("remove everything", of(&["FLUSHDB", "NO-SUCH-OPTION"])),
        ("read the configuration", of(&["CONFIG", "GET", "maxmemory-policy"])),
    ]
}

fn of(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    words.iter().for_each(|word| {
        command.arg(*word);
    });
    command
}

fn is_denied(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// What the user may not ask for has no answer.
fn refused<T>(error: RedisError) -> Result<Option<T>, RedisError> {
    if error.is_io_error() || error.is_timeout() { Err(error) } else { Ok(None) }
}

/// A name that nothing is ever kept under.
const NOTHING: &str = "sallyport:doctor:nothing";
const PUBLISH: &str = "publish";
const ROUND_TRIPS: usize = 10;
