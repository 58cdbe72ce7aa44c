//! `/token` with `grant_type=refresh_token`: a client goes on without its user (RFC 6749 section 6).

use super::AuthorizationServer;
use super::client::ClientRef;
use super::error::{Error, Ungranted};
use super::parameters::Parameters;
use super::token::required;
use crate::audit::Context;
use crate::session::{IssuedTokens, NotRefreshed};
use crate::store::StoreError;

impl AuthorizationServer {
    /// `resource` may be there and must then be the one it was granted for (A24); `scope` changes nothing, for there is one.
    /// Until everything is in order nothing is consumed.
    pub(super) async fn refresh(
        &self,
        client: ClientRef,
        form: &Parameters<'_>,
        context: &Context,
    ) -> Result<IssuedTokens, Error> {
        let token = required(form, "refresh_token", "refresh_token is missing.")?;
        let token = self
            .sessions
            .open_refresh_token(*client.as_bytes(), token)
            .map_err(|_| Error::InvalidGrant(Ungranted::Foreign))?;
        self.check_resource(form, token.resource())?;
        self.sessions.refresh(&token, context).await.map_err(|cause| match cause {
            NotRefreshed::Over(cause) => Error::InvalidGrant(Ungranted::Over(cause)),
            NotRefreshed::Later { retry_after } => Error::Later { retry_after },
            NotRefreshed::Store(cause @ StoreError::Unreadable { .. }) => {
                tracing::error!(%cause, "a stored session was altered");
                Error::InvalidGrant(Ungranted::Unreadable)
            }
            NotRefreshed::Store(cause) => Error::Unavailable(cause),
        })
    }
}
