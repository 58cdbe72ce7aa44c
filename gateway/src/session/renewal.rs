//! Renewal of Entra's tokens: by one caller at a time, in this process and among all replicas (GU-7).
//!
//! Whoever renews also writes that the session goes on, so a record is only ever written by the holder of the session's
//! lock, and no older state overwrites a newer one. All is done well within the lock's lifetime.
//!
//! With the tokens comes what the user is by now: roles and groups that the rules name count as of the renewal, at every replica.
//!
//! A refresh needs a token that is worth something and waits for it. A call has one that still serves, so its renewal is
//! in nobody's way: in the background, once for a session, for a few sessions at a time.

use std::time::Duration;

use entra::{ClaimsRequest, Error, Renewal, Renewed, Secret};
use tokio::time::{Instant, sleep, timeout};

use super::record::{Challenged, Record, Trouble};
use super::refused::Refused;
use super::{Ending, Handle, NotRefreshed, Over, Sessions, reference};
use crate::audit::Context;
use crate::clock::Timestamp;
use crate::sealed::Index;
use crate::secret::random_fraction;
use crate::traces::{self, What};

impl Sessions {
    /// The session, with tokens of Entra's that are worth something and a life that goes on. Asks Entra only when its token
    /// is close to its end; a caller for whom another one is asking waits a little, and then makes do with what there is.
    pub(super) async fn up_to_date(
        &self,
        handle: &Handle,
        session: Index,
        occasion: Occasion<'_>,
    ) -> Result<Record, NotRefreshed> {
        let record = self.load(handle).await?;
        if !self.is_due(&record, occasion) {
            return self.worth_something(record);
        }
        let patience = Instant::now() + PATIENCE;
        let Ok(_turn) = timeout(PATIENCE, self.flights.turn(session)).await else {
            return self.worth_something(self.load(handle).await?);
        };
        loop {
            let record = self.load(handle).await?;
            if !self.is_due(&record, occasion) {
                return self.worth_something(record);
            }
            if let Some(held) = self.locks.acquire(session).await? {
                let written = traces::stage(What::Renewal, self.write_on(handle, session, occasion)).await;
                self.locks.release(held).await;
                return written;
            }
            // Whoever holds the lock writes that the session goes on; only a token is worth waiting for.
            if !self.wants_token(&record, occasion) || Instant::now() >= patience {
                return self.worth_something(record);
            }
            sleep(POLL).await;
        }
    }

    fn is_due(&self, record: &Record, occasion: Occasion<'_>) -> bool {
        let now = self.clock.now();
        (matches!(occasion, Occasion::Refresh) && record.should_be_kept(now, self.settings.session_idle))
            || self.asks_entra(record, occasion)
    }

    fn asks_entra(&self, record: &Record, occasion: Occasion<'_>) -> bool {
        self.wants_token(record, occasion) && record.pause(self.clock.now()).is_none()
    }

    /// Whether a token is missing that Entra would be asked for at once, but for a pause after trouble.
    pub(super) fn wants_token(&self, record: &Record, occasion: Occasion<'_>) -> bool {
        let now = self.clock.now();
        let early = match occasion {
            Occasion::Refused(refused) if refused.is_of(record) => match refused.claims {
                Some(_) => record.may_answer_a_challenge(now),
                None => record.may_be_renewed_early(now),
            },
            _ => false,
        };
        early || record.should_be_renewed(now)
    }

