//! Cookies: one type for each, sealed, and one place for their attributes.
//!
//! All are `__Host-`, `Secure`, `HttpOnly`, `Path=/` and `SameSite=Lax` (D-3): Entra's answer is a top-level GET, so Lax
//! suffices. A cookie opens only under its own full name, and carries its own end of life.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ApprovedClients, DeniedClients, Transaction};
use crate::clock::{Clock, Timestamp};
use crate::sealed::{Id, Purpose, Sealer};
use crate::secret::SecretKey;

/// How many authorizations may be open in one browser at a time. More cookies would outgrow what servers accept as a
/// header, and lock the browser out.
pub const OPEN_TRANSACTIONS: usize = 6;

/// What a cookie holds.
pub trait Content: Serialize + DeserializeOwned {
    const NAME: &'static str;
    const PURPOSE: Purpose;
    const LIFETIME: Duration;
}

/// Content of which a browser has one per transaction; its name ends in the transaction's suffix.
pub trait PerTransaction: Content {
    fn transaction(&self) -> Transaction;
}

/// This browser was shown the consent page.
#[derive(Serialize, Deserialize)]
pub struct ConsentState {
    pub transaction: Transaction,
}

/// One half of the double submit; the other is in the form.
#[derive(Serialize, Deserialize)]
pub struct CsrfToken {
    pub transaction: Transaction,
    pub token: SecretKey,
}

/// This browser said yes and was sent to Entra (D-4). The binder opens the stored record.
#[derive(Serialize, Deserialize)]
pub struct EntraState {
    pub transaction: Transaction,
    pub id: Id,
    pub binder: SecretKey,
}

/// The cookies of one request, still sealed.
pub struct Jar(HashMap<String, Option<String>>);

/// Seals cookies and opens them.
pub struct Cookies {
    sealer: Sealer,
    clock: Clock,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    expires: Timestamp,
    content: T,
}

impl Content for ConsentState {
    const NAME: &'static str = "__Host-MCP_CONSENT_STATE";
    const PURPOSE: Purpose = Purpose::ConsentStateCookie;
    const LIFETIME: Duration = Duration::from_secs(900);
}

impl Content for CsrfToken {
    const NAME: &'static str = "__Host-MCP_CSRF_TOKEN";
    const PURPOSE: Purpose = Purpose::CsrfTokenCookie;
    const LIFETIME: Duration = Duration::from_secs(900);
}

impl Content for EntraState {
    const NAME: &'static str = "__Host-MCP_ENTRA_STATE";
    const PURPOSE: Purpose = Purpose::EntraStateCookie;
    const LIFETIME: Duration = Duration::from_secs(600);
}

impl PerTransaction for ConsentState {
    fn transaction(&self) -> Transaction {
        self.transaction
    }
}

impl PerTransaction for CsrfToken {
    fn transaction(&self) -> Transaction {
        self.transaction
    }
}

impl PerTransaction for EntraState {
    fn transaction(&self) -> Transaction {
        self.transaction
    }
}

impl Jar {
    /// Reads every `Cookie` header. A name that is there twice is ambiguous and counts as absent: one of the two was put
    /// there by somebody else.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values: HashMap<String, Option<String>> = HashMap::new();
        // Pair by pair: a cookie of a sibling site that is not text must not hide ours.
        let pairs = headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
        for pair in pairs.filter_map(|pair| std::str::from_utf8(pair).ok()) {
            if let Ok(cookie) = Cookie::parse(pair.trim()) {
                values
                    .entry(cookie.name().to_owned())
                    .and_modify(|value| *value = None)
                    .or_insert_with(|| Some(cookie.value().to_owned()));
            }
        }
        Self(values)
    }
}

impl Cookies {
    pub fn new(sealer: Sealer, clock: Clock) -> Self {
        Self { sealer, clock }
    }

    /// What the browser brings, if it is ours and has not expired.
    pub fn get<T: Content>(&self, jar: &Jar) -> Option<T> {
        self.open(jar, T::NAME).map(|envelope| envelope.content)
    }

    pub fn get_for<T: PerTransaction>(&self, jar: &Jar, transaction: Transaction) -> Option<T> {
        let name = name_for::<T>(&transaction.suffix());
        let content = self.open(jar, &name)?.content;
        Some(content).filter(|content: &T| content.transaction() == transaction)
    }

