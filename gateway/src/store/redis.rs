//! Records in Redis: shared by every replica, and alive across restarts of all of them.
//!
//! One multiplexed connection and never a pool of plain ones: a reply that nobody waits for any more is thrown away
//! instead of being read as the answer to the next question, which would give one user what belongs to another (T31).
//!
//! Each record is one string, and its first byte says what may be done with it:
//!
//! | frame | what it is |
//! | --- | --- |
//! | `P` value | plain: `get` and `take` read it |
//! | `L` guard (32) epitaph (32) value | guarded and live: only `redeem` reads it |
//! | `S` epitaph (32) | guarded and spent |
//! | `C` number `:` Unix seconds | a counter, and when it moved: only `advance` reads it |

mod announcements;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use ::redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};
use async_trait::async_trait;

use super::{Advance, Epitaph, Guard, Guarded, Listener, Redemption, Step, Store, StoreError};
use crate::clock::Timestamp;

pub use settings::{RedisSettings, RedisUrl, RedisUrlError, SettingsError};

pub struct RedisStore {
    client: Client,
    /// Made by the first request: the connection's driver lives in the runtime that serves, not in the one that built us.
    connection: Mutex<Option<Connection>>,
    take: Script,
    redeem: Script,
    remove_if: Script,
    advance: Script,
}

/// Reconnects by itself when it is cut. Shared, so that one can tell it from its successor.
type Connection = Arc<ConnectionManager>;

impl RedisStore {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When Redis' client does not accept the settings, which [`RedisUrl`] should have seen to.
    pub fn new(settings: RedisSettings) -> Result<Self, SettingsError> {
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE))
            // A peer that vanished acknowledges nothing: without this the kernel would try for a quarter of an hour, and
            // every request until then would time out on a dead connection.
            .set_user_timeout(CONNECT_TIMEOUT);
        let client = Client::open(settings.connection_info().set_tcp_settings(tcp)).map_err(|_| SettingsError)?;
        Ok(Self {
            client,
            connection: Mutex::default(),
            take: Script::new(TAKE),
            redeem: Script::new(REDEEM),
            remove_if: Script::new(REMOVE_IF),
            advance: Script::new(ADVANCE),
        })
    }

    async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.ask(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.ask(|mut connection| async move { script.invoke_async(&mut connection).await }).await
    }

    /// Asks, and asks once more over a new connection when the old one was never made: it remembers why, also when that
    /// is long over. No other failure is repeated, for the first try may have done its work.
    async fn ask<T, Answer>(&self, question: impl Fn(ConnectionManager) -> Answer) -> Result<T, StoreError>
    where
        Answer: Future<Output = Result<T, RedisError>>,
    {
        let connection = self.connection().map_err(unavailable)?;
        match question(connection.as_ref().clone()).await {
            Err(error) if was_never_made(&connection, &error).await => {
                self.forget(&connection);
                let connection = self.connection().map_err(unavailable)?;
                question(connection.as_ref().clone()).await
            }
            answer => answer,
        }
        .map_err(unavailable)
    }

    fn connection(&self) -> Result<Connection, RedisError> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            // Each request that finds no connection tries again: waiting between tries would only delay recovery.
            .set_number_of_retries(0);
        let connection = Arc::new(ConnectionManager::new_lazy_with_config(self.client.clone(), config)?);
        Ok(slot.insert(connection).clone())
    }

    /// Unless another request was quicker and has a new one already.
    fn forget(&self, connection: &Connection) {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take_if(|current| Arc::ptr_eq(current, connection));
    }

    async fn write(&self, name: &str, frame: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        match lifetime.as_secs() {
            0 => self.remove(name).await,
            seconds => self.command(::redis::cmd("SET").arg(name).arg(frame).arg("EX").arg(seconds)).await,
        }
    }

    /// On the condition `XX`, that there is something, or `NX`, that there is nothing.
    async fn write_if(
        &self,
        condition: &str,
        name: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let frame = [&[PLAIN], value].concat();
        match lifetime.as_secs() {
            0 => self.remove(name).await.map(|()| false),
            seconds => {
                let mut command = ::redis::cmd("SET");
                command.arg(name).arg(frame).arg("EX").arg(seconds).arg(condition);
                // OK, or nil when the condition is not met.
                let written: Option<String> = self.command(&command).await?;
                Ok(written.is_some())
            }
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.write(name, &[&[PLAIN], value].concat(), lifetime).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let frame: Option<Vec<u8>> = self.command(::redis::cmd("GET").arg(name)).await?;
        Ok(frame.and_then(plain))
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let frame: Option<Vec<u8>> = self.script(&self.take.key(name)).await?;
        Ok(frame.and_then(plain))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.command(::redis::cmd("DEL").arg(name)).await
    }

    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        self.write_if("XX", name, value, lifetime).await
    }

    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        match lifetime.as_secs() {
            0 => Ok(false),
            _ => self.write_if("NX", name, value, lifetime).await,
        }
    }

    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let mut invocation = self.remove_if.key(name);
        invocation.arg([&[PLAIN], value].concat());
        self.script(&invocation).await
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        let Guarded { guard, epitaph, value } = value;
        self.write(name, &[&[LIVE], &guard[..], epitaph, value].concat(), lifetime).await
    }

    async fn redeem(&self, name: &str, guard: &Guard, epitaph_lifetime: Duration) -> Result<Redemption, StoreError> {
        let mut invocation = self.redeem.key(name);
        invocation.arg(&guard[..]).arg(epitaph_lifetime.as_secs().max(1));
        let frame: Option<Vec<u8>> = self.script(&invocation).await?;
        match frame.as_deref() {
            None => Ok(Redemption::Missing),
            Some([MISMATCH]) => Ok(Redemption::Mismatch),
            Some([SPENT, epitaph @ ..]) => Ok(Redemption::Spent(digest(epitaph)?)),
            Some([LIVE, bound @ ..]) if bound.len() >= BOUND => Ok(Redemption::Value(bound[BOUND..].to_vec())),
            Some(_) => Err(not_ours()),
        }
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.write(name, format!("C0:{}", now.unix()).as_bytes(), lifetime).await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        let mut invocation = self.advance.key(name);
        invocation.arg(step.presented).arg(step.now.unix()).arg(step.grace.as_secs());
        invocation.arg(step.lifetime.as_secs().max(1));
        let answer: (String, u32) = self.script(&invocation).await?;
        match (answer.0.as_str(), answer.1) {
            ("rotated", next) => Ok(Advance::Rotated(next)),
            ("repeated", current) => Ok(Advance::Repeated(current)),
            ("reused", _) => Ok(Advance::Reused),
            ("missing", _) => Ok(Advance::Missing),
            _ => Err(not_ours()),
        }
    }

    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.command(::redis::cmd("PUBLISH").arg(topic).arg(message)).await
    }

    fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        Box::new(announcements::Subscriber::new(self.client.clone(), topic))
    }
}

