//! What a browser remembers: clients approved and clients denied. The browser keeps it, sealed, and shows it to its user.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::cookies::Content;
use crate::clock::Timestamp;
use crate::sealed::Purpose;

/// With the longest labels, 25 entries make a cookie of 3.5 KB; browsers drop those above 4.
const APPROVED_AT_MOST: usize = 25;
const DENIED_AT_MOST: usize = 10;
/// Bytes of each text of a label.
const LABEL_AT_MOST: usize = 32;

/// What the user approved on this browser and wants not to be asked for again; the newest last.
#[derive(Default, Serialize, Deserialize)]
pub struct ApprovedClients(Entries);

/// Clients that the user refused on this browser a short while ago.
#[derive(Default, Serialize, Deserialize)]
pub struct DeniedClients(Entries);

/// By which the user recognises an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub name: String,
    /// Where the answer goes.
    pub destination: String,
}

/// One entry, for its owner to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Names the entry in a form. It means nothing elsewhere.
    pub id: String,
    pub label: Label,
    pub remaining: Duration,
}

#[derive(Default, Serialize, Deserialize)]
struct Entries(Vec<Entry>);

#[derive(Serialize, Deserialize)]
struct Entry {
    /// A digest.
    what: [u8; 32],
    expires: Timestamp,
    label: Label,
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

    pub fn add(&mut self, what: [u8; 32], label: Label, now: Timestamp) {
        self.0.add(what, label, now, Self::LIFETIME, APPROVED_AT_MOST);
    }

    pub fn remove(&mut self, what: &[u8; 32]) {
        self.0.remove(what);
    }

    /// The newest first.
    pub fn list(&self, now: Timestamp) -> Vec<Listed> {
        self.0.list(now)
    }

    /// Forgets the entry that [`Listed::id`] names.
    pub fn forget(&mut self, id: &str) {
        self.0.forget(id);
    }
}

impl DeniedClients {
    pub const REMEMBERED: Duration = Self::LIFETIME;

    /// How long ago the client was refused.
    pub fn age(&self, what: &[u8; 32], now: Timestamp) -> Option<Duration> {
        let entry = self.0.find(what, now)?;
        Some(Self::LIFETIME.saturating_sub(entry.expires.remaining(now)))
    }

    pub fn add(&mut self, what: [u8; 32], label: Label, now: Timestamp) {
        self.0.add(what, label, now, Self::LIFETIME, DENIED_AT_MOST);
    }

    pub fn remove(&mut self, what: &[u8; 32]) {
        self.0.remove(what);
    }

    /// The newest first.
    pub fn list(&self, now: Timestamp) -> Vec<Listed> {
        self.0.list(now)
    }

    /// Forgets the entry that [`Listed::id`] names.
    pub fn forget(&mut self, id: &str) {
        self.0.forget(id);
    }
}

impl Label {
    /// Cuts both texts to what a cookie has room for. Of a name the beginning is kept, of a destination the end: who a host
    /// belongs to stands there.
    pub fn new(name: &str, destination: &str) -> Self {
        Self { name: beginning(name), destination: end(destination) }
    }
}

impl Entries {
    fn find(&self, what: &[u8; 32], now: Timestamp) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.what == *what && !entry.expires.has_passed(now))
    }

    fn remove(&mut self, what: &[u8; 32]) {
        self.0.retain(|entry| entry.what != *what);
    }

    fn list(&self, now: Timestamp) -> Vec<Listed> {
        let valid = self.0.iter().rev().filter(|entry| !entry.expires.has_passed(now));
        let listed = |entry: &Entry| Listed {
            id: entry.id(),
            label: entry.label.clone(),
            remaining: entry.expires.remaining(now),
        };
        valid.map(listed).collect()
    }

    fn forget(&mut self, id: &str) {
        self.0.retain(|entry| entry.id() != id);
    }

    /// Bounded, or the browser would one day send more than a server takes, and be locked out (S3).
    fn add(&mut self, what: [u8; 32], label: Label, now: Timestamp, lifetime: Duration, at_most: usize) {
        self.0.retain(|entry| entry.what != what && !entry.expires.has_passed(now));
        let surplus = (self.0.len() + 1).saturating_sub(at_most);
        self.0.drain(..surplus);
        self.0.push(Entry { what, expires: now.after(lifetime), label });
    }
}

