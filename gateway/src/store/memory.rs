//! Records in this process: for one replica, for development and for tests. Nothing survives a restart.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use subtle::ConstantTimeEq;

use super::announcements::Here;
use super::{Advance, Claim, Epitaph, Guard, Guarded, Listener, Page, Redemption, Step, Store, StoreError};
use crate::clock::{Clock, Timestamp};

/// Dead records are swept when the map has grown by this many since the last sweep.
const SWEEP_EVERY: usize = 1024;
const ONE_SECOND: Duration = Duration::from_secs(1);

pub struct MemoryStore {
    clock: Clock,
    records: Mutex<Records>,
    announcements: Here,
}

#[derive(Default)]
struct Records {
    by_name: HashMap<String, Record>,
    written: usize,
}

struct Record {
    expires: Timestamp,
    content: Content,
}

enum Content {
    Plain(Vec<u8>),
    Guarded {
        guard: Guard,
        epitaph: Epitaph,
        value: Vec<u8>,
        claimed: Option<Claimed>,
    },
    /// And who settled it, unless it was settled by who had no right to it.
    Spent(Epitaph, Option<[u8; 16]>),
    Counter {
        current: u32,
        moved: Timestamp,
    },
    /// Members by their ends.
    Set(BTreeSet<(Timestamp, Vec<u8>)>),
}

#[derive(Clone, Copy)]
struct Claimed {
    by: [u8; 16],
    since: Timestamp,
}

impl MemoryStore {
    pub fn new(clock: Clock) -> Self {
        Self { clock, records: Mutex::default(), announcements: Here::default() }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Every change to the map is one call: a panic elsewhere leaves it whole.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str, content: Content, lifetime: Duration) {
        let now = self.clock.now();
        self.records().write(name, Record { expires: now.after(lifetime), content }, now);
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.write(name, Content::Plain(value.to_vec()), lifetime);
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(match self.records().live(name, self.clock.now()) {
            Some(Content::Plain(value)) => Some(value.clone()),
            _ => None,
        })
    }

    async fn take(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut records = self.records();
        if !matches!(records.live(name, self.clock.now()), Some(Content::Plain(_))) {
            return Ok(None);
        }
        Ok(match records.by_name.remove(name).map(|record| record.content) {
            Some(Content::Plain(value)) => Some(value),
            _ => None,
        })
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.records().by_name.remove(name);
        Ok(())
    }

    async fn replace(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut records = self.records();
        let there = records.live(name, now).is_some();
        if there {
            records.write(name, Record { expires: now.after(lifetime), content: Content::Plain(value.to_vec()) }, now);
        }
        Ok(there && lifetime >= ONE_SECOND)
    }

    async fn put_new(&self, name: &str, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut records = self.records();
        let free = records.live(name, now).is_none() && lifetime >= ONE_SECOND;
        if free {
            records.write(name, Record { expires: now.after(lifetime), content: Content::Plain(value.to_vec()) }, now);
        }
        Ok(free)
    }

    async fn remove_if(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        let mut records = self.records();
        let same = matches!(records.live(name, self.clock.now()), Some(Content::Plain(found)) if found == value);
        if same {
            records.by_name.remove(name);
        }
        Ok(same)
    }

    async fn put_guarded(&self, name: &str, value: Guarded<'_>, lifetime: Duration) -> Result<(), StoreError> {
        let Guarded { guard, epitaph, value } = value;
        let content = Content::Guarded { guard: *guard, epitaph: *epitaph, value: value.to_vec(), claimed: None };
        self.write(name, content, lifetime);
        Ok(())
    }

    async fn redeem(&self, name: &str, claim: &Claim) -> Result<Redemption, StoreError> {
        let now = self.clock.now();
        let mut records = self.records();
        let (right, epitaph, claimed, value) = match records.live(name, now) {
            None | Some(Content::Plain(_) | Content::Counter { .. } | Content::Set(_)) => {
                return Ok(Redemption::Missing);
            }
            Some(Content::Spent(epitaph, _)) => return Ok(Redemption::Spent(*epitaph)),
            Some(Content::Guarded { guard, epitaph, value, claimed }) => {
                (bool::from(guard.ct_eq(&claim.guard)), *epitaph, *claimed, value.clone())
            }
        };
        let (content, answer) = match claimed {
            None if !right => return Ok(Redemption::Mismatch),
            Some(claimed) if !right || over(claimed, claim) => {
                (Content::Spent(epitaph, None), Redemption::Spent(epitaph))
            }
            Some(claimed) if claimed.by != claim.claimant && !claim.insists => return Ok(Redemption::Claimed),
            _ => {
                let since = claimed.map_or(claim.now, |claimed| claimed.since);
                let claimed = Some(Claimed { by: claim.claimant, since });
                let content = Content::Guarded { guard: claim.guard, epitaph, value: value.clone(), claimed };
                (content, Redemption::Value(value))
            }
        };
        records.write(name, Record { expires: now.after(claim.epitaph_lifetime), content }, now);
        Ok(answer)
    }

