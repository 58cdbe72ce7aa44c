//! From an opened access token to the session: in this process first, then in the store.

use std::sync::Arc;

use super::admitted::Denied;
use super::cache::{Entry, Found, Verifier};
use super::record::Record;
use super::{Handle, Sessions};
use crate::clock::Timestamp;
use crate::sealed::Index;
use crate::store::StoreError;

/// Where a session was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In this process, confirmed a moment ago.
    Cache,
    Store,
    /// In this process, because the store does not answer.
    Stale,
}

impl Tier {
    /// A label for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Cache => "cache",
            Tier::Store => "store",
            Tier::Stale => "stale",
        }
    }
}

/// When the store was asked.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub now: Timestamp,
    pub epoch: u64,
}

impl Sessions {
    pub(super) async fn look_up(&self, handle: &Handle, session: Index) -> Result<(Arc<Entry>, Tier), Denied> {
        let now = self.clock.now();
        if self.cache.is_revoked(session, now) {
            return Err(Denied::Revoked);
        }
        self.begin_to_hear();
        let verifier = Verifier::of(&handle.secret);
        if let Some(entry) = self.cache.fresh(session, &verifier, now) {
            return Ok((entry, Tier::Cache));
        }
        // Boxed: what most requests do not do would be copied with the future of each.
        Box::pin(self.look_up_in_store(handle, session, verifier)).await
    }

    async fn look_up_in_store(
        &self,
        handle: &Handle,
        session: Index,
        verifier: Verifier,
    ) -> Result<(Arc<Entry>, Tier), Denied> {
        if !self.cache.is_on() {
            return Ok((self.ask(handle, session, verifier).await?.ok_or(Denied::Ended)?, Tier::Store));
        }
        let ask = async || {
            // Somebody else's answer may have come since we looked.
            match self.cache.fresh(session, &verifier, self.clock.now()) {
                Some(entry) => Ok(Some(entry)),
                None => self.ask(handle, session, verifier).await,
            }
        };
        let epoch = self.cache.epoch();
        let mut found = self.cache.ask_once(session, verifier, ask()).await;
        if matches!(found, Err(StoreError::Unavailable(_))) && self.cache.epoch() != epoch {
            // This replica began anew meanwhile, for the store answers: it was asked on a connection that is lost. What was at
            // hand of the session went with the beginning, so that nothing else would stand in for the answer (R4).
            found = self.cache.ask_once(session, verifier, ask()).await;
        }
        let now = self.clock.now();
        if self.cache.is_revoked(session, now) {
            // Ended while the store answered.
            return Err(Denied::Revoked);
        }
        match found {
            Ok(Some(entry)) => Ok((entry, Tier::Store)),
            Ok(None) => {
                self.cache.forget(session);
                Err(Denied::Ended)
            }
            Err(error @ StoreError::Unavailable(_)) => match self.cache.stale(session, &verifier, now) {
                Some(entry) => Ok((entry, Tier::Stale)),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the next requests find what was just read or written. `before` is when the store was asked.
    pub(super) fn keep_at_hand(&self, handle: &Handle, session: Index, record: &Record, before: Moment) {
        if let Some(entry) = Entry::new(record, Verifier::of(&handle.secret), before.now, before.epoch) {
            self.cache.keep(session, Arc::new(entry), before.epoch);
        }
    }

    /// The record, if it is there and its user still may sign in. A tenant that is listed no more takes its sessions with it
    /// (GU-15).
    pub(super) async fn record(&self, handle: &Handle) -> Result<Option<Record>, StoreError> {
        let record = self.table.get(&handle.id, &handle.secret).await?;
        Ok(record.filter(|record| self.entra.allows(&record.listing.user.tenant_id)))
    }

    /// To be taken before the store is asked.
    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), epoch: self.cache.epoch() }
    }

    async fn ask(&self, handle: &Handle, session: Index, verifier: Verifier) -> Found {
        let before = self.moment();
        let Some(record) = self.record(handle).await? else { return Ok(None) };
        self.note_use(session, &record.listing);
        let entry = Entry::new(&record, verifier, before.now, before.epoch).map(Arc::new);
        if let Some(entry) = &entry {
            self.cache.keep(session, entry.clone(), before.epoch);
        }
        Ok(entry)
    }
}