impl Entry {
    fn id(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.what)
    }
}

fn beginning(text: &str) -> String {
    if text.len() <= LABEL_AT_MOST {
        return text.to_owned();
    }
    format!("{}{CUT}", &text[..text.floor_char_boundary(LABEL_AT_MOST - CUT.len())])
}

fn end(text: &str) -> String {
    if text.len() <= LABEL_AT_MOST {
        return text.to_owned();
    }
    format!("{CUT}{}", &text[text.ceil_char_boundary(text.len() + CUT.len() - LABEL_AT_MOST)..])
}

const CUT: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    fn label(name: &str) -> Label {
        Label::new(name, "client.example")
    }

    #[test]
    fn the_oldest_approval_makes_room() {
        let mut approved = ApprovedClients::default();
        for number in 0..=25 {
            approved.add([number; 32], label("x"), NOW);
        }
        assert!(!approved.contains(&[0; 32], NOW));
        assert!(approved.contains(&[1; 32], NOW) && approved.contains(&[25; 32], NOW));
        assert_eq!(approved.0.0.len(), APPROVED_AT_MOST);
    }

    #[test]
    fn each_approval_ends_by_itself() {
        let mut approved = ApprovedClients::default();
        approved.add([1; 32], label("x"), NOW);
        let later = NOW.after(Duration::from_secs(20 * 24 * 3600));
        approved.add([2; 32], label("x"), later);
        let end = NOW.after(ApprovedClients::LIFETIME);
        assert!(!approved.contains(&[1; 32], end) && approved.contains(&[2; 32], end));
        assert_eq!(approved.list(end).len(), 1);
    }

    #[test]
    fn a_refusal_is_remembered_for_ten_minutes_or_until_it_is_taken_back() {
        let mut denied = DeniedClients::default();
        denied.add([1; 32], label("x"), NOW);
        let later = NOW.after(Duration::from_secs(180));
        assert_eq!(denied.age(&[1; 32], later), Some(Duration::from_secs(180)));
        assert_eq!(denied.age(&[1; 32], NOW.after(DeniedClients::LIFETIME)), None);
        denied.remove(&[1; 32]);
        assert_eq!(denied.age(&[1; 32], later), None);
    }

    #[test]
    fn an_entry_is_listed_and_forgotten_by_its_id() {
        let mut approved = ApprovedClients::default();
        approved.add([1; 32], label("first"), NOW);
        approved.add([2; 32], label("second"), NOW);
        let listed = approved.list(NOW);
        let names: Vec<_> = listed.iter().map(|entry| entry.label.name.as_str()).collect();
        assert_eq!(names, ["second", "first"]);
        assert_eq!(listed[0].remaining, ApprovedClients::LIFETIME);
        approved.forget("unknown");
        approved.forget(&listed[0].id);
        assert!(approved.contains(&[1; 32], NOW) && !approved.contains(&[2; 32], NOW));
    }

    #[test]
    fn a_label_keeps_the_beginning_of_a_name_and_the_end_of_a_host() {
        let cut = Label::new(&"ü".repeat(40), &format!("{}evil.example:8443", "claude.ai.".repeat(9)));
        assert_eq!(cut.name, format!("{}…", "ü".repeat(14)));
        assert_eq!(cut.destination, "…i.claude.ai.evil.example:8443");
        assert!(cut.name.len() <= LABEL_AT_MOST && cut.destination.len() <= LABEL_AT_MOST);
        let short = Label::new(&"x".repeat(32), "client.example");
        assert_eq!((short.name.len(), short.destination.as_str()), (32, "client.example"));
    }
}
