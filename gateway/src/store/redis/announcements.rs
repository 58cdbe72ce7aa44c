//! Announcements through Redis: publish and subscribe, on a connection of its own.
//!
//! A subscription that is cut loses what is said until the next one. So its end is noticed (a ping tells a dead connection
//! from a quiet one) and told, and the next one is made without end.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{PushInfo, PushKind, RedisError, Value};
use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use super::link::Link;
use super::unavailable;
use crate::store::{Announcement, Listener};

/// Subscribed, or on its way to be.
pub(super) struct Subscriber {
    link: Arc<Link>,
    topic: &'static str,
    subscription: Option<Subscription>,
    /// How often subscribing failed since it last succeeded.
    failures: usize,
}

struct Subscription {
    connection: MultiplexedConnection,
    heard: UnboundedReceiver<PushInfo>,
}

impl Subscriber {
    pub fn new(link: Arc<Link>, topic: &'static str) -> Self {
        Self { link, topic, subscription: None, failures: 0 }
    }

    async fn subscribe(&mut self) -> Subscription {
        loop {
            let cause = match self.link.within(Subscription::begin(&self.link, self.topic, self.failures)).await {
                Ok(subscription) => {
                    if self.failures > 0 {
                        tracing::info!(topic = self.topic, "listening to announcements again");
                    }
                    self.failures = 0;
                    return subscription;
                }
                Err(error) => unavailable(&error, &self.link).to_string(),
            };
            if self.failures == 0 {
                tracing::warn!(topic = self.topic, cause, "cannot listen to announcements; trying on");
            }
            self.failures = self.failures.saturating_add(1);
            sleep(RETRY).await;
        }
    }
}

#[async_trait]
impl Listener for Subscriber {
    async fn next(&mut self) -> Announcement {
        let Some(subscription) = &mut self.subscription else {
            self.subscription = Some(self.subscribe().await);
            return Announcement::Listening;
        };
        match subscription.next().await {
            Some(message) => Announcement::Said(message),
            None => {
                self.subscription = None;
                Announcement::Lost
            }
        }
    }
}

impl Subscription {
    async fn begin(link: &Link, topic: &str, attempt: usize) -> Result<Self, RedisError> {
        let (sender, heard) = unbounded_channel();
        let mut connection = link.listening(attempt, PING_LIMIT, sender).await?;
        connection.subscribe(topic).await?;
        Ok(Self { connection, heard })
    }

    /// `None` when it is over.
    async fn next(&mut self) -> Option<Vec<u8>> {
        tokio::select! {
            message = message(&mut self.heard) => message,
            () = dead(&mut self.connection) => None,
        }
    }
}

/// The next one; `None` when the connection is over.
async fn message(heard: &mut UnboundedReceiver<PushInfo>) -> Option<Vec<u8>> {
    loop {
        let PushInfo { kind, mut data } = heard.recv().await?;
        match (kind, data.pop()) {
            // The topic is before it.
            (PushKind::Message, Some(Value::BulkString(message))) => return Some(message),
            (PushKind::Disconnection, _) => return None,
            _ => {}
        }
    }
}

/// Returns when Redis does not answer any more.
async fn dead(connection: &mut MultiplexedConnection) {
    loop {
        sleep(PING_EVERY).await;
        if ::redis::cmd("PING").query_async::<Value>(connection).await.is_err() {
            return;
        }
    }
}

const RETRY: Duration = Duration::from_millis(500);
const PING_EVERY: Duration = Duration::from_secs(1);
/// Longer than a Redis that is merely slow takes: a subscription that stays loses nothing.
const PING_LIMIT: Duration = Duration::from_secs(3);