    /// All of one kind, of whatever transaction.
    pub fn all<'a, T: PerTransaction + 'a>(&'a self, jar: &'a Jar) -> impl Iterator<Item = T> + 'a {
        jar.0
            .keys()
            .filter(|name| suffix_of::<T>(name).is_some())
            .filter_map(|name| self.open(jar, name).map(|envelope| envelope.content))
    }

    /// A `Set-Cookie` with a fresh lifetime.
    pub fn set<T: Content>(&self, content: &T) -> HeaderValue {
        self.seal(T::NAME, content)
    }

    pub fn set_for<T: PerTransaction>(&self, content: &T) -> HeaderValue {
        self.seal(&name_for::<T>(&content.transaction().suffix()), content)
    }

    pub fn clear_for<T: PerTransaction>(&self, transaction: Transaction) -> HeaderValue {
        cleared(&name_for::<T>(&transaction.suffix()))
    }

    /// Clears whatever is ours.
    pub fn clear_all(&self, jar: &Jar) -> Vec<HeaderValue> {
        let lists = [ApprovedClients::NAME, DeniedClients::NAME];
        let ours = jar.0.keys().filter(|name| lists.contains(&name.as_str()) || any_suffix(name).is_some());
        ours.map(|name| cleared(name)).collect()
    }

    /// Clears the oldest transactions, so that with `current` at most [`OPEN_TRANSACTIONS`] stay.
    pub fn make_room(&self, jar: &Jar, current: Transaction) -> Vec<HeaderValue> {
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in jar.0.keys() {
            if let Some(suffix) = any_suffix(name) {
                names.entry(suffix).or_default().push(name);
            }
        }
        names.remove(current.suffix().as_str());
        let mut by_age: Vec<_> = names
            .into_values()
            .map(|names| (names.iter().filter_map(|name| self.expiry(jar, name)).max(), names))
            .collect();
        // What does not open has no end of life, and goes first.
        by_age.sort();
        let surplus = (by_age.len() + 1).saturating_sub(OPEN_TRANSACTIONS);
        by_age.into_iter().take(surplus).flat_map(|(_, names)| names).map(cleared).collect()
    }

    fn expiry(&self, jar: &Jar, name: &str) -> Option<Timestamp> {
        if suffix_of::<ConsentState>(name).is_some() {
            self.open::<ConsentState>(jar, name).map(|envelope| envelope.expires)
        } else if suffix_of::<CsrfToken>(name).is_some() {
            self.open::<CsrfToken>(jar, name).map(|envelope| envelope.expires)
        } else {
            self.open::<EntraState>(jar, name).map(|envelope| envelope.expires)
        }
    }

    fn open<T: Content>(&self, jar: &Jar, name: &str) -> Option<Envelope<T>> {
        let value = jar.0.get(name)?.as_deref()?;
        let envelope: Envelope<T> = self.sealer.open(T::PURPOSE, &[name.as_bytes()], value).ok()?;
        (!envelope.expires.has_passed(self.clock.now())).then_some(envelope)
    }

    fn seal<T: Content>(&self, name: &str, content: &T) -> HeaderValue {
        let envelope = Envelope { expires: self.clock.now().after(T::LIFETIME), content };
        let value = self.sealer.seal(T::PURPOSE, &[name.as_bytes()], &envelope);
        set_cookie(name, &value, T::LIFETIME)
    }
}

fn name_for<T: PerTransaction>(suffix: &str) -> String {
    format!("{}-{suffix}", T::NAME)
}

/// Only what we could have set: names that somebody made up are not answered, lest thousands of them are.
fn suffix_of<T: PerTransaction>(name: &str) -> Option<&str> {
    let suffix = name.strip_prefix(T::NAME)?.strip_prefix('-')?;
    (suffix.len() == 8 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(suffix)
}

fn any_suffix(name: &str) -> Option<&str> {
    suffix_of::<ConsentState>(name).or(suffix_of::<CsrfToken>(name)).or(suffix_of::<EntraState>(name))
}

fn cleared(name: &str) -> HeaderValue {
    set_cookie(name, "", Duration::ZERO)
}

fn set_cookie(name: &str, value: &str, lifetime: Duration) -> HeaderValue {
    let seconds = i64::try_from(lifetime.as_secs()).expect("cookies live for days, not for ages");
    let cookie = Cookie::build((name, value))
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::seconds(seconds));
    HeaderValue::try_from(cookie.to_string()).expect("names and sealed values are visible ASCII")
}

#[cfg(test)]
mod tests;
