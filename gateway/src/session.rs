//! Sessions: from a bearer token to what may go upstream.
//!
//! A session begins when Entra has signed a user in, and holds Entra's tokens under a key that needs both our ring and the
//! secret inside the client's tokens. [`Sessions::admit`] is the hot path, and the only maker of an [`Admitted`]; what it
//! found it keeps at hand for a moment (`cache`), and hears from other replicas when that has ended (`hearing`).
//! [`Sessions::refresh`] keeps a session going: Entra's tokens are renewed when they are close to their end, by one caller
//! at a time, and the client's refresh token is rotated. [`Sessions::renew_refused`] does so early for a token that its server
//! refuses, and keeps what only the user can answer until that user comes (`step_up`). [`Sessions::end`] and [`Sessions::revoke`] end it everywhere, and
//! [`Sessions::over`] tells what is open for it.
//! What an operator may know of sessions, and how one ends them, is in the [`Roster`].

mod admitted;
mod audited;
mod background;
mod cache;
mod flights;
#[cfg(test)]
mod flights_tests;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hearing;
mod lookup;
mod over;
mod record;
mod refresh;
mod refused;
mod renewal;
mod revocation;
mod roster;
mod step_up;
mod token;
mod uses;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use entra::SignIn;
use serde::{Deserialize, Serialize};

pub use admitted::{Admitted, Denied};
pub use audited::{Ending, Whose};
pub use hearing::REVOKED;
pub use lookup::Tier;
pub use refresh::{NotRefreshed, Over};
pub use roster::{
    BadSelector, List, Listed, ListedClient, ListedUser, Listing, NotRevoked, Revoked, Roster, Selector, Which, Who,
};
pub use token::{Grant, IssuedTokens, RefreshToken};
pub use watch::{StreamSlot, Watch};

use crate::access::Access;
use crate::audit::{Audit, Context};
use crate::clock::{Clock, Timestamp};
use crate::sealed::{Id, Index, Purpose, Sealer};
use crate::secret::{SecretKey, random_fraction};
use crate::store::{Generations, Locks, OpenTable, Store, StoreError, Table};
use background::Background;
use cache::Cache;
use flights::Flights;
use hearing::Hearing;
use record::{EntraTokens, Record};
use token::AccessToken;
use uses::Uses;
use watch::OpenStreams;

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a client's access token lives at most.
    pub access_lifetime: Duration,
    /// How long a session lives after its last refresh.
    pub session_idle: Duration,
    /// How long a session lives at most, whatever Entra says.
    pub session_max: Duration,
    /// For how long a refresh token that was used may be used again, and gives the same successor (D7).
    pub refresh_grace: Duration,
    /// How many sessions are kept at hand in this process; 0 asks the store at every request.
    pub cached: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access_lifetime: Duration::from_secs(3600),
            session_idle: Duration::from_secs(24 * 3600),
            session_max: Duration::from_secs(7 * 24 * 3600),
            refresh_grace: Duration::from_secs(45),
            cached: 10_000,
        }
    }
}

/// Begins, admits, refreshes and ends sessions. Clones share them all, and may differ in the rules.
#[derive(Clone)]
pub struct Sessions {
    settings: Settings,
    /// By which requests are admitted.
    access: Arc<Access>,
    /// The rules of now, for what outlives a request: what is open, and what a renewal keeps of a user.
    access_now: Arc<ArcSwap<Access>>,
    sealer: Sealer,
    clock: Clock,
    entra: Arc<entra::Client>,
    table: Arc<Table<Record>>,
    generations: Arc<Generations>,
    locks: Arc<Locks>,
    flights: Arc<Flights<Index>>,
    streams: OpenStreams,
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
    hearing: Arc<Hearing>,
    background: Arc<Background>,
    roster: Arc<Roster>,
    uses: Arc<Uses>,
    audit: Audit,
    /// Claims, as JSON.
    step_ups: Arc<OpenTable<String>>,
}

/// What opens a session: its name and the secret that its record is sealed with. Travels only inside sealed values.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Handle {
    id: Id,
    secret: SecretKey,
}

/// A session that has begun, as it waits for the client that will use it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begun {
    handle: Handle,
    /// When the first access token must end.
    expires: Timestamp,
    /// Whether Entra gave what renews it.
    renewable: bool,
}

