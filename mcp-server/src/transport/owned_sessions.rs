//! Sessions of Streamable HTTP that belong to whoever began them: to anybody else they do not exist. An id alone must not
//! open another user's stream (session hijacking, MCP security best practices).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, LocalSessionManagerError};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId, SessionManager};
use tokio::time::Instant;

use crate::auth::Identity;

tokio::task_local! {
    /// The user of the request being handled. The server's own clean-up runs without one.
    static OWNER: Identity;
}

/// Handles a request as the given user.
pub(super) async fn as_owner<T>(owner: Identity, request: impl Future<Output = T>) -> T {
    OWNER.scope(owner, request).await
}

/// rmcp's sessions, each with its owner.
pub(super) struct OwnedSessions {
    sessions: LocalSessionManager,
    owners: Mutex<HashMap<SessionId, (Identity, Instant)>>,
}

type Outcome<T> = Result<T, LocalSessionManagerError>;

impl Default for OwnedSessions {
    fn default() -> Self {
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(IDLE);
        Self { sessions, owners: Mutex::default() }
    }
}

impl OwnedSessions {
    fn allowed(&self, id: &SessionId) -> bool {
        let owners = self.owners.lock().expect("no holder of this lock can panic");
        let owner = owners.get(id).map(|(owner, _)| owner);
        // Outside of a request it is rmcp itself that tidies up.
        OWNER.try_with(|caller| owner == Some(caller)).unwrap_or(true)
    }

    fn check(&self, id: &SessionId) -> Outcome<()> {
        if self.allowed(id) { Ok(()) } else { Err(LocalSessionManagerError::SessionNotFound(id.clone())) }
    }

    /// The session that gives way if one more would be too many: the user's oldest, or the oldest of all.
    fn surplus(&self, owner: &Identity) -> Option<SessionId> {
        let owners = self.owners.lock().expect("no holder of this lock can panic");
        let own = || owners.iter().filter(|(_, (of, _))| of == owner);
        let oldest = if own().count() >= SESSIONS_PER_USER {
            own().min_by_key(|(_, (_, since))| *since)
        } else if owners.len() >= SESSIONS {
            owners.iter().min_by_key(|(_, (_, since))| *since)
        } else {
            None
        };
        oldest.map(|(id, _)| id.clone())
    }
}

impl SessionManager for OwnedSessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Outcome<(SessionId, Self::Transport)> {
        let owner = OWNER.try_with(Identity::clone).ok();
        if let Some(surplus) = owner.as_ref().and_then(|owner| self.surplus(owner)) {
            self.owners.lock().expect("no holder of this lock can panic").remove(&surplus);
            self.sessions.close_session(&surplus).await?;
        }
        let (id, transport) = self.sessions.create_session().await?;
        if let Some(owner) = owner {
            let mut owners = self.owners.lock().expect("no holder of this lock can panic");
            owners.insert(id.clone(), (owner, Instant::now()));
        }
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Outcome<ServerJsonRpcMessage> {
        self.check(id)?;
        self.sessions.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Outcome<bool> {
        Ok(self.allowed(id) && self.sessions.has_session(id).await?)
    }

    /// Closing what is not there is no error, so another user's session is not there.
    async fn close_session(&self, id: &SessionId) -> Outcome<()> {
        if !self.allowed(id) {
            return Ok(());
        }
        self.owners.lock().expect("no holder of this lock can panic").remove(id);
        self.sessions.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Outcome<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.check(id)?;
        self.sessions.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Outcome<()> {
        self.check(id)?;
        self.sessions.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Outcome<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.check(id)?;
        self.sessions.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Outcome<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.check(id)?;
        self.sessions.resume(id, last_event_id).await
    }
}

/// A client that asks nothing for so long begins anew.
const IDLE: Duration = Duration::from_secs(3600);
const SESSIONS_PER_USER: usize = 32;
const SESSIONS: usize = 4096;
