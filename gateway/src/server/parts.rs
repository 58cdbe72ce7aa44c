//! The parts of an edge that stay as long as it serves, whatever becomes of its configuration.

use std::sync::Arc;

use entra::credential::Now;

use super::file_watch::FileWatch;
use super::ring::{self, RingFile};
use super::{BuildError, LiveSettings, RedisToken, Settings};
use crate::access::Access;
use crate::audit::{Audit, AuditFile, Event, Field, Kind, Outcome};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::public_url::PublicUrl;
use crate::sealed::Sealer;
use crate::session::Sessions;
use crate::store::{self, MemoryStore, Observed, RedisStore, Store};
use crate::traces::{EntraNoted, StoreNoted, Traces};

pub struct Parts {
    pub public_url: PublicUrl,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub sealer: Sealer,
    pub audit: Audit,
    pub traces: Option<Traces>,
    pub entra: Arc<entra::Client>,
    pub store: Arc<dyn Store>,
    /// Under the rules of the start.
    pub sessions: Sessions,
}

/// What works beside the edge while it serves.
pub struct Kept {
    pub ring: Option<FileWatch<RingFile>>,
    pub redis_token: Option<RedisToken>,
}

impl Parts {
    /// And what of the settings a reload can replace.
    pub fn new(
        settings: Settings,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, LiveSettings, Kept), BuildError> {
        let live = settings.live();
        let public_url = settings.public_url;
        let (sealer, ring_file) = ring::open(settings.ring, public_url.as_str(), &metrics)?;
        let audit = match &settings.audit {
            Some(path) => Audit::to_file(AuditFile::open(path)?, sealer.clone(), clock.clone(), metrics.audit()),
            None => Audit::to_log(sealer.clone(), clock.clone()),
        };
        audit.record(Event::new(Kind::LogOpened, Outcome::Ok).text(Field::Version, env!("CARGO_PKG_VERSION")));
        ring::note_ring(&sealer, &audit);
        let ring_watch = ring_file.map(|file| file.watch(&sealer, &metrics, &audit));
        let credential = settings.credential.clone().source(&settings.entra, now_of(&clock))?;
        let start = |settings| Traces::start(settings, &public_url, metrics.traces());
        let traces = settings.traces.map(start).transpose()?;
        let entra_observer: Arc<dyn entra::Observer> = match &traces {
            Some(_) => Arc::new(EntraNoted { inside: metrics.entra() }),
            None => metrics.entra(),
        };
        let entra = Arc::new(entra::Client::observed(settings.entra, credential, entra_observer)?);
        metrics.shows_ages_of(entra.clone());
        let redis_token = RedisToken::new(&settings.store, &settings.credential, &entra, now_of(&clock))?;
        let store = open_store(settings.store, &clock, &metrics, traces.is_some())?;
        let sessions = Sessions::new(
            settings.sessions,
            store.clone(),
            sealer.clone(),
            clock.clone(),
            entra.clone(),
            access(&live, &public_url),
            audit.clone(),
        );
        let parts = Self { public_url, clock, metrics, sealer, audit, traces, entra, store, sessions };
        Ok((parts, live, Kept { ring: ring_watch, redis_token }))
    }
}

/// Who may use what.
pub fn access(settings: &LiveSettings, public_url: &PublicUrl) -> Access {
    let rules = settings.upstreams.iter().map(|upstream| (public_url.join(&upstream.path), &upstream.access));
    Access::new(settings.sign_in.clone(), rules)
}

pub fn now_of(clock: &Clock) -> Now {
    let clock = clock.clone();
    Arc::new(move || clock.now().into())
}

fn open_store(
    settings: store::Settings,
    clock: &Clock,
    metrics: &Metrics,
    is_traced: bool,
) -> Result<Arc<dyn Store>, BuildError> {
    let is_redis = matches!(settings, store::Settings::Redis(_));
    let observer: Arc<dyn store::Observer> = match is_traced {
        true => Arc::new(StoreNoted { inside: metrics.store(), is_redis }),
        false => metrics.store(),
    };
    let store: Arc<dyn Store> = match settings {
        store::Settings::Memory => Arc::new(MemoryStore::new(clock.clone())),
        store::Settings::Redis(redis) => {
            let redis = Arc::new(RedisStore::new(redis)?);
            let asked = redis.clone();
            metrics.at_each_scrape(move |metrics| metrics.redis_breakers(asked.open_breakers()));
            redis
        }
    };
    Ok(Arc::new(Observed::new(store, observer)))
}