/// Whether a request failed with what connecting had failed with: refused by the machine, or by Redis itself (a password
/// that was wrong then, no room for another client). If Redis refused the one request only, it still answers a ping.
async fn was_never_made(connection: &Connection, error: &RedisError) -> bool {
    if error.is_io_error() {
        return error.is_connection_refusal();
    }
    let ping: Result<(), RedisError> = ::redis::cmd("PING").query_async(&mut connection.as_ref().clone()).await;
    ping.is_err_and(|error| !error.is_io_error())
}

fn plain(frame: Vec<u8>) -> Option<Vec<u8>> {
    frame.strip_prefix(&[PLAIN]).map(<[u8]>::to_vec)
}

fn not_ours() -> StoreError {
    StoreError::Unavailable("Redis holds a record that is not framed as ours".into())
}

fn digest(bytes: &[u8]) -> Result<Epitaph, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Unavailable("Redis holds an epitaph of another length".into()))
}

/// Says what kind of failure it was. Redis' own sentences stay out of it: they may quote names, values or credentials.
fn unavailable(error: RedisError) -> StoreError {
    let cause = match error.kind() {
        ErrorKind::Io if error.is_connection_refusal() => "Redis refuses the connection",
        ErrorKind::Io if error.is_timeout() => "Redis did not answer in time",
        ErrorKind::Io if error.is_connection_dropped() => "Redis closed the connection",
        ErrorKind::Io => "Redis cannot be reached",
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "what answers does not speak as Redis does",
        ErrorKind::RESP3NotSupported => "Redis is older than version 6",
        _ => match error.code() {
            Some("WRONGPASS" | "NOAUTH") => "Redis refuses the user name or the password",
            code => return StoreError::Unavailable(format!("Redis answers {}", code.unwrap_or("an error"))),
        },
    };
    StoreError::Unavailable(cause.into())
}

/// For the connection, TLS and sign-in together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(250);
/// Shorter than what firewalls and Azure's load balancer forget an idle connection after.
const KEEPALIVE: Duration = Duration::from_secs(30);

const PLAIN: u8 = b'P';
const LIVE: u8 = b'L';
const SPENT: u8 = b'S';
/// Never stored: how the script answers a wrong guess.
const MISMATCH: u8 = b'M';
/// Guard and epitaph, in front of a live value.
const BOUND: usize = 64;

/// `GETDEL` would consume a guarded value too.
const TAKE: &str = "
local frame = redis.call('GET', KEYS[1])
if not frame or frame:sub(1, 1) ~= 'P' then return false end
redis.call('DEL', KEYS[1])
return frame";

/// Compares and takes in one step; a wrong guess changes nothing (T11). Equal strings are one object in Redis' Lua, so the
/// comparison takes the same time wherever they differ.
const REDEEM: &str = "
local frame = redis.call('GET', KEYS[1])
if not frame then return false end
local kind = frame:sub(1, 1)
if kind == 'S' then return frame end
if kind ~= 'L' then return false end
if frame:sub(2, 33) ~= ARGV[1] then return 'M' end
redis.call('SET', KEYS[1], 'S' .. frame:sub(34, 65), 'EX', ARGV[2])
return frame";

/// A lock is opened by its owner alone.
const REMOVE_IF: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1";

/// The rules of `Advance::of`, in one step: of many who present the same generation, one moves the counter.
const ADVANCE: &str = "
local frame = redis.call('GET', KEYS[1])
if not frame then return {'missing', 0} end
local current, moved = frame:match('^C(%d+):(%d+)$')
if not current then return {'missing', 0} end
current, moved = tonumber(current), tonumber(moved)
local presented, now, grace = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if presented == current and current < 4294967295 then
    redis.call('SET', KEYS[1], string.format('C%.0f:%.0f', current + 1, now), 'EX', ARGV[4])
    return {'rotated', current + 1}
end
if presented + 1 == current and now - moved <= grace then return {'repeated', current} end
if presented < current then return {'reused', 0} end
return {'missing', 0}";
