//! How many documents are fetched at once and in a minute: strangers decide what is fetched, and must not turn the edge
//! against anybody's server, nor keep it busy, nor use up what others need to sign in.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::source::SourceAddress;

const AT_ONCE: usize = 16;
const AT_ONCE_FROM_ONE_HOST: usize = 2;
const A_MINUTE: usize = 120;
const A_MINUTE_FROM_ONE_HOST: usize = 30;
/// Less than for a host, so that one who invents URLs leaves something to the others.
const A_MINUTE_FOR_ONE_SOURCE: usize = 20;

/// One for documents that are known, one for those that somebody names for the first time: inventing URLs then takes nothing
/// from the clients that people use.
#[derive(Default)]
pub struct Allowance(Mutex<Usage>);

#[derive(Default)]
struct Usage {
    running: Counts<String>,
    minute: u64,
    begun: Counts<String>,
    /// For whom.
    asked: Counts<SourceAddress>,
}

/// At most as many keys as there may be fetches, so that it stays small.
struct Counts<K> {
    all: usize,
    each: HashMap<K, usize>,
}

/// Room for one fetch, given back when dropped.
pub struct Slot<'a> {
    allowance: &'a Allowance,
    host: String,
}

impl Allowance {
    /// Room to fetch from `host`, for whoever asks at `source` if that matters. `None`: not now. Nobody queues, for a queue
    /// could be filled.
    pub fn take(&self, host: &str, source: Option<SourceAddress>, now: Timestamp) -> Option<Slot<'_>> {
        let mut usage = self.usage();
        let minute = now.unix() / 60;
        if usage.minute != minute {
            usage.minute = minute;
            usage.begun = Counts::default();
            usage.asked = Counts::default();
        }
        let room = usage.running.has_room(host, AT_ONCE, AT_ONCE_FROM_ONE_HOST)
            && usage.begun.has_room(host, A_MINUTE, A_MINUTE_FROM_ONE_HOST)
            && source.is_none_or(|source| usage.asked.has_room(&source, A_MINUTE, A_MINUTE_FOR_ONE_SOURCE));
        room.then(|| {
            usage.running.add(host.to_owned());
            usage.begun.add(host.to_owned());
            if let Some(source) = source {
                usage.asked.add(source);
            }
            Slot { allowance: self, host: host.to_owned() }
        })
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        // Counting does not stop half-way.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Counts<K> {
    fn has_room<Q>(&self, key: &Q, in_all: usize, for_one: usize) -> bool
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.all < in_all && self.each.get(key).is_none_or(|count| *count < for_one)
    }

    fn add(&mut self, key: K) {
        self.all += 1;
        *self.each.entry(key).or_default() += 1;
    }
}

impl Counts<String> {
    fn remove(&mut self, key: &str) {
        self.all -= 1;
        if let Some(count) = self.each.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.each.remove(key);
            }
        }
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { all: 0, each: HashMap::new() }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.allowance.usage().running.remove(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(600);

    fn source(last: u8) -> Option<SourceAddress> {
        Some(SourceAddress::new([192, 0, 2, last].into()))
    }

    #[test]
    fn two_at_once_from_one_host_and_sixteen_in_all() {
        let allowance = Allowance::default();
        let take = |host: &str| allowance.take(host, None, NOW);
        let (_first, second) = (take("a").unwrap(), take("a").unwrap());
        assert!(take("a").is_none());
        let others: Vec<_> = (0..14).map(|number| take(&number.to_string()).unwrap()).collect();
        assert!(take("z").is_none());
        drop(second);
        assert!(take("z").is_some());
        drop(others);
        assert_eq!(allowance.usage().running.each.len(), 1, "only what runs is counted");
    }

    #[test]
    fn thirty_a_minute_from_one_host_and_120_in_all() {
        let allowance = Allowance::default();
        let count = |host: &str, now| (0..200).filter(|_| allowance.take(host, None, now).is_some()).count();
        assert_eq!(count("a", NOW), 30);
        assert_eq!((count("b", NOW), count("c", NOW), count("d", NOW), count("e", NOW)), (30, 30, 30, 0));
        assert_eq!(count("a", Timestamp::from_unix(659)), 0);
        assert_eq!(count("a", Timestamp::from_unix(660)), 30);
    }

    #[test]
    fn twenty_a_minute_for_one_source_whatever_the_host() {
        let allowance = Allowance::default();
        let count = |host: &str, source, now| (0..200).filter(|_| allowance.take(host, source, now).is_some()).count();
        assert_eq!((count("a", source(1), NOW), count("b", source(1), NOW)), (20, 0));
        assert_eq!((count("a", source(2), NOW), count("b", source(3), NOW)), (10, 20), "others have what is left");
        assert_eq!(count("b", source(1), Timestamp::from_unix(660)), 20);
    }

    #[test]
    fn what_is_counted_in_a_minute_is_bounded() {
        let allowance = Allowance::default();
        for number in 0..10_000_u32 {
            let source = SourceAddress::new(number.to_be_bytes().into());
            drop(allowance.take(&number.to_string(), Some(source), NOW));
        }
        let usage = allowance.usage();
        assert_eq!((usage.begun.each.len(), usage.asked.each.len(), usage.running.each.len()), (A_MINUTE, A_MINUTE, 0));
    }
}
