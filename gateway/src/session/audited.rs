//! What the audit log gets of sessions.

use super::roster::{Listing, Revoked, Selector, Who};
use super::{NotRevoked, Sessions};
use crate::audit::{Context, Event, Field, Kind, Outcome, Subject};
use crate::sealed::Index;

/// Why a session ends before its time, if no operator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its client says so.
    SignedOut,
    /// A refresh token was used again after its successor: the client or a thief has an old copy.
    RefreshTokenReused,
    /// Likewise, of the code that began it.
    CodeReused,
    /// Entra renews it no more.
    NotRenewed,
    /// An operator was faster than the sign-in.
    EndedAtItsBeginning,
}

/// Whose a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    pub who: Subject,
    /// SHA-256 of the client id.
    pub client: [u8; 32],
    pub session: Index,
}

impl Sessions {
    /// `ended` is what is known of the session that was; `None` if there was none, or if the store failed on the way.
    pub(super) fn note_end(&self, session: Index, why: Ending, context: &Context, ended: Option<&Listing>, well: bool) {
        let outcome = if well { Outcome::Ok } else { Outcome::Failed };
        let event =
            Event::new(Kind::SessionEnded, outcome).at(context).session(session).text(Field::Reason, why.word());
        match ended {
            Some(listing) => self.audit.record(event.who(listing.user.subject()).client(listing.client.digest)),
            // Nobody knows of others by now.
            None if !well => self.audit.record(event),
            None => {}
        }
    }
}

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Ending::SignedOut => "signed_out",
            Ending::RefreshTokenReused => "refresh_token_reused",
            Ending::CodeReused => "code_reused",
            Ending::NotRenewed => "not_renewed",
            Ending::EndedAtItsBeginning => "ended_at_its_beginning",
        }
    }
}

impl Whose {
    pub fn of(self, event: Event) -> Event {
        event.who(self.who).client(self.client).session(self.session)
    }
}

impl Revoked {
    /// What an operator did, `by` which means.
    pub fn event(&self, selector: &Selector, by: &'static str) -> Event {
        let outcome = match self.failure {
            None => Outcome::Ok,
            Some(NotRevoked::Ambiguous(_)) => Outcome::Refused,
            Some(NotRevoked::Store(_)) => Outcome::Failed,
        };
        let event = Event::new(Kind::SessionsRevoked, outcome)
            .text(Field::By, by)
            .text(Field::Selector, selector.kind())
            .number(Field::Ended, self.ended as u64)
            .number(Field::Unknown, self.unknown as u64);
        match selector {
            Selector::User(Who::Identity { tenants, object_id }) => match tenants.as_slice() {
                [tenant_id] => event.who(Subject::of(tenant_id, object_id)),
                _ => event,
            },
            Selector::Client(which) => event.client(which.digest()),
            Selector::All | Selector::User(Who::Login(_)) | Selector::Session(_) => event,
        }
    }
}
