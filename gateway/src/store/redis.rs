//! Records in Redis: shared by every replica, and alive across restarts of all of them.
//!
//! Each record but the sets is one string, and its first byte says what may be done with it:
//!
//! | frame | what it is |
//! | --- | --- |
//! | `P` value | plain: `get` and `take` read it |
//! | `L` guard (32) epitaph (32) value | guarded and live: only `redeem` reads it |
//! | `T` claimant (16) Unix seconds (12 digits) guard (32) epitaph (32) value | guarded and claimed, but not settled |
//! | `S` epitaph (32) claimant (16, or none) | guarded and spent |
//! | `C` number `:` Unix seconds | a counter, and when it moved: only `advance` reads it |
//!
//! Sets are sorted sets, each member with the second of its end as its score.

mod announcements;
mod breaker;
mod inspection;
mod link;
mod patient;
mod question;
mod renewal;
mod scripts;
mod settings;
mod socket;
mod token;
mod url;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use async_trait::async_trait;

use super::{Advance, Claim, Epitaph, Guarded, Listener, Page, Redemption, Step, Store, StoreError};
use crate::clock::Timestamp;
use announcements::Subscriber;
use breaker::Breaker;
use link::Link;
use question::{Program, Question};

pub use inspection::{Facts, Inspection, inspect};
pub use settings::{BreakerSettings, RedisSettings, SettingsError};
pub use token::{AZURE_REDIS, EntraUser};
pub use url::{RedisUrl, RedisUrlError};

pub struct RedisStore {
    link: Arc<Link>,
    /// One, or in a cluster one for each range of slots: a node that is away must not take the others with it.
    breakers: Vec<Breaker>,
    take: Program,
    redeem: Program,
    settle: Program,
    remove_if: Program,
    advance: Program,
    enlist: Program,
}

impl RedisStore {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When Redis' client does not accept the settings, which [`RedisUrl`] should have seen to.
    pub fn new(settings: RedisSettings) -> Result<Self, SettingsError> {
        let breaker = settings.breaker;
        let link = Arc::new(Link::new(settings)?);
        let ranges = if link.is_cluster() { RANGES } else { 1 };
        Ok(Self {
            link,
            breakers: (0..ranges).map(|_| Breaker::new(breaker)).collect(),
            take: Program::new(scripts::TAKE),
            redeem: Program::new(scripts::REDEEM),
            settle: Program::new(scripts::SETTLE),
            remove_if: Program::new(scripts::REMOVE_IF),
            advance: Program::new(scripts::ADVANCE),
            enlist: Program::new(scripts::ENLIST),
        })
    }

    /// How many breakers keep requests from Redis now.
    pub fn open_breakers(&self) -> usize {
        self.breakers.iter().filter(|breaker| breaker.is_open()).count()
    }

    /// Asks, and asks once more when that is known to do no harm.
    async fn ask<T: FromRedisValue>(&self, question: Question<'_>) -> Result<T, StoreError> {
        self.try_to_ask(question).await?.map_err(|error| unavailable(&error, &self.link))
    }

    /// For a record that is read or taken: what is not even of our type is as little ours as what is not framed as ours.
    /// Were it an outage, one such listing would keep the kill switch from all that come after it.
    async fn ask_for_plain(&self, question: Question<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        match self.try_to_ask::<Option<Vec<u8>>>(question).await? {
            Ok(frame) => Ok(frame.and_then(plain)),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
            Err(error) => Err(unavailable(&error, &self.link)),
        }
    }

    /// `Ok` with what came of it when Redis was asked.
    async fn try_to_ask<T: FromRedisValue>(&self, question: Question<'_>) -> Result<Result<T, RedisError>, StoreError> {
        let breaker = self.breaker(question.name);
        if !breaker.admits(Instant::now()) {
            return Err(StoreError::Unavailable("Redis did not answer lately, and was not asked".into()));
        }
        let answer = match self.ask_once(&question, breaker).await {
            Err(Failure::Answer(error)) if may_be_repeated(&error, &question) => {
                self.ask_once(&question, breaker).await
            }
            answer => answer,
        };
        Ok(answer.map_err(|(Failure::Connection(error) | Failure::Answer(error))| error))
    }

