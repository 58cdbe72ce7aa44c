//! The environment: the only file that reads it, through something that a test can replace.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::nearest;

/// The variables that configure us, and which of them were asked for.
#[derive(Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl Environment {
    pub fn of_the_process() -> Self {
        // A variable that is not Unicode is none of ours: every value of ours is text.
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The name of a key's variable: `listen.address` is `SALLYPORT_LISTEN__ADDRESS`.
    pub(super) fn name_of(key: &str) -> String {
        format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_ascii_uppercase())
    }

    /// The variable that was asked for and whose name is nearest to this one. What all of them begin with does not count.
    pub(super) fn nearest_to(&self, name: &str) -> Option<String> {
        let asked = self.asked.borrow();
        let paths = asked.iter().filter_map(|asked| asked.strip_prefix(PREFIX));
        nearest(name.strip_prefix(PREFIX)?, paths).map(|path| format!("{PREFIX}{path}"))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a key below `key` is set.
    pub(super) fn has_below(&self, key: &str) -> bool {
        let prefix = Self::name_of(key) + SEPARATOR;
        self.variables.keys().any(|name| name.starts_with(&prefix))
    }

    /// Variables that look like ours and that nobody asked for. A name without the separator is left alone: beside a
    /// service named `sallyport`, Kubernetes sets `SALLYPORT_PORT`, `SALLYPORT_SERVICE_HOST` and more.
    pub(super) fn unknown(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let ours = |name: &&String| name.strip_prefix(PREFIX).is_some_and(|path| path.contains(SEPARATOR));
        self.variables.keys().filter(ours).filter(|name| !asked.contains(*name)).cloned().collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect(), asked: RefCell::default() }
    }
}

const PREFIX: &str = "SALLYPORT_";
const SEPARATOR: &str = "__";
