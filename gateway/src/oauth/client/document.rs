//! A client that publishes a document about itself, and whose client id is the document's URL (Client ID Metadata Documents,
//! draft-ietf-oauth-client-id-metadata-document; A13).
//!
//! The URL comes from a stranger, and we fetch it: server-side request forgery by design (A14, T19). What stands against it:
//!
//! | file | guard |
//! | --- | --- |
//! | [`url`] | one spelling, https, a DNS name; the port and, by default, the host from the operator's list |
//! | [`fetch`] | the name resolved once, every address judged, the connection to those addresses; no redirect, no proxy, 3 s, 5 KiB |
//! | [`address`] | which addresses are somebody's on the public Internet |
//! | [`allowance`] | how many at once and how often, for each host, for each source of strange URLs, and in all |
//! | [`content`] | what a document must say, and must not |
//!
//! Here: the cache, with one fetch at a time for each document.

pub mod address;
mod allowance;
mod content;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod url;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use lru::LruCache;

pub use fetch::{Network, Resolver};
pub use url::DocumentHost;

use super::{Client, NoClient};
use crate::clock::{Clock, Timestamp};
use crate::public_url::PublicUrl;
use crate::source::SourceAddress;
use allowance::Allowance;
use fetch::{FetchError, Fetcher};
use url::DocumentUrl;

/// Where documents may come from.
#[derive(Clone, Debug)]
pub struct DocumentSettings {
    /// Empty: any public host, at port 443.
    pub hosts: Vec<DocumentHost>,
    pub network: Network,
}

/// A document is believed for as long as its headers say, within these bounds.
const FRESH_AT_LEAST: Duration = Duration::from_secs(5 * 60);
const FRESH_AT_MOST: Duration = Duration::from_secs(24 * 3600);
/// A bad or missing document is not asked for again for a while.
const REFUSED_FOR: Duration = Duration::from_secs(60);
const DOCUMENTS_AT_MOST: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
const REFUSALS_AT_MOST: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

pub struct Documents {
    hosts: Vec<DocumentHost>,
    custom_schemes: Vec<String>,
    ours: PublicUrl,
    fetcher: Fetcher,
    clock: Clock,
    /// For documents that were good before, or whose client shows something of ours.
    for_known: Allowance,
    /// For whatever else is named: anybody can invent URLs.
    for_strange: Allowance,
    cache: Mutex<Cache>,
}

/// For whose sake a document is fetched.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    /// Anybody at this address.
    Stranger(SourceAddress),
    /// Whoever holds a code or a token that we sealed for just this client: it was here before.
    Holder,
}

struct Cache {
    /// The good ones, fresh or not: who is in it is known.
    documents: LruCache<String, Document>,
    refusals: LruCache<String, (NoClient, Timestamp)>,
    /// Held by whoever fetches; the others wait and then look into the cache.
    flights: HashMap<String, Weak<tokio::sync::Mutex<()>>>,
}

struct Document {
    client: Client,
    fresh_until: Timestamp,
    /// A publisher that does not answer must not sign out everybody who uses its client.
    usable_until: Timestamp,
}

