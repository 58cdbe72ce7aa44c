//! Signing in to Redis by a token of Entra's in the place of a password, so that there is no password (Azure Managed Redis).
//!
//! Here is the token there is now, and how connections get it: new ones to sign in with, and those that live to sign in
//! again, between two commands, before the old one ends. `renewal` sees to it that there is one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::auth::{BasicAuth, StreamingCredentialsProvider};
use ::redis::{ErrorKind, RedisError, RedisResult};
use entra::Secret;
use futures_util::stream::{self, Stream};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

/// What Entra is asked for. The same for every Redis of Azure's public cloud.
pub const AZURE_REDIS: &str = "https://redis.azure.com";

/// Who signs in to Redis by Entra's token. Clones are the same: one renews, the others sign in.
#[derive(Clone)]
pub struct EntraUser(Arc<Shared>);

struct Shared {
    object_id: String,
    token: watch::Sender<Token>,
}

#[derive(Clone)]
pub(super) enum Token {
    /// Asked for, for the first time.
    Awaited,
    Good(Secret),
    /// Entra gave none, and there is no older one that is still good.
    Absent,
}

impl EntraUser {
    /// Has no token before [`EntraUser::stay_signed_in`] runs. `object_id` is of the principal whose tokens they are.
    pub fn new(object_id: String) -> Self {
        Self(Arc::new(Shared { object_id, token: watch::Sender::new(Token::Awaited) }))
    }

    pub fn object_id(&self) -> &str {
        &self.0.object_id
    }

    pub(super) fn becomes(&self, token: Token) {
        self.0.token.send_replace(token);
    }

    #[cfg(test)]
    pub(super) fn is_good(&self) -> bool {
        matches!(*self.0.token.borrow(), Token::Good(_))
    }

    /// Waits while the first token is on its way, within `limit`.
    ///
    /// # Errors
    /// `AuthenticationFailed`, which says nothing else: there is no token.
    pub(super) async fn ready(&self, limit: Duration) -> Result<(), RedisError> {
        let mut tokens = self.0.token.subscribe();
        let ready = match timeout(limit, tokens.wait_for(|token| !matches!(token, Token::Awaited))).await {
            Ok(Ok(token)) => matches!(*token, Token::Good(_)),
            Ok(Err(_)) | Err(_) => false,
        };
        if ready { Ok(()) } else { Err((ErrorKind::AuthenticationFailed, "there is no token of Entra's").into()) }
    }

    /// For one connection, of which `lost` says that a new one must take its place. It is set when this one can no longer be
    /// signed in again: better than that Redis hangs up when the token ends, with commands under way.
    pub(super) fn for_connection(&self, lost: Arc<AtomicBool>) -> Provider {
        Provider {
            user: self.clone(),
            one: Some(One { tokens: self.tokens(), lost, connected: AtomicBool::new(false) }),
        }
    }

    /// For all connections to a cluster, whose client makes anew by itself what Redis hangs up on.
    pub(super) fn for_cluster(&self) -> Provider {
        Provider { user: self.clone(), one: None }
    }

    /// The one there is now, and those that follow.
    fn tokens(&self) -> Tokens {
        let mut tokens = self.0.token.subscribe();
        tokens.mark_changed();
        Arc::new(Mutex::new(tokens))
    }
}

impl fmt::Debug for EntraUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("EntraUser").field(&self.object_id()).finish()
    }
}

/// Hands the token to Redis' client, which subscribes twice for each connection: to make it, and then for its life.
pub(super) struct Provider {
    user: EntraUser,
    one: Option<One>,
}

struct One {
    /// Both subscriptions', so that what the connection was made with is not signed in with again.
    tokens: Tokens,
    lost: Arc<AtomicBool>,
    connected: AtomicBool,
}

type Tokens = Arc<Mutex<watch::Receiver<Token>>>;

impl StreamingCredentialsProvider for Provider {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let (tokens, end) = match &self.one {
            Some(one) => {
                let for_life = one.connected.swap(true, Ordering::Relaxed);
                (one.tokens.clone(), End(for_life.then(|| one.lost.clone())))
            }
            None => (self.user.tokens(), End(None)),
        };
        let object_id = self.user.object_id().to_owned();
        Box::pin(stream::unfold((tokens, object_id, end), async |(tokens, object_id, end)| {
            let auth = loop {
                let mut tokens = tokens.lock().await;
                // An error says that the store is gone, and with it the connection.
                tokens.changed().await.ok()?;
                if let Token::Good(token) = &*tokens.borrow_and_update() {
                    break BasicAuth::new(object_id.clone(), token.expose().to_owned());
                }
                // A connection that is signed in stays so for as long as Redis lets it.
            };
            Some((Ok(auth), (tokens, object_id, end)))
        }))
    }
}

/// Redis' client drops the stream when signing in again failed, and then never tries again.
struct End(Option<Arc<AtomicBool>>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(lost) = &self.0 {
            lost.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn good(token: &str) -> Token {
        Token::Good(Secret::new(token.to_owned()))
    }

    #[tokio::test]
    async fn each_token_is_handed_on_once_and_shown_nowhere() {
        let user = EntraUser::new("somebody".to_owned());
        user.becomes(good("canary-1"));
        let (one, many) = (user.for_connection(Arc::default()), user.for_cluster());
        let mut second = one.subscribe();
        for stream in [&mut one.subscribe(), &mut many.subscribe(), &mut many.subscribe()] {
            let auth = stream.next().await.unwrap().unwrap();
            assert_eq!((auth.username(), auth.password()), ("somebody", "canary-1"));
        }
        assert!(futures_util::poll!(second.next()).is_pending(), "the connection was made with it");
        user.becomes(Token::Absent);
        assert!(futures_util::poll!(second.next()).is_pending(), "the end of a token ends no connection");
        user.becomes(good("canary-2"));
        assert_eq!(second.next().await.unwrap().unwrap().password(), "canary-2");
        assert!(!format!("{user:?}").contains("canary"));
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_signed_in_again_is_given_up() {
        let user = EntraUser::new("somebody".to_owned());
        let lost = Arc::new(AtomicBool::new(false));
        let provider = user.for_connection(lost.clone());
        drop(provider.subscribe());
        assert!(!lost.load(Ordering::Relaxed), "that was the one to connect with");
        drop(provider.subscribe());
        assert!(lost.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn without_a_token_nobody_is_ready() {
        let user = EntraUser::new("somebody".to_owned());
        let soon = Duration::from_millis(10);
        assert_eq!(user.ready(soon).await.unwrap_err().kind(), ErrorKind::AuthenticationFailed);
        let mut ready = Box::pin(user.ready(Duration::from_secs(60)));
        assert!(futures_util::poll!(ready.as_mut()).is_pending());
        user.becomes(good("token"));
        ready.await.unwrap();
        user.becomes(Token::Absent);
        assert_eq!(user.ready(Duration::from_secs(60)).await.unwrap_err().kind(), ErrorKind::AuthenticationFailed);
    }
}
