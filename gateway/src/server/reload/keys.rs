//! Every key that has a value, so that two readings of a configuration can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest, Sha256};

/// By name: dotted, with `[]` behind that of a list of tables.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<String, Vec<Key>>);

#[derive(Clone, Debug)]
pub struct Key {
    /// As the configuration writes it.
    pub value: String,
    /// Of the file that it names, where that is read at the start only.
    pub content: Option<Content>,
    /// Whether somebody wrote it: else it follows from other keys.
    pub is_set: bool,
    /// Whether a running server can take another one.
    pub is_live: bool,
}

/// The SHA-256 of a file that may hold a secret, to be compared and never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Content([u8; 32]);

impl Keys {
    /// Those of one name, in lists of tables, are compared in their order.
    pub fn add(&mut self, name: String, key: Key) {
        self.0.entry(name).or_default().push(key);
    }

    /// Names of keys that are another in `now`, and that a running server takes.
    pub fn live_that_differ(&self, now: &Self) -> Vec<String> {
        self.that_differ(now, true)
    }

    /// Likewise, of those that it does not take.
    pub fn bound_that_differ(&self, now: &Self) -> Vec<String> {
        self.that_differ(now, false)
    }

    fn that_differ(&self, now: &Self, live: bool) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(now.0.keys()).collect();
        let differs = |name: &&&String| {
            let (before, after) = (self.of(name), now.of(name));
            let is_live = before.iter().chain(after).any(|key| key.is_live);
            let same = before.len() == after.len() && before.iter().zip(after).all(|(one, other)| one.is_like(other));
            is_live == live && !same
        };
        names.iter().filter(differs).map(|name| (*name).clone()).collect()
    }

    fn of(&self, name: &str) -> &[Key] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Key {
    /// What follows from other keys, before and now, is told where those are.
    fn is_like(&self, other: &Self) -> bool {
        (self.value == other.value && self.content == other.content) || !(self.is_set || other.is_set)
    }
}

impl Content {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Content(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(all: &[(&str, &str, bool)]) -> Keys {
        let mut keys = Keys::default();
        for (name, value, is_set) in all {
            let is_live = !name.starts_with("listen");
            keys.add((*name).to_owned(), Key { value: (*value).to_owned(), content: None, is_set: *is_set, is_live });
        }
        keys
    }

    #[test]
    fn what_was_changed_added_and_left_out_is_named() {
        let before = keys(&[("listen.address", "a", true), ("x.gone", "1", true), ("x.same", "1", true)]);
        let now = keys(&[("listen.address", "b", true), ("x.new", "1", true), ("x.same", "1", false)]);
        assert_eq!(before.live_that_differ(&now), ["x.gone", "x.new"]);
        assert_eq!(before.bound_that_differ(&now), ["listen.address"]);
        assert!(before.live_that_differ(&before).is_empty() && before.bound_that_differ(&before).is_empty());
    }

    #[test]
    fn what_follows_from_other_keys_is_not_named() {
        let before = keys(&[("x.name", "a", false), ("x.own", "a", false)]);
        let now = keys(&[("x.name", "b", false), ("x.own", "b", true)]);
        assert_eq!(before.live_that_differ(&now), ["x.own"]);
    }

    #[test]
    fn tables_of_a_list_are_compared_in_their_order() {
        let before = keys(&[("up[].name", "a", true), ("up[].name", "b", true)]);
        let turned = keys(&[("up[].name", "b", true), ("up[].name", "a", true)]);
        assert_eq!(before.live_that_differ(&turned), ["up[].name"]);
        assert_eq!(before.live_that_differ(&keys(&[("up[].name", "a", true)])), ["up[].name"]);
    }

    #[test]
    fn another_content_is_another_value_and_is_never_shown() {
        let of = |content: &[u8]| {
            let mut keys = keys(&[]);
            let key = Key { value: "f".to_owned(), content: Some(Content::of(content)), is_set: true, is_live: false };
            keys.add("store.password_file".to_owned(), key);
            keys
        };
        assert_eq!(of(b"one").bound_that_differ(&of(b"two")), ["store.password_file"]);
        assert!(format!("{:?}", of(b"one")).contains("Content(..)"));
    }
}
