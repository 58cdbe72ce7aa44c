//! The end of a session before its time.

use super::hearing::{REVOKED, Word};
use super::token::AccessToken;
use super::{Ending, RefreshToken, Revoked, Roster, Selector, Sessions, reference};
use crate::audit::Context;
use crate::sealed::{Id, Index};
use crate::store::StoreError;

impl Sessions {
    /// Ends a session: the very next request with a token of it is refused here and its open streams end, and within a second
    /// the same happens on every replica that hears of it; one that does not, and does not notice, asks the store after half
    /// a minute.
    ///
    /// # Errors
    /// When it is not certain that the others learn of it. Here it has ended all the same.
    pub async fn end(&self, session: Index, why: Ending, context: &Context) -> Result<(), StoreError> {
        self.ended_here(session);
        let ended = self.roster.end(session).await;
        self.note_end(session, why, context, ended.as_ref().ok().and_then(Option::as_ref), ended.is_ok());
        ended.map(drop)
    }

    /// Ends the sessions that an operator means, here at once.
    pub async fn revoke_selected(&self, selector: &Selector, by: &'static str, context: &Context) -> Revoked {
        let told = |word| match word {
            Word::Ended(session) => self.ended_here(session),
            Word::Changed(session) => {
                self.cache.change(session, self.clock.now());
                // There is none: nothing more of it may be served here.
                self.streams.ended(session);
            }
        };
        let revoked = self.roster.revoke(selector, told).await;
        self.audit.record(revoked.event(selector, by).at(context));
        revoked
    }

    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Ends the session that an access or refresh token belongs to, if it is a token of this client's for one of these
    /// resources. Anything else is no error (RFC 7009 section 2.2). A token that has run out ends its session too: signing
    /// out must not fail for having come a moment late.
    pub async fn revoke<'a>(
        &self,
        client: [u8; 32],
        token: &str,
        resources: impl Iterator<Item = &'a str>,
        context: &Context,
    ) -> Result<(), StoreError> {
        match self.session_of(client, token, resources).and_then(|id| self.sealer.index(&id)) {
            Some(session) => self.end(session, Ending::SignedOut, context).await,
            None => Ok(()),
        }
    }

    /// What the session's record says of its user is otherwise than before: every replica is to read it again before it serves
    /// the next call.
    pub(super) async fn changed(&self, session: Index) {
        self.cache.change(session, self.clock.now());
        if let Err(cause) = self.store.announce(REVOKED, &Word::Changed(session).to_bytes()).await {
            tracing::warn!(%cause, session = reference(session), "not announced: others look again within half a minute");
        }
    }

    fn ended_here(&self, session: Index) {
        self.cache.revoke(session, self.clock.now());
        self.streams.ended(session);
    }

    fn session_of<'a>(&self, client: [u8; 32], token: &str, resources: impl Iterator<Item = &'a str>) -> Option<Id> {
        if let Ok(token) = RefreshToken::open(&self.sealer, client, token) {
            return Some(token.handle.id);
        }
        let mut opened = resources.filter_map(|resource| AccessToken::open(&self.sealer, resource, token).ok());
        opened.next().filter(|token| token.client == client).map(|token| token.id)
    }
}
