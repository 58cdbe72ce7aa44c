//! Who is signed in: what operators see of sessions, and how they end them (the kill switch).
//!
//! A session opens only with a secret that its client holds. What is to be seen without one is written down beside it when
//! it begins, as a [`Listing`] that the key ring alone opens, and its index is put into two sets: one of 64 that hold all
//! sessions, and its user's. Written first and removed last, so that no session is ever missing here.

mod found;
mod listing;
mod member;
mod report;
mod selector;

use std::sync::Arc;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};

use super::record::{self, Record};
use crate::clock::Clock;
use crate::sealed::{Index, Purpose, Sealer};
use crate::session::hearing::{REVOKED, Word};
use crate::store::{Generations, OpenTable, Store, StoreError, Table};

pub use listing::{ListedClient, ListedUser, Listing};
pub(super) use member::Member;
pub use selector::{BadSelector, Selector, Which, Who};

pub struct Roster {
    store: Arc<dyn Store>,
    sealer: Sealer,
    clock: Clock,
    listings: OpenTable<Listing>,
    records: Table<Record>,
    generations: Generations,
    /// Names ours among the installations that share a store: all is all of one.
    installation: String,
}

/// A session, as far as it can be told without its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub session: Index,
    /// `None` when it does not open, or is gone.
    pub listing: Option<Listing>,
    /// Whether it can still be used.
    pub alive: bool,
}

/// What [`Roster::list`] found.
#[derive(Debug, Default)]
pub struct List {
    pub sessions: Vec<Listed>,
    /// There are more than were asked for.
    pub more: bool,
    /// So many others have no listing that opens; whether they are meant cannot be told.
    pub unknown: usize,
}

/// What [`Roster::revoke`] did.
#[derive(Debug, Default)]
pub struct Revoked {
    pub ended: usize,
    /// So many that live have no listing that opens, and were not ended: whether they are meant cannot be told.
    pub unknown: usize,
    /// Why it stopped. Doing it again goes on where it stopped.
    pub failure: Option<NotRevoked>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotRevoked {
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Nothing was ended.
    #[error("{0} sessions begin with these digits")]
    Ambiguous(usize),
}

impl Roster {
    /// Of a list, what one answer should hold.
    pub const AT_MOST: usize = 10_000;

    pub fn new(store: Arc<dyn Store>, sealer: Sealer, clock: Clock) -> Self {
        Self {
            listings: OpenTable::new(store.clone(), sealer.clone(), clock.clone(), "listing", Purpose::Listing),
            records: Table::new(store.clone(), sealer.clone(), clock.clone(), record::KIND),
            generations: Generations::new(store.clone()),
            installation: Index(Sha256::digest(sealer.issuer()).into()).to_hex()[..8].to_owned(),
            store,
            sealer,
            clock,
        }
    }

    /// Writes down a session that is about to begin.
    pub(super) async fn enter(&self, session: Index, listing: &Listing) -> Result<(), StoreError> {
        let now = self.clock.now();
        let member = Member { session, key: listing.key }.to_bytes();
        self.store.enlist(&self.set_of_all(session), &member, listing.ends, now).await?;
        if let Some(set) = self.sets_of_user(&listing.user).next() {
            self.store.enlist(&set, &member, listing.ends, now).await?;
        }
        self.listings.put(session, listing, listing.ends.remaining(now)).await
    }

    /// Whether nobody has ended it since it was entered. A session that has just begun asks: who ended it in between may
    /// have done so before there was anything to remove.
    pub(super) async fn has(&self, session: Index) -> Result<bool, StoreError> {
        self.listings.holds(session).await
    }

    /// Writes down when a session was used. One that was ended meanwhile stays so.
    pub(super) async fn note(&self, session: Index, listing: &Listing) -> Result<(), StoreError> {
        self.listings.replace(session, listing, listing.ends.remaining(self.clock.now())).await.map(drop)
    }

    /// Ends a session for every replica that hears of it, or asks the store again. Ending one twice is no failure. What was
    /// known of it; `None` if there was none.
    pub(super) async fn end(&self, session: Index) -> Result<Option<Listing>, StoreError> {
        // First the record: whoever hears of its end and asks the store must find none.
        self.records.remove(session).await?;
        self.store.announce(REVOKED, &Word::Ended(session).to_bytes()).await?;
        self.generations.remove(session).await?;
        let listing = match self.listings.take(session).await {
            Err(StoreError::Unreadable { .. }) => None,
            taken => taken?,
        };
        // Once more, for one that was just beginning: from here on it finds that its listing is gone.
        self.records.remove(session).await?;
        // Without it the sets keep the session's name until it would have ended, which shows nobody anything.
        let Some(listing) = listing else { return Ok(None) };
        let member = Member { session, key: listing.key }.to_bytes();
        for set in self.sets_of_user(&listing.user) {
            self.store.strike(&set, &member).await?;
        }
        self.store.strike(&self.set_of_all(session), &member).await?;
        Ok(Some(listing))
    }

    /// The sessions that are meant and live, at most so many; those that began first come first.
    pub async fn list(&self, selector: &Selector, at_most: usize) -> Result<List, StoreError> {
        let mut list = List::default();
        'sets: for set in self.sets(selector) {
            for chunk in self.members(&set, selector).await?.chunks(AT_ONCE) {
                for session in join_all(chunk.iter().map(|member| self.read(*member))).await {
                    let (session, _) = session?;
                    match selector.means(&session) {
                        _ if !session.alive => {}
                        Some(true) if list.sessions.len() >= at_most => {
                            list.more = true;
                            break 'sets;
                        }
                        Some(true) => list.sessions.push(session),
                        Some(false) => {}
                        None => list.unknown += 1,
                    }
                }
            }
        }
        list.unknown += self.in_other_sets(selector).await?;
        list.sessions.sort_by_key(|session| session.listing.as_ref().map(|listing| listing.created));
        Ok(list)
    }