impl Sessions {
    pub fn new(
        settings: Settings,
        store: Arc<dyn Store>,
        sealer: Sealer,
        clock: Clock,
        entra: Arc<entra::Client>,
        access: Access,
        audit: Audit,
    ) -> Self {
        let access = Arc::new(access);
        let step_ups = OpenTable::new(store.clone(), sealer.clone(), clock.clone(), step_up::KIND, Purpose::StepUp);
        Self {
            table: Arc::new(Table::new(store.clone(), sealer.clone(), clock.clone(), record::KIND)),
            generations: Arc::new(Generations::new(store.clone())),
            locks: Arc::new(Locks::new(store.clone())),
            flights: Arc::default(),
            streams: OpenStreams::default(),
            cache: Arc::new(Cache::new(settings.cached)),
            hearing: Arc::default(),
            background: Arc::default(),
            roster: Arc::new(Roster::new(store.clone(), sealer.clone(), clock.clone())),
            uses: Arc::default(),
            audit,
            step_ups: Arc::new(step_ups),
            store,
            settings,
            access_now: Arc::new(ArcSwap::new(access.clone())),
            access,
            sealer,
            clock,
            entra,
        }
    }

    /// The same sessions, for requests that begin under other rules. What is open goes by them from [`Sessions::rule`] on.
    pub fn under(&self, access: Access) -> Self {
        Self { access: Arc::new(access), ..self.clone() }
    }

    /// These rules are the ones of now: a stream that they do not allow any more is cut within half a minute.
    pub fn rule(&self) {
        self.access_now.store(self.access.clone());
    }

    /// How many sessions are kept in memory.
    pub fn at_hand(&self) -> usize {
        self.cache.len()
    }

    /// Who may use what. A session keeps what its user is of all that these rules name.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Keeps what Entra gave for as long as it is worth something. `scope` is what it was asked for, and will be again;
    /// `grant` is whose it will be, and `client_name` what that calls itself.
    pub async fn begin(
        &self,
        sign_in: &SignIn,
        scope: &str,
        grant: &Grant,
        client_name: &str,
    ) -> Result<Begun, StoreError> {
        let now = self.clock.now();
        let entra = EntraTokens::new(&sign_in.access_token, sign_in.refresh_token.as_ref(), now, random_fraction());
        let renewable = sign_in.refresh_token.is_some();
        let ends = now.after(self.settings.session_max);
        let ends = if renewable { ends } else { ends.min(entra.ends) };
        let handle = Handle { id: self.sealer.new_id(), secret: SecretKey::random() };
        let listing = Listing::new(handle.id.key(), &sign_in.user, grant, client_name, now, ends);
        let membership = self.access.of(&sign_in.memberships);
        let mut record = Record {
            entra,
            scope: scope.to_owned(),
            listing,
            kept_until: now,
            trouble: None,
            challenged: None,
            membership,
        };
        let lifetime = record.keep(now, self.settings.session_idle);
        let unavailable = |cause: &str| StoreError::Unavailable(cause.to_owned());
        let session =
            self.sealer.index(&handle.id).ok_or_else(|| unavailable("the session's key has left the ring"))?;
        // The record comes last: there is no session that operators do not see.
        self.roster.enter(session, &record.listing).await?;
        if renewable {
            self.generations.start(session, now, lifetime).await?;
        }
        self.table.put(&handle.id, &handle.secret, &record, lifetime).await?;
        if !self.roster.has(session).await? {
            self.end(session, Ending::EndedAtItsBeginning, &Context::default()).await?;
            return Err(unavailable("the session was ended while it began"));
        }
        Ok(Begun { handle, expires: record.expires(), renewable })
    }

    /// The first tokens for a client that was granted the use of a session.
    pub fn issue(&self, begun: &Begun, grant: &Grant) -> IssuedTokens {
        self.issue_until(begun.expires, &begun.handle, begun.renewable.then_some(0), grant)
    }

    /// What the store calls this session; enough to end it, not to open it.
    pub fn index(&self, begun: &Begun) -> Option<Index> {
        self.sealer.index(&begun.handle.id)
    }

    /// Lifetimes are true: an access token ends before Entra's token does that it stands for, and before its session.
    fn issue_until(&self, expires: Timestamp, handle: &Handle, generation: Option<u32>, grant: &Grant) -> IssuedTokens {
        let now = self.clock.now();
        let expires_in = expires.remaining(now).min(self.settings.access_lifetime);
        let access_token = AccessToken {
            id: handle.id,
            secret: handle.secret.clone(),
            expires: now.after(expires_in),
            client: grant.client,
        };
        let refresh_token = |generation| RefreshToken { handle: handle.clone(), generation, grant: grant.clone() };
        IssuedTokens {
            access_token: access_token.seal(&self.sealer, &grant.resource),
            expires_in,
            refresh_token: generation.map(|generation| refresh_token(generation).seal(&self.sealer)),
        }
    }
}

/// What logs call a session: enough to find its lines, too little to be its name in the store.
fn reference(session: Index) -> String {
    let [first, second, third, fourth, ..] = session.0;
    format!("{:08x}", u32::from_be_bytes([first, second, third, fourth]))
}

#[cfg(test)]
mod tests;
