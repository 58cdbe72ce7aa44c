//! Passive ejection: a server that fails several requests in a row gets none for a while, then one at a time until it answers.
//!
//! Only requests that any server could answer are kept from it: what belongs to a session of its own is still tried.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many failures in a row, with no answer between them.
const FAILURES: u32 = 3;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);
/// A probe that came to no end, because its client left, is followed by another after this.
const PROBE: Duration = Duration::from_secs(10);

/// What is known of servers that failed lately. One without a record is well.
#[derive(Default)]
pub struct Ejections {
    records: Mutex<HashMap<SocketAddr, Record>>,
    /// How many records there are: usually none, and then requests need no lock.
    count: AtomicUsize,
}

#[derive(Default)]
struct Record {
    /// In a row.
    failures: u32,
    ejection: Option<Ejection>,
}

struct Ejection {
    /// No request before that.
    until: Instant,
    lasted: Duration,
    /// A request was let through, and has not come to its end.
    probing: bool,
}

impl Ejections {
    /// The server gave no answer. For how long it is ejected, if that begins now: only if it `has_stand_in`.
    pub fn failed(&self, address: SocketAddr, now: Instant, has_stand_in: bool) -> Option<Duration> {
        let mut records = self.records();
        let record = records.entry(address).or_default();
        record.failures = record.failures.saturating_add(1);
        let lasts = match &record.ejection {
            None if record.failures >= FAILURES && has_stand_in => Some(SHORTEST),
            Some(ejection) if ejection.probing => Some((ejection.lasted * 2).min(LONGEST)),
            // Of those already ejected: a request from before, or one of a session.
            None | Some(_) => None,
        };
        if let Some(lasted) = lasts {
            record.ejection = Some(Ejection { until: now + lasted, lasted, probing: false });
        }
        self.count.store(records.len(), Ordering::Relaxed);
        lasts
    }

    /// The server gave an answer, whatever it says. Whether that ends an ejection.
    pub fn answered(&self, address: SocketAddr) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut records = self.records();
        let record = records.remove(&address);
        self.count.store(records.len(), Ordering::Relaxed);
        record.is_some_and(|record| record.ejection.is_some())
    }

    pub fn is_ejected(&self, address: SocketAddr) -> bool {
        !self.is_empty() && self.records().get(&address).is_some_and(|record| record.ejection.is_some())
    }

    /// Whether a request may go there. When the time of an ejection is over, the first that asks may: it is the probe.
    pub fn admits(&self, address: SocketAddr, now: Instant) -> bool {
        if self.is_empty() {
            return true;
        }
        let mut records = self.records();
        let Some(ejection) = records.get_mut(&address).and_then(|record| record.ejection.as_mut()) else { return true };
        if now < ejection.until {
            return false;
        }
        ejection.probing = true;
        ejection.until = now + PROBE;
        true
    }

    /// Forgets servers that are none any more.
    pub fn keep(&self, is_member: impl Fn(&SocketAddr) -> bool) {
        let mut records = self.records();
        records.retain(|address, _| is_member(address));
        self.count.store(records.len(), Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn records(&self) -> MutexGuard<'_, HashMap<SocketAddr, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ejected(now: Instant) -> Ejections {
        let ejections = Ejections::default();
        assert_eq!([(); 3].map(|()| ejections.failed(SERVER, now, true)), [None, None, Some(seconds(10))]);
        ejections
    }

    #[test]
    fn three_failures_in_a_row_eject_and_an_answer_between_them_does_not_let_it_come_to_that() {
        let (ejections, now) = (Ejections::default(), Instant::now());
        for _ in 0..5 {
            assert_eq!([(); 2].map(|()| ejections.failed(SERVER, now, true)), [None, None]);
            assert!(!ejections.answered(SERVER));
        }
        let ejections = ejected(now);
        assert!(!ejections.admits(SERVER, now) && !ejections.admits(SERVER, now + seconds(9)));
        assert!(ejections.is_ejected(SERVER));
        let other = SocketAddr::from(([127, 0, 0, 1], 2));
        assert!(ejections.admits(other, now) && !ejections.is_ejected(other));
    }

    #[test]
    fn one_request_probes_and_its_answer_readmits() {
        let now = Instant::now();
        let ejections = ejected(now);
        let later = now + seconds(10);
        assert!(ejections.admits(SERVER, later) && !ejections.admits(SERVER, later), "one, and no other");
        assert!(ejections.answered(SERVER));
        assert!([(); 3].iter().all(|()| ejections.admits(SERVER, later)) && !ejections.is_ejected(SERVER));
        assert_eq!(ejections.failed(SERVER, later, true), None, "and counting begins anew");
    }

    #[test]
    fn a_probe_that_fails_ejects_for_twice_as_long_up_to_a_minute() {
        let mut now = Instant::now();
        let ejections = ejected(now);
        assert_eq!(ejections.failed(SERVER, now, true), None, "a straggler changes nothing");
        let mut lasts = seconds(10);
        for next in [20, 40, 60, 60].map(seconds) {
            now += lasts;
            assert!(!ejections.admits(SERVER, now - Duration::from_millis(1)));
            assert!(ejections.admits(SERVER, now));
            assert_eq!(ejections.failed(SERVER, now, true), Some(next));
            lasts = next;
        }
    }

    #[test]
    fn a_probe_without_an_end_is_followed_by_another() {
        let now = Instant::now();
        let ejections = ejected(now);
        let mut now = now + seconds(10);
        for _ in 0..3 {
            assert!(ejections.admits(SERVER, now) && !ejections.admits(SERVER, now + seconds(9)));
            now += PROBE;
        }
    }

    #[test]
    fn who_has_no_stand_in_stays() {
        let (ejections, now) = (Ejections::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(ejections.failed(SERVER, now, false), None);
        }
        assert!(ejections.admits(SERVER, now));
        assert_eq!(ejections.failed(SERVER, now, true), Some(seconds(10)), "as soon as there is one");
        ejections.keep(|_| false);
        assert!(ejections.admits(SERVER, now) && !ejections.is_ejected(SERVER));
    }
}