    /// Ends the sessions that are meant, and those of them that are just beginning. What others hear of each is told to this
    /// process before. Whoever signs in afterwards has a new session.
    pub async fn revoke(&self, selector: &Selector, tell: impl Fn(Word)) -> Revoked {
        let mut revoked = Revoked::default();
        let done = self.revoke_all_of(selector, &tell, &mut revoked).await;
        revoked.failure = done.err();
        revoked
    }

    async fn revoke_all_of(
        &self,
        selector: &Selector,
        tell: &impl Fn(Word),
        revoked: &mut Revoked,
    ) -> Result<(), NotRevoked> {
        if let Selector::Session(_) = selector {
            let meant = self.list(selector, usize::MAX).await?.sessions.len();
            if meant > 1 {
                return Err(NotRevoked::Ambiguous(meant));
            }
        }
        // Members that move while a set is read may be overlooked once; whoever signs in all the time is not waited for.
        for _ in 0..PASSES {
            revoked.unknown = 0;
            let before = revoked.ended;
            for set in self.sets(selector) {
                for chunk in self.members(&set, selector).await?.chunks(AT_ONCE) {
                    let ending = chunk.iter().map(|member| self.end_if_meant(*member, &set, selector, tell));
                    let mut failure = None;
                    // When one fails, those beside it are let finish and counted.
                    for outcome in join_all(ending).await {
                        match outcome {
                            Ok(Outcome::Ended) => revoked.ended += 1,
                            Ok(Outcome::Unknown) => revoked.unknown += 1,
                            Ok(Outcome::Nothing) => {}
                            Err(error) => failure = Some(error),
                        }
                    }
                    if let Some(error) = failure {
                        return Err(error.into());
                    }
                }
            }
            if revoked.ended == before {
                break;
            }
        }
        revoked.unknown += self.in_other_sets(selector).await?;
        Ok(())
    }

    /// Ends a member of `set`, if it is meant.
    async fn end_if_meant(
        &self,
        member: Member,
        set: &str,
        selector: &Selector,
        tell: &impl Fn(Word),
    ) -> Result<Outcome, StoreError> {
        let (found, is_there) = self.read(member).await?;
        let session = found.session;
        match selector.means(&found) {
            // Over, or about to begin. Ended and struck out it would begin all the same, where no operator sees it; whoever has it at
            // hand though it is over is to look again.
            Some(true) if !is_there => {
                tell(Word::Changed(session));
                self.store.announce(REVOKED, &Word::Changed(session).to_bytes()).await?;
                Ok(Outcome::Nothing)
            }
            Some(true) => {
                tell(Word::Ended(session));
                // Also one without a record: that may be about to be.
                self.end(session).await?;
                if found.listing.is_none() {
                    for set in [set, &self.set_of_all(session)] {
                        self.store.strike(set, &member.to_bytes()).await?;
                    }
                }
                Ok(if found.alive { Outcome::Ended } else { Outcome::Nothing })
            }
            None if found.alive => Ok(Outcome::Unknown),
            Some(false) | None => Ok(Outcome::Nothing),
        }
    }

    /// Where what is meant can be. A user's own sets spare the others; a login and a client are looked for everywhere.
    pub(super) fn sets(&self, selector: &Selector) -> Vec<String> {
        match selector {
            Selector::User(Who::Identity { tenants, object_id }) => {
                tenants.iter().flat_map(|tenant_id| self.sets_of(tenant_id, object_id)).collect()
            }
            Selector::Session(start) => {
                u8::from_str_radix(&start[..2], 16).map(|first| self.set_of_shard(first)).into_iter().collect()
            }
            Selector::All | Selector::User(Who::Login(_)) | Selector::Client(_) => {
                (0..SHARDS).map(|shard| self.set_of_shard(shard << SHIFT)).collect()
            }
        }
    }

    fn set_of_all(&self, session: Index) -> String {
        self.set_of_shard(session.0[0])
    }

    /// By the first byte of an index: evenly, and over all nodes of a cluster.
    fn set_of_shard(&self, first: u8) -> String {
        format!("sallyport:sessions:{}:{:02x}", self.installation, first >> SHIFT)
    }

    fn sets_of_user(&self, user: &ListedUser) -> impl Iterator<Item = String> {
        self.sets_of(&user.tenant_id, &user.object_id)
    }

    /// One for each key of the ring that opens; new sessions go to the first one.
    fn sets_of(&self, tenant_id: &str, object_id: &str) -> impl Iterator<Item = String> {
        let indexes = self.sealer.indexes_of("user", &[tenant_id.as_bytes(), object_id.as_bytes()]);
        indexes.into_iter().map(|index| format!("sallyport:user:{}", index.to_text()))
    }
}

impl Listed {
    /// As operators see it. It ends the session, and opens nothing.
    pub fn id(&self) -> String {
        self.session.to_hex()
    }
}

enum Outcome {
    Ended,
    Unknown,
    Nothing,
}

const SHARDS: u8 = 64;
/// Of eight bits, six tell the shard.
const SHIFT: u8 = 2;
/// Questions at once, beside those of the requests that are served.
const AT_ONCE: usize = 16;
const PASSES: usize = 3;