    async fn settle(&self, name: &str, claim: &Claim) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut records = self.records();
        let epitaph = match records.live(name, now) {
            Some(Content::Spent(_, by)) => return Ok(*by == Some(claim.claimant)),
            Some(Content::Guarded { epitaph, claimed: Some(claimed), .. }) if claimed.by == claim.claimant => *epitaph,
            _ => return Ok(false),
        };
        let content = Content::Spent(epitaph, Some(claim.claimant));
        records.write(name, Record { expires: now.after(claim.epitaph_lifetime), content }, now);
        Ok(true)
    }

    async fn start_counter(&self, name: &str, now: Timestamp, lifetime: Duration) -> Result<(), StoreError> {
        self.write(name, Content::Counter { current: 0, moved: now }, lifetime);
        Ok(())
    }

    async fn advance(&self, name: &str, step: Step) -> Result<Advance, StoreError> {
        let now = self.clock.now();
        let mut records = self.records();
        let Some(Content::Counter { current, moved }) = records.live(name, now) else { return Ok(Advance::Missing) };
        let advance = Advance::of(*current, *moved, &step);
        if let Advance::Rotated(next) = advance {
            let content = Content::Counter { current: next, moved: step.now };
            records.write(name, Record { expires: now.after(step.lifetime.max(ONE_SECOND)), content }, now);
        }
        Ok(advance)
    }

    async fn holds(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.records().live(name, self.clock.now()).is_some())
    }

    async fn enlist(&self, set: &str, member: &[u8], ends: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let mut records = self.records();
        let mut members = match records.by_name.remove(set) {
            Some(Record { content: Content::Set(members), .. }) => members,
            _ => BTreeSet::new(),
        };
        members.retain(|(end, other)| !end.has_passed(now) && other != member);
        if !ends.has_passed(now) {
            members.insert((ends, member.to_vec()));
        }
        let Some(expires) = members.last().map(|(end, _)| *end) else { return Ok(()) };
        records.write(set, Record { expires, content: Content::Set(members) }, now);
        Ok(())
    }

    async fn enlisted(&self, set: &str, page: Page) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(match self.records().live(set, page.now) {
            Some(Content::Set(members)) => {
                let living = members.iter().filter(|(end, _)| !end.has_passed(page.now));
                living.skip(page.skip).take(page.size).map(|(_, member)| member.clone()).collect()
            }
            _ => Vec::new(),
        })
    }

    async fn strike(&self, set: &str, member: &[u8]) -> Result<(), StoreError> {
        if let Some(Record { content: Content::Set(members), .. }) = self.records().by_name.get_mut(set) {
            members.retain(|(_, other)| other != member);
        }
        Ok(())
    }

    async fn announce(&self, topic: &'static str, message: &[u8]) -> Result<(), StoreError> {
        self.announcements.announce(topic, message);
        Ok(())
    }

    fn listen(&self, topic: &'static str) -> Box<dyn Listener> {
        self.announcements.listen(topic)
    }
}

fn over(claimed: Claimed, claim: &Claim) -> bool {
    claim.now.unix().saturating_sub(claimed.since.unix()) > claim.grace.as_secs()
}

impl Records {
    fn live(&self, name: &str, now: Timestamp) -> Option<&Content> {
        self.by_name.get(name).filter(|record| !record.expires.has_passed(now)).map(|record| &record.content)
    }

    fn write(&mut self, name: &str, record: Record, now: Timestamp) {
        self.written += 1;
        if self.written >= SWEEP_EVERY.max(self.by_name.len()) {
            self.written = 0;
            self.by_name.retain(|_, record| !record.expires.has_passed(now));
        }
        self.by_name.insert(name.to_owned(), record);
    }
}
