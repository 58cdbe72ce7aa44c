//! What admitting takes, ready for use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::access::Membership;
use crate::audit::Subject;
use crate::clock::Timestamp;
use crate::secret::{SecretKey, Wiped};
use crate::session::record::Record;

/// Neither `Debug` nor `Clone`: it holds Entra's token.
pub struct Entry {
    pub bearer: HeaderValue,
    pub membership: Arc<Membership>,
    pub who: Subject,
    verifier: Verifier,
    /// Of Entra's token or of the session, whichever is first.
    pub ends: Timestamp,
    /// When the session ends unless it is refreshed.
    pub session_ends: Timestamp,
    /// `None` when there is nothing to renew it with.
    renew_from: Option<Timestamp>,
    renewal_begun: AtomicBool,
    /// A moment before the store was asked.
    pub(in crate::session) confirmed: Timestamp,
    pub(super) epoch: u64,
}

/// Knows the secret of a session again without being it: SHA-256. Who reads it out of our memory opens no record with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verifier([u8; 32]);

impl Entry {
    /// `None` when Entra's token can be no header's value, which a token never is.
    pub fn new(record: &Record, verifier: Verifier, confirmed: Timestamp, epoch: u64) -> Option<Self> {
        let token = &record.entra.access_token;
        let entry = Self::of(token, verifier, record.expires(), record.renews_from(), confirmed, epoch)?;
        let (membership, who) = (Arc::new(record.membership.clone()), record.listing.user.subject());
        Some(Self { session_ends: record.kept_until, membership, who, ..entry })
    }

    pub(in crate::session) fn of(
        token: &str,
        verifier: Verifier,
        ends: Timestamp,
        renew_from: Option<Timestamp>,
        confirmed: Timestamp,
        epoch: u64,
    ) -> Option<Self> {
        // Its clones share these bytes, and the last one wipes them.
        let text = Wiped::new([b"Bearer ", token.as_bytes()].concat());
        let mut bearer = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
        bearer.set_sensitive(true);
        let session_ends = ends;
        Some(Self {
            bearer,
            membership: Arc::default(),
            who: Subject::NOBODY,
            verifier,
            ends,
            session_ends,
            renew_from,
            renewal_begun: AtomicBool::new(false),
            confirmed,
            epoch,
        })
    }

    pub fn should_be_renewed(&self, now: Timestamp) -> bool {
        self.renew_from.is_some_and(|from| from.has_passed(now)) && !self.renewal_begun.load(Ordering::Relaxed)
    }

    /// `true` for one caller: whatever becomes of the renewal, the next entry tells when to try again.
    pub fn begin_renewal(&self) -> bool {
        !self.renewal_begun.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_for(&self, verifier: &Verifier) -> bool {
        self.verifier.0.ct_eq(&verifier.0).into()
    }

    pub(super) fn is_younger_than(&self, limit: Duration, now: Timestamp) -> bool {
        now >= self.confirmed && !self.confirmed.after(limit).has_passed(now)
    }
}

impl Verifier {
    pub fn of(secret: &SecretKey) -> Self {
        Self(Sha256::digest(secret.expose()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_in_one_place_whoever_has_a_clone_and_shown_by_none() {
        let verifier = Verifier::of(&SecretKey::random());
        let now = Timestamp::from_unix(0);
        let entry = Entry::of("canary", verifier, now, None, now, 0).unwrap();
        let clone = entry.bearer.clone();
        assert_eq!(clone, "Bearer canary");
        assert_eq!(clone.as_bytes().as_ptr(), entry.bearer.as_bytes().as_ptr());
        assert!(clone.is_sensitive() && !format!("{clone:?}").contains("canary"));
        assert!(Entry::of("in\ntwo lines", verifier, now, None, now, 0).is_none());
    }
}