    /// With the lock: what is due, and nothing that another holder has done since we looked.
    async fn write_on(&self, handle: &Handle, session: Index, occasion: Occasion<'_>) -> Result<Record, NotRefreshed> {
        let before = self.moment();
        let mut record = self.load(handle).await?;
        if !self.is_due(&record, occasion) {
            self.keep_at_hand(handle, session, &record, before);
            return self.worth_something(record);
        }
        let (now, known) = (self.clock.now(), record.membership.clone());
        if self.asks_entra(&record, occasion) {
            let claims = occasion.claims();
            match self.ask_entra(&record, claims).await {
                Ok(renewed) => {
                    record.entra = record.entra.renewed(&renewed, now, random_fraction());
                    // What Entra does not say of a user is not known any more: fail closed.
                    record.membership =
                        renewed.memberships.as_ref().map(|now| self.access_now.load().of(now)).unwrap_or_default();
                    record.trouble = None;
                    record.challenged = claims.map(|_| Challenged::answered(now)).or(record.challenged);
                    tracing::debug!(session = reference(session), "Entra's tokens were renewed");
                }
                Err(Error::UserMustAct(refusal)) if claims.is_some() => {
                    tracing::info!(session = reference(session), %refusal, "the user must sign in again for the upstream");
                    record.challenged = Some(match refusal.claims.as_ref().or(claims) {
                        Some(claims) if refusal.can_be_answered() => {
                            self.remember_step_up(&record.listing, claims).await?;
                            Challenged::waits(now)
                        }
                        _ => Challenged::answered(now),
                    });
                }
                Err(Error::SetUp(cause)) if claims.is_some() => {
                    tracing::warn!(session = reference(session), cause, "Entra does not take the upstream's claims");
                    record.challenged = Some(Challenged::answered(now));
                }
                Err(Error::UserMustAct(refusal) | Error::Refused(refusal)) => {
                    tracing::info!(session = reference(session), %refusal, "Entra renews no more: the session ends");
                    if let Some(claims) = refusal.claims.as_ref().filter(|_| refusal.can_be_answered()) {
                        self.remember_step_up(&record.listing, claims).await?;
                    }
                    self.end(session, Ending::NotRenewed, &Context::default()).await?;
                    return Err(NotRefreshed::Over(Over::Entra));
                }
                Err(error) => {
                    match &error {
                        Error::TryLater { .. } => tracing::warn!(%error, "Entra's tokens were not renewed"),
                        _ => {
                            let fix = error.number().and_then(entra::advice);
                            tracing::error!(%error, fix, "Entra's tokens cannot be renewed");
                        }
                    }
                    record.trouble = Some(Trouble::after(record.trouble, now, retry_after(&error)));
                }
            }
        }
        if matches!(occasion, Occasion::Refresh) {
            record.keep(now, self.settings.session_idle);
        }
        self.save(handle, &record, now).await?;
        self.keep_at_hand(handle, session, &record, before);
        if record.membership != known {
            tracing::info!(session = reference(session), "Entra says otherwise by now what the user is");
            self.changed(session).await;
        }
        self.worth_something(record)
    }

    /// Bounded, so that it is over before the lock is.
    async fn ask_entra(&self, record: &Record, claims: Option<&ClaimsRequest>) -> Result<Renewed, Error> {
        let refresh_token = Secret::new(record.entra.refresh_token.clone().unwrap_or_default());
        let user = &record.listing.user;
        let renewal = Renewal {
            refresh_token: &refresh_token,
            tenant_id: &user.tenant_id,
            object_id: &user.object_id,
            scope: &record.scope,
            claims,
        };
        match timeout(CALL_LIMIT, self.entra.refresh(renewal)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::TryLater { retry_after: None, cause: "no answer in time".into() }),
        }
    }

    /// Only over a record that is still there: a session that was revoked meanwhile stays dead.
    async fn save(&self, handle: &Handle, record: &Record, now: Timestamp) -> Result<(), NotRefreshed> {
        let lifetime = record.kept_until.remaining(now);
        match self.table.replace(&handle.id, &handle.secret, record, lifetime).await? {
            true => Ok(()),
            false => Err(NotRefreshed::Over(Over::EndedMeanwhile)),
        }
    }

    async fn load(&self, handle: &Handle) -> Result<Record, NotRefreshed> {
        self.record(handle).await?.ok_or(NotRefreshed::Over(Over::Ended))
    }

    /// A token that should be renewed and was not still serves while it can; afterwards the answer is "later", and never
    /// "sign in again": the session is as good as it was (GU-8).
    fn worth_something(&self, record: Record) -> Result<Record, NotRefreshed> {
        let now = self.clock.now();
        match record.should_be_renewed(now) && record.entra.ends.remaining(now) < USEFUL {
            true => Err(NotRefreshed::Later { retry_after: record.pause(now) }),
            false => Ok(record),
        }
    }
}

/// Why a session is looked at.
#[derive(Clone, Copy)]
pub(super) enum Occasion<'a> {
    /// The client refreshes: the session lives on.
    Refresh,
    /// The client calls: only Entra's token may be due.
    Call,
    /// The upstream refuses Entra's token.
    Refused(&'a Refused),
}

impl<'a> Occasion<'a> {
    fn claims(self) -> Option<&'a ClaimsRequest> {
        match self {
            Occasion::Refused(refused) => refused.claims.as_ref(),
            Occasion::Refresh | Occasion::Call => None,
        }
    }
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::TryLater { retry_after, .. } => *retry_after,
        _ => None,
    }
}

/// How long a caller waits for another one's renewal.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
/// With the calls of the store before and after it, shorter than [`crate::store::Locks::LIFETIME`].
const CALL_LIMIT: Duration = Duration::from_secs(7);
/// The shortest life of a token that a client is given instead of being told to come later.
const USEFUL: Duration = Duration::from_secs(30);
