//! What a browser remembers: clients approved and clients denied.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cookies::Content;
use crate::clock::Timestamp;
use crate::sealed::Purpose;

const APPROVED_AT_MOST: usize = 25;
const DENIED_AT_MOST: usize = 10;

/// Digests of what the user approved on this browser and wants not to be asked for again; the newest last.
#[derive(Default, Serialize, Deserialize)]
pub struct ApprovedClients(Entries);

/// Digests of clients that the user refused on this browser a short while ago.
#[derive(Default, Serialize, Deserialize)]
pub struct DeniedClients(Entries);

#[derive(Default, Serialize, Deserialize)]
struct Entries(Vec<Entry>);

#[derive(Serialize, Deserialize)]
struct Entry {
    what: [u8; 32],
    expires: Timestamp,
}

impl Content for ApprovedClients {
    const NAME: &'static str = "__Host-MCP_APPROVED_CLIENTS";
    const PURPOSE: Purpose = Purpose::ApprovedClientsCookie;
    const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
}

impl Content for DeniedClients {
    const NAME: &'static str = "__Host-MCP_DENIED_CLIENTS";
    const PURPOSE: Purpose = Purpose::DeniedClientsCookie;
    const LIFETIME: Duration = Duration::from_secs(600);
}

impl ApprovedClients {
    pub fn contains(&self, what: &[u8; 32], now: Timestamp) -> bool {
        self.0.find(what, now).is_some()
    }

    pub fn add(&mut self, what: [u8; 32], now: Timestamp) {
        self.0.add(what, now, Self::LIFETIME, APPROVED_AT_MOST);
    }

    pub fn remove(&mut self, what: &[u8; 32]) {
        self.0.remove(what);
    }
}

impl DeniedClients {
    /// How long ago the client was refused.
    pub fn age(&self, what: &[u8; 32], now: Timestamp) -> Option<Duration> {
        let entry = self.0.find(what, now)?;
        Some(Self::LIFETIME.saturating_sub(entry.expires.remaining(now)))
    }

    pub fn add(&mut self, what: [u8; 32], now: Timestamp) {
        self.0.add(what, now, Self::LIFETIME, DENIED_AT_MOST);
    }

    pub fn remove(&mut self, what: &[u8; 32]) {
        self.0.remove(what);
    }
}

impl Entries {
    fn find(&self, what: &[u8; 32], now: Timestamp) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.what == *what && !entry.expires.has_passed(now))
    }

    fn remove(&mut self, what: &[u8; 32]) {
        self.0.retain(|entry| entry.what != *what);
    }

    /// Bounded, or the browser would one day send more than a server takes, and be locked out (S3).
    fn add(&mut self, what: [u8; 32], now: Timestamp, lifetime: Duration, at_most: usize) {
        self.0.retain(|entry| entry.what != what && !entry.expires.has_passed(now));
        let surplus = (self.0.len() + 1).saturating_sub(at_most);
        self.0.drain(..surplus);
        self.0.push(Entry { what, expires: now.after(lifetime) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    #[test]
    fn the_oldest_approval_makes_room() {
        let mut approved = ApprovedClients::default();
        for number in 0..=25 {
            approved.add([number; 32], NOW);
        }
        assert!(!approved.contains(&[0; 32], NOW));
        assert!(approved.contains(&[1; 32], NOW) && approved.contains(&[25; 32], NOW));
        assert_eq!(approved.0.0.len(), APPROVED_AT_MOST);
    }

    #[test]
    fn each_approval_ends_by_itself() {
        let mut approved = ApprovedClients::default();
        approved.add([1; 32], NOW);
        let later = NOW.after(Duration::from_secs(20 * 24 * 3600));
        approved.add([2; 32], later);
        let end = NOW.after(ApprovedClients::LIFETIME);
        assert!(!approved.contains(&[1; 32], end) && approved.contains(&[2; 32], end));
    }

    #[test]
    fn a_refusal_is_remembered_for_ten_minutes_or_until_it_is_taken_back() {
        let mut denied = DeniedClients::default();
        denied.add([1; 32], NOW);
        let later = NOW.after(Duration::from_secs(180));
        assert_eq!(denied.age(&[1; 32], later), Some(Duration::from_secs(180)));
        assert_eq!(denied.age(&[1; 32], NOW.after(DeniedClients::LIFETIME)), None);
        denied.remove(&[1; 32]);
        assert_eq!(denied.age(&[1; 32], later), None);
    }
}
