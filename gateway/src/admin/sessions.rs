//! `/sessions` of the admin listener: who is signed in, and the end of it.

use std::sync::Arc;

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;

use super::request::{Refusal, check_get, context, error, json_answer, read_post, refused};
use crate::audit::Context;
use crate::session::{BadSelector, NotRevoked, Roster, Selector, Sessions};

pub const LIST: &str = "/sessions";
pub const REVOKE: &str = "/sessions/revoke";

/// What operators may do with sessions here.
pub struct SessionsAdmin {
    pub sessions: Arc<Sessions>,
    /// Whose users are meant when no tenant is named.
    pub tenants: Vec<String>,
}

/// Whom to revoke: exactly one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    user: Option<String>,
    client: Option<String>,
    session: Option<String>,
    all: Option<bool>,
}

impl SessionsAdmin {
    /// Answers a request for [`LIST`] or [`REVOKE`].
    pub async fn answer(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match self.handle(session).await {
            Ok(answer) => answer,
            Err(refusal) => refused(session, &refusal),
        }
    }

    async fn handle(&self, session: &mut ServerSession) -> Result<Response<Vec<u8>>, Refusal> {
        if session.req_header().uri.path() == LIST {
            check_get(session)?;
            let selector = self.selector_of_query(session.req_header().uri.query().unwrap_or_default())?;
            return Ok(self.list(&selector).await);
        }
        let wanted = serde_json::from_slice(&read_post(session).await?).map_err(|_| selection())?;
        Ok(self.revoke(&self.selector(wanted)?, &context(session)).await)
    }

    async fn list(&self, selector: &Selector) -> Response<Vec<u8>> {
        match self.sessions.roster().list(selector, Roster::AT_MOST).await {
            Ok(list) => json_answer(StatusCode::OK, &list.to_json()),
            Err(cause) => {
                tracing::error!(%cause, "sessions cannot be listed");
                json_answer(StatusCode::SERVICE_UNAVAILABLE, &error("the store does not answer"))
            }
        }
    }

    async fn revoke(&self, selector: &Selector, context: &Context) -> Response<Vec<u8>> {
        let revoked = self.sessions.revoke_selected(selector, "admin", context).await;
        let mut body = revoked.to_json();
        let status = match &revoked.failure {
            None => StatusCode::OK,
            Some(failure @ NotRevoked::Ambiguous(_)) => {
                body["error"] = failure.to_string().into();
                StatusCode::CONFLICT
            }
            Some(NotRevoked::Store(cause)) => {
                tracing::error!(%cause, ended = revoked.ended, "not all sessions were ended");
                body["error"] = "the store does not answer; ask again to end the rest".into();
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        json_answer(status, &body)
    }

    /// None at all means all.
    fn selector_of_query(&self, query: &str) -> Result<Selector, Refusal> {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let selector = match pairs.next() {
            None => Selector::All,
            Some((name, value)) => self.selector_of(&name, &value)?,
        };
        if pairs.next().is_none() { Ok(selector) } else { Err(selection()) }
    }

    fn selector(&self, wanted: Wanted) -> Result<Selector, Refusal> {
        match wanted {
            Wanted { user: Some(user), client: None, session: None, all: None } => self.selector_of("user", &user),
            Wanted { client: Some(client), user: None, session: None, all: None } => {
                self.selector_of("client", &client)
            }
            Wanted { session: Some(session), user: None, client: None, all: None } => {
                self.selector_of("session", &session)
            }
            Wanted { all: Some(true), user: None, client: None, session: None } => Ok(Selector::All),
            _ => Err(selection()),
        }
    }

    fn selector_of(&self, name: &str, value: &str) -> Result<Selector, Refusal> {
        Ok(match name {
            "user" => Selector::user(value, &self.tenants)?,
            "client" => Selector::client(value)?,
            "session" => Selector::session(value)?,
            _ => return Err(selection()),
        })
    }
}

fn selection() -> Refusal {
    Refusal::Wrong("name one of user, client, session or all, once".to_owned())
}

impl From<BadSelector> for Refusal {
    fn from(error: BadSelector) -> Self {
        Self::Wrong(error.to_string())
    }
}