    async fn ask_once<T: FromRedisValue>(&self, question: &Question<'_>, breaker: &Breaker) -> Result<T, Failure> {
        let attempt = self.link.current();
        let answer = match self.link.connection(&attempt).await {
            Ok(mut connection) => question.ask(&mut connection).await.map_err(Failure::Answer),
            Err(error) => Err(Failure::Connection(error)),
        };
        if let Err(Failure::Answer(error)) = &answer {
            self.link.failed(&attempt, error);
        }
        match &answer {
            Err(Failure::Connection(error) | Failure::Answer(error)) if error.is_timeout() => {
                if breaker.timed_out(Instant::now()) {
                    tracing::warn!("Redis does not answer; it is asked once in a while until it does");
                    // Whatever the connection hangs in, the next one may not.
                    self.link.give_up(&attempt);
                }
            }
            _ => breaker.was_prompt(),
        }
        answer
    }

    fn breaker(&self, name: &str) -> &Breaker {
        // As a cluster counts slots, where no name has a part in braces; its nodes have ranges of them.
        let slot = crc16::State::<crc16::XMODEM>::calculate(name.as_bytes()) % SLOTS;
        &self.breakers[usize::from(slot) * self.breakers.len() / usize::from(SLOTS)]
    }

    async fn write(&self, name: &str, frame: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        match lifetime.as_secs() {
            0 => self.remove(name).await,
            seconds => self.ask(Question::writing("SET", name).arg(frame).arg("EX").arg(seconds)).await,
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
                let question = Question::writing("SET", name).arg(frame).arg("EX").arg(seconds).arg(condition);
                // OK, or nil when the condition is not met.
                let written: Option<String> = self.ask(question).await?;
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
        self.ask_for_plain(Question::reading("GET", name)).await
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask_for_plain(Question::running(&self.take, name)).await
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.ask(Question::writing("DEL", name)).await
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
        self.ask(Question::running(&self.remove_if, name).arg([&[PLAIN], value].concat())).await
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        let Guarded { guard, epitaph, value } = value;
        self.write(name, &[&[LIVE], &guard[..], epitaph, value].concat(), lifetime).await
    }

    async fn redeem(&self, name: &str, claim: &Claim) -> Result<Redemption, StoreError> {
        let question = Question::running(&self.redeem, name).arg(&claim.guard[..]).arg(&claim.claimant[..]);
        let question = question.arg(claim.now.unix()).arg(claim.grace.as_secs()).arg(u8::from(claim.insists));
        let question = question.arg(claim.epitaph_lifetime.as_secs().max(1));
        let frame: Option<Vec<u8>> = self.ask(question).await?;
        match frame.as_deref() {
            None => Ok(Redemption::Missing),
            Some([MISMATCH]) => Ok(Redemption::Mismatch),
            Some([CLAIMED]) => Ok(Redemption::Claimed),
            Some([SPENT, epitaph @ ..]) => Ok(Redemption::Spent(digest(epitaph)?)),
            Some([LIVE, bound @ ..]) if bound.len() >= BOUND => Ok(Redemption::Value(bound[BOUND..].to_vec())),
            Some(_) => Err(not_ours()),
        }
    }

    async fn settle(&self, name: &str, claim: &Claim) -> Result<bool, StoreError> {
        let question = Question::running(&self.settle, name).arg(&claim.claimant[..]);
        self.ask(question.arg(claim.epitaph_lifetime.as_secs().max(1))).await
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.write(name, format!("C0:{}", now.unix()).as_bytes(), lifetime).await
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        let question = Question::running(&self.advance, name).arg(step.presented).arg(step.now.unix());
        let question = question.arg(step.grace.as_secs()).arg(step.lifetime.as_secs().max(1));
        let answer: (String, u32) = self.ask(question).await?;
        match (answer.0.as_str(), answer.1) {
            ("rotated", next) => Ok(Advance::Rotated(next)),
            ("repeated", current) => Ok(Advance::Repeated(current)),
            ("reused", _) => Ok(Advance::Reused),
            ("missing", _) => Ok(Advance::Missing),
            _ => Err(not_ours()),
        }
    }

    async fn holds(&self, name: &str) -> Result<bool, StoreError> {
        self.ask(Question::reading("EXISTS", name)).await
    }

    async fn enlist(&self, set: &str, member: &[u8], ends: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        self.ask(Question::running(&self.enlist, set).arg(member).arg(ends.unix()).arg(now.unix())).await
    }

    async fn enlisted(&self, set: &str, page: Page) -> Result<Vec<Vec<u8>>, StoreError> {
        let from = format!("({}", page.now.unix());
        let question = Question::reading("ZRANGEBYSCORE", set).arg(from).arg("+inf");
        self.ask(question.arg("LIMIT").arg(page.skip).arg(page.size)).await
    }

    async fn strike(&self, set: &str, member: &[u8]) -> Result<(), StoreError> {
        self.ask(Question::writing("ZREM", set).arg(member)).await
    }

    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.ask(Question::writing("PUBLISH", topic).arg(message)).await
    }

    fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        Box::new(Subscriber::new(self.link.clone(), topic))
    }
}

/// Where asking came to an end.
enum Failure {
    /// There is no connection: nothing was asked.
    Connection(RedisError),
    /// There is one, and this is what came back, or that nothing did.
    Answer(RedisError),
}

/// What is known to change nothing may be asked again: a refusal by the wrong server, or a read that a lost connection took
/// with it. A write that may have been done is never repeated, or a code that was redeemed would count as stolen. What came
/// too late was waited for long enough.
fn may_be_repeated(error: &RedisError, question: &Question<'_>) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => {
            matches!(kind, ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::Moved)
        }
        ErrorKind::Io => question.reads && error.is_connection_dropped(),
        _ => false,
    }
}

fn plain(mut frame: Vec<u8>) -> Option<Vec<u8>> {
    (frame.first() == Some(&PLAIN)).then(|| {
        frame.remove(0);
        frame
    })
}

fn not_ours() -> StoreError {
    StoreError::Unavailable("Redis holds a record that is not framed as ours".into())
}

/// What is behind it is for [`Store::settle`].
fn digest(bytes: &[u8]) -> Result<Epitaph, StoreError> {
    bytes.first_chunk().copied().ok_or_else(not_ours)
}

/// Says what kind of failure it was. Redis' own sentences stay out of it: they may quote names, values or credentials.
fn unavailable(error: &RedisError, link: &Link) -> StoreError {
    let cause = match error.kind() {
        ErrorKind::Io if error.is_connection_refusal() => "Redis refuses the connection",
        ErrorKind::Io if error.is_timeout() => "Redis did not answer in time",
        ErrorKind::Io if error.is_connection_dropped() => "Redis closed the connection",
        ErrorKind::Io => match tls_cause(error) {
            Some(cause) => return StoreError::Unavailable(format!("TLS with Redis fails: {cause}")),
            None => "Redis cannot be reached",
        },
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "what answers does not speak as Redis does",
        ErrorKind::RESP3NotSupported => "Redis is older than version 6",
        ErrorKind::MasterNameNotFoundBySentinel => "the sentinels know no primary of this service that is up",
        ErrorKind::ClusterConnectionNotFound => "the cluster's node cannot be reached",
        ErrorKind::AuthenticationFailed => "there is no token of Entra's to sign in to Redis with",
        _ => match error.code() {
            Some("WRONGPASS" | "NOAUTH") if link.signs_in_by_token() => {
                "Redis refuses Entra's token: give the principal of store.entra_user access to Redis, and check that it is \
                 the object id of the identity whose token this is"
            }
            Some("WRONGPASS" | "NOAUTH") => "Redis refuses the user name or the password",
            code => return StoreError::Unavailable(format!("Redis answers {}", code.unwrap_or("an error"))),
        },
    };
    StoreError::Unavailable(cause.into())
}

/// Such as a certificate that is not trusted.
fn tls_cause(error: &RedisError) -> Option<&rustls::Error> {
    let shared = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    shared.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

/// Of a cluster.
const SLOTS: u16 = 16384;
/// Fine enough to tell the nodes of a large cluster apart.
const RANGES: usize = 64;

const PLAIN: u8 = b'P';
const LIVE: u8 = b'L';
const SPENT: u8 = b'S';
/// Never stored: how the script answers a wrong guess.
const MISMATCH: u8 = b'M';
/// Never stored alone: how the script answers a second claimant.
const CLAIMED: u8 = b'T';
/// Guard and epitaph, in front of a live value.
const BOUND: usize = 64;
