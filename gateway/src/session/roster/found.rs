//! What a set names, and what there is of each.

use futures_util::future::join_all;

use super::{AT_ONCE, Listed, Listing, Member, Roster, Selector, Who};
use crate::sealed::Index;
use crate::session::reference;
use crate::store::{Page, StoreError};

impl Roster {
    /// The session, and whether there is anything of it but its name in the sets.
    pub(super) async fn read(&self, Member { session, key }: Member) -> Result<(Listed, bool), StoreError> {
        if self.sealer.has_revoked(key) {
            // Its record may still lie there. Nobody's token leads to it any more, but at a replica that has the ring of before.
            return Ok((Listed { session, listing: None, alive: false }, true));
        }
        let (mut listing, mut alive) = (self.listing(session).await?, self.records.holds(session).await?);
        if matches!(listing, Written::Not) && alive {
            // It was beginning or ending in between: by now it has a listing, or no record.
            (listing, alive) = (self.listing(session).await?, self.records.holds(session).await?);
        }
        let is_there = alive || !matches!(listing, Written::Not);
        let listing = if let Written::Opens(listing) = listing { Some(*listing) } else { None };
        Ok((Listed { session, listing, alive }, is_there))
    }

    async fn listing(&self, session: Index) -> Result<Written, StoreError> {
        match self.listings.get(session).await {
            Err(error @ StoreError::Unreadable { .. }) => {
                tracing::warn!(session = reference(session), %error, "a session's listing does not open");
                Ok(Written::DoesNotOpen)
            }
            read => Ok(read?.map_or(Written::Not, |listing| Written::Opens(Box::new(listing)))),
        }
    }

    /// How many sessions live that may be the user's and be in sets which this ring cannot name, for it does not know their key:
    /// an operator's ring may be older than the replicas'.
    pub(super) async fn in_other_sets(&self, selector: &Selector) -> Result<usize, StoreError> {
        let Selector::User(Who::Identity { .. }) = selector else { return Ok(0) };
        let mut unknown = 0;
        for set in self.sets(&Selector::All) {
            let strange =
                self.members(&set, selector).await?.into_iter().filter(|member| !self.sealer.knows(member.key));
            for chunk in strange.collect::<Vec<_>>().chunks(AT_ONCE) {
                for session in join_all(chunk.iter().map(|member| self.read(*member))).await {
                    unknown += usize::from(session?.0.alive);
                }
            }
        }
        Ok(unknown)
    }

    /// All of a set that the selector does not rule out by their ids alone.
    pub(super) async fn members(&self, set: &str, selector: &Selector) -> Result<Vec<Member>, StoreError> {
        let mut members = self.pages(set).await?;
        if members.len() >= PAGE {
            // Who is struck out while one page after the other is read moves another to a page that was read already: read twice,
            // it is missed only if that happens to it both times.
            members.extend(self.pages(set).await?);
            members.sort_unstable();
            members.dedup();
        }
        members.retain(|member| match selector {
            Selector::Session(start) => member.session.to_hex().starts_with(start),
            _ => true,
        });
        Ok(members)
    }

    async fn pages(&self, set: &str) -> Result<Vec<Member>, StoreError> {
        let (mut members, mut skip) = (Vec::new(), 0);
        loop {
            let page = Page { now: self.clock.now(), skip, size: PAGE };
            let read = self.store.enlisted(set, page).await?;
            skip += read.len();
            members.extend(read.iter().filter_map(|bytes| Member::from_bytes(bytes)));
            if read.len() < PAGE {
                return Ok(members);
            }
        }
    }
}

/// What there is of a listing.
enum Written {
    Not,
    DoesNotOpen,
    Opens(Box<Listing>),
}

/// Small enough that nobody waits behind a page.
const PAGE: usize = 256;
