//! How many documents are fetched at once and in a minute: strangers decide what is fetched, and must not turn the edge
//! against anybody's server, nor keep it busy.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::clock::Timestamp;

const AT_ONCE: usize = 16;
const AT_ONCE_FROM_ONE_HOST: usize = 2;
const A_MINUTE: usize = 120;
const A_MINUTE_FROM_ONE_HOST: usize = 30;

#[derive(Default)]
pub struct Allowance(Mutex<Usage>);

#[derive(Default)]
struct Usage {
    running: Counts,
    minute: u64,
    begun: Counts,
}

/// At most as many hosts as there may be fetches, so that it stays small.
#[derive(Default)]
struct Counts {
    all: usize,
    hosts: HashMap<String, usize>,
}

/// Room for one fetch, given back when dropped.
pub struct Slot<'a> {
    allowance: &'a Allowance,
    host: String,
}

impl Allowance {
    /// `None`: not now. Nobody queues, for a queue could be filled.
    pub fn take(&self, host: &str, now: Timestamp) -> Option<Slot<'_>> {
        let mut usage = self.usage();
        let minute = now.unix() / 60;
        if usage.minute != minute {
            usage.minute = minute;
            usage.begun = Counts::default();
        }
        let room = usage.running.has_room(host, AT_ONCE, AT_ONCE_FROM_ONE_HOST)
            && usage.begun.has_room(host, A_MINUTE, A_MINUTE_FROM_ONE_HOST);
        room.then(|| {
            usage.running.add(host);
            usage.begun.add(host);
            Slot { allowance: self, host: host.to_owned() }
        })
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        // Counting does not stop half-way.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Counts {
    fn has_room(&self, host: &str, in_all: usize, for_one_host: usize) -> bool {
        self.all < in_all && self.hosts.get(host).is_none_or(|count| *count < for_one_host)
    }

    fn add(&mut self, host: &str) {
        self.all += 1;
        *self.hosts.entry(host.to_owned()).or_default() += 1;
    }

    fn remove(&mut self, host: &str) {
        self.all -= 1;
        if let Some(count) = self.hosts.get_mut(host) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(host);
            }
        }
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

    #[test]
    fn two_at_once_from_one_host_and_sixteen_in_all() {
        let allowance = Allowance::default();
        let (_first, second) = (allowance.take("a", NOW).unwrap(), allowance.take("a", NOW).unwrap());
        assert!(allowance.take("a", NOW).is_none());
        let others: Vec<_> = (0..14).map(|number| allowance.take(&number.to_string(), NOW).unwrap()).collect();
        assert!(allowance.take("z", NOW).is_none());
        drop(second);
        assert!(allowance.take("z", NOW).is_some());
        drop(others);
        assert_eq!(allowance.usage().running.hosts.len(), 1, "only what runs is counted");
    }

    #[test]
    fn thirty_a_minute_from_one_host_and_120_in_all() {
        let allowance = Allowance::default();
        let count = |host: &str, now| (0..200).filter(|_| allowance.take(host, now).is_some()).count();
        assert_eq!(count("a", NOW), 30);
        assert_eq!((count("b", NOW), count("c", NOW), count("d", NOW), count("e", NOW)), (30, 30, 30, 0));
        assert_eq!(count("a", Timestamp::from_unix(659)), 0);
        assert_eq!(count("a", Timestamp::from_unix(660)), 30);
    }
}