impl Documents {
    pub fn new(
        settings: &DocumentSettings,
        custom_schemes: &[String],
        ours: PublicUrl,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            hosts: settings.hosts.clone(),
            custom_schemes: custom_schemes.to_vec(),
            ours,
            fetcher: Fetcher::new(&settings.network)?,
            clock,
            for_known: Allowance::default(),
            for_strange: Allowance::default(),
            cache: Mutex::new(Cache {
                documents: LruCache::new(DOCUMENTS_AT_MOST),
                refusals: LruCache::new(REFUSALS_AT_MOST),
                flights: HashMap::new(),
            }),
        })
    }

    /// Whether the same documents are fetched, and read in the same way.
    pub fn reads_as(&self, other: &Self) -> bool {
        self.hosts == other.hosts && self.custom_schemes == other.custom_schemes
    }

    /// Whether only hosts of the operator's list are asked.
    pub fn are_listed(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Whether `client_id` is the URL of a document that would be fetched.
    pub fn may_be_at(&self, client_id: &str) -> bool {
        self.url(client_id).is_ok()
    }

    /// The client that the document at `client_id` describes.
    pub async fn find(&self, client_id: &str, asker: Asker) -> Result<Client, NoClient> {
        let url = self.url(client_id).map_err(|cause| NoClient::Unknown(cause.to_owned()))?;
        if let Some(known) = self.known(&url) {
            return known;
        }
        let flight = self.flight(&url);
        let _turn = flight.lock().await;
        match self.known(&url) {
            Some(known) => known,
            None => self.fetch(&url, asker).await,
        }
    }

    fn url(&self, client_id: &str) -> Result<DocumentUrl, &'static str> {
        let url = DocumentUrl::parse(client_id)?;
        match url.is_at_one_of(&self.hosts) {
            true => Ok(url),
            false => Err("a document at a host that is not on the list"),
        }
    }

    async fn fetch(&self, url: &DocumentUrl, asker: Asker) -> Result<Client, NoClient> {
        let slot = match asker {
            Asker::Stranger(source) if !self.cache().documents.contains(url.as_str()) => {
                self.for_strange.take(url.authority(), Some(source), self.clock.now())
            }
            Asker::Stranger(_) | Asker::Holder => self.for_known.take(url.authority(), None, self.clock.now()),
        };
        let Some(_slot) = slot else {
            let busy = NoClient::Unavailable("too many documents are asked for".to_owned());
            return self.cache().usable(url, self.clock.now()).ok_or(busy);
        };
        let fetched = self.fetcher.get(url).await.and_then(|fetched| {
            let client =
                content::read(url, &fetched.body, &self.custom_schemes, &self.ours).map_err(FetchError::Bad)?;
            Ok((client, fetched.lifetime))
        });
        let now = self.clock.now();
        let mut cache = self.cache();
        match fetched {
            Ok((client, lifetime)) => {
                let lifetime = lifetime.unwrap_or_default().clamp(FRESH_AT_LEAST, FRESH_AT_MOST);
                let (fresh_until, usable_until) = (now.after(lifetime), now.after(FRESH_AT_MOST));
                let document = Document { client: client.clone(), fresh_until, usable_until };
                cache.documents.put(url.as_str().to_owned(), document);
                Ok(client)
            }
            Err(error) => {
                tracing::warn!(host = url.authority(), cause = %error, "a client's metadata document was not read");
                let refusal = match error {
                    FetchError::NoAnswer(cause) => NoClient::Unavailable(cause),
                    FetchError::Bad(cause) => {
                        cache.documents.pop(url.as_str());
                        NoClient::BadDocument(cause)
                    }
                };
                cache.refusals.put(url.as_str().to_owned(), (refusal.clone(), now.after(REFUSED_FOR)));
                cache.usable(url, now).ok_or(refusal)
            }
        }
    }

    /// What the cache says: a document while it is fresh, and "no" for a minute.
    fn known(&self, url: &DocumentUrl) -> Option<Result<Client, NoClient>> {
        let now = self.clock.now();
        let mut cache = self.cache();
        if let Some(document) = cache.documents.get(url.as_str()).filter(|known| !known.fresh_until.has_passed(now)) {
            return Some(Ok(document.client.clone()));
        }
        let (refusal, until) = cache.refusals.get(url.as_str())?;
        if until.has_passed(now) {
            return None;
        }
        let refusal = refusal.clone();
        Some(cache.usable(url, now).ok_or(refusal))
    }

    fn flight(&self, url: &DocumentUrl) -> Arc<tokio::sync::Mutex<()>> {
        let mut cache = self.cache();
        cache.flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = cache.flights.get(url.as_str()).and_then(Weak::upgrade).unwrap_or_default();
        cache.flights.insert(url.as_str().to_owned(), Arc::downgrade(&flight));
        flight
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Each use leaves the cache whole, so that one that panicked left nothing half done.
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Cache {
    fn usable(&mut self, url: &DocumentUrl, now: Timestamp) -> Option<Client> {
        let document = self.documents.get(url.as_str())?;
        (!document.usable_until.has_passed(now)).then(|| document.client.clone())
    }
}

#[cfg(test)]
mod tests;
