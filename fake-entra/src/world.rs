//! Everything the stand-in remembers, in one place; dropped with the process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Clock;
use crate::directory::{Policies, Seed, User};
use crate::faults::Faults;
use crate::journal::Journal;
use crate::keys::KeyRing;
use crate::lock;
use crate::tickets::{Tickets, random_text};

/// Shared by every handler. Locks are held for lookups only, never across an await, and never two of one kind.
pub(crate) struct World {
    /// `http://127.0.0.1:PORT`, or what the feature `unmarked` says: the only source of URLs and issuers.
    pub base: String,
    /// Tokens say that they are nobody's.
    marked: bool,
    pub clock: Clock,
    pub keys: KeyRing,
    /// Made when first needed: most runs have no cluster.
    cluster_keys: OnceLock<KeyRing>,
    pub journal: Journal,
    pub faults: Faults,
    /// `IDENTITY_HEADER` of the App Service this stands for.
    pub identity_header: String,
    seed: Seed,
    directory: Mutex<Seed>,
    tickets: Mutex<Tickets>,
    next_logins: Mutex<VecDeque<String>>,
    lifetimes: Mutex<StdRng>,
}

impl World {
    pub fn new(base: String, marked: bool, seed: Seed, keys: KeyRing) -> World {
        World {
            base,
            marked,
            clock: Clock::default(),
            keys,
            cluster_keys: OnceLock::new(),
            journal: Journal::default(),
            faults: Faults::default(),
            identity_header: random_text(24),
            directory: Mutex::new(seed.clone()),
            tickets: Mutex::default(),
            next_logins: Mutex::default(),
            lifetimes: Mutex::new(StdRng::seed_from_u64(seed.policies.random_seed)),
            seed,
        }
    }

    /// Back to the start, except for keys (a rotation is not undone) and canaries.
    pub fn reset(&self) {
        *lock(&self.directory) = self.seed.clone();
        *lock(&self.tickets) = Tickets::default();
        *lock(&self.lifetimes) = StdRng::seed_from_u64(self.seed.policies.random_seed);
        lock(&self.next_logins).clear();
        self.faults.clear();
        self.journal.clear();
        self.clock.set_offset(0);
    }

    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    pub fn directory(&self) -> MutexGuard<'_, Seed> {
        lock(&self.directory)
    }

    pub fn tickets(&self) -> MutexGuard<'_, Tickets> {
        lock(&self.tickets)
    }

    pub fn policies(&self) -> Policies {
        self.directory().policies.clone()
    }

    pub fn queue_login(&self, upn: &str) {
        lock(&self.next_logins).push_back(upn.into());
    }

    /// Who signs in without a page now: the queue's first, else the tenant's standing choice.
    pub fn automatic_login(&self) -> Option<String> {
        lock(&self.next_logins).pop_front().or_else(|| self.policies().auto_login)
    }

    /// Seconds an access token lives: 60 to 90 minutes at random, or as the policy says.
    pub fn lifetime(&self) -> i64 {
        match self.policies().expires_in {
            Some(fixed) => fixed,
            None => lock(&self.lifetimes).random_range(3600..5400),
        }
    }

    /// Of the seed's own tenant, as of the next one.
    pub fn issuer(&self) -> String {
        self.issuer_of(&self.seed.tenant_id)
    }

    pub fn issuer_v1(&self) -> String {
        self.issuer_v1_of(&self.seed.tenant_id)
    }

    pub fn issuer_of(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.base)
    }

    /// Issuer of a tenant's tokens of version 1; stands for `https://sts.windows.net/{tid}/`.
    pub fn issuer_v1_of(&self, tenant: &str) -> String {
        format!("{}/{tenant}/", self.base)
    }

    pub fn tenant_of<'a>(&'a self, user: &'a User) -> &'a str {
        self.seed.tenant_of(user)
    }

    /// What no production program accepts a token with.
    pub fn mark(&self, claims: &mut Value) {
        if self.marked {
            claims["emu"] = json!(true);
        }
    }

    pub fn cluster_keys(&self) -> &KeyRing {
        self.cluster_keys.get_or_init(|| KeyRing::generate(1).expect("the system can make an RSA key"))
    }

    pub fn cluster_issuer(&self) -> String {
        format!("{}/k8s", self.base)
    }

    /// A projected service-account token of the stand-in's cluster for `subject`, valid for an hour.
    pub fn service_account_token(&self, subject: &str) -> String {
        let now = self.clock.now();
        let mut claims = json!({
            "aud": ["api://AzureADTokenExchange"], "iss": self.cluster_issuer(), "sub": subject,
            "iat": now, "nbf": now, "exp": now + 3600, "jti": Uuid::new_v4().to_string(),
        });
        self.mark(&mut claims);
        let token = self.cluster_keys().sign(json!({}), &claims);
        self.journal.canary(&token);
        token
    }
}
