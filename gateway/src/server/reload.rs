//! SIGHUP: the configuration is read anew, by the same code as at the start. A bad one changes nothing. Of a good one all that can be
//! replaced is, at once, and what cannot is said by its name until the next start.

mod keys;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::spawn_blocking;

use super::LiveSettings;
use super::parts::Parts;
use crate::audit::{Event, Field, Kind, Outcome};
use crate::edge::Live;
use crate::log;
use crate::pool::Pools;
use crate::public_url::PublicUrl;
use crate::reloads::{Reloaded, Reloads};
pub use keys::{Content, Key, Keys};

/// A configuration that was read and found to be good.
pub struct Fresh {
    pub public_url: PublicUrl,
    pub live: LiveSettings,
    pub level: tracing::Level,
    pub keys: Keys,
}

/// Reads the configuration. It may block.
///
/// # Errors
/// A line for each mistake, with its place. Never a value: it could be a secret in the wrong place.
pub type Source = Box<dyn Fn() -> Result<Fresh, Vec<String>> + Send + Sync>;

/// Says when to.
#[async_trait]
pub trait ReloadSignal: Send + Sync {
    /// The next time. What is said while nobody waits is not lost.
    async fn received(&self);
}

/// What a reload reads, and what it replaces.
pub struct Reload {
    pub signal: Box<dyn ReloadSignal>,
    pub inside: Arc<Inside>,
}

pub struct Inside {
    pub source: Source,
    pub parts: Parts,
    pub live: Arc<ArcSwap<Live>>,
    pub pools: Pools,
    pub reloads: Reloads,
    /// What cannot be replaced is as here.
    pub started: Keys,
    /// What can be is as here.
    pub running: Mutex<Keys>,
}

#[async_trait]
impl BackgroundService for Reload {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                () = self.signal.received() => {}
                _ = shutdown.changed() => return,
            }
            let inside = self.inside.clone();
            if spawn_blocking(move || inside.reload()).await.is_err() {
                tracing::error!("reading the configuration anew panicked");
            }
        }
    }
}

impl Inside {
    fn reload(&self) {
        match (self.source)().and_then(|fresh| self.take(fresh)) {
            Ok(reloaded) => self.tell(reloaded),
            Err(mistakes) => self.tell_mistakes(mistakes),
        }
    }

    /// Replaces all or nothing.
    fn take(&self, fresh: Fresh) -> Result<Reloaded, Vec<String>> {
        let Fresh { public_url, live: settings, level, keys } = fresh;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, mut at_next_start) = (running.live_that_differ(&keys), self.started.bound_that_differ(&keys));
        if public_url.as_str() != self.parts.public_url.as_str() {
            // All that was checked in it was checked for another origin than ours.
            at_next_start.extend(changed);
            return Ok(Reloaded { changed: Vec::new(), at_next_start });
        }
        let before = self.live.load_full();
        let next = self.parts.live(settings, Some(&before)).map_err(|error| vec![error.to_string()])?;
        let pools: Vec<_> = next.routes.pools().cloned().collect();
        next.sessions.rule();
        self.live.store(Arc::new(next));
        let names: Vec<_> = pools.iter().map(|pool| pool.settings().name.clone()).collect();
        self.pools.replace(pools);
        self.parts.metrics.keep_upstreams(&names.iter().map(String::as_str).collect::<Vec<_>>());
        log::set_level(level);
        *running = keys;
        Ok(Reloaded { changed, at_next_start })
    }

    fn tell(&self, reloaded: Reloaded) {
        let (changed, waiting) = (reloaded.changed.join(", "), reloaded.at_next_start.join(", "));
        tracing::info!(changed, at_next_start = waiting, "configuration reloaded");
        for key in &reloaded.at_next_start {
            tracing::warn!(key, "changed in the configuration, takes effect at the next start");
        }
        let now = self.parts.clock.now();
        self.parts.metrics.configuration().reloaded(now.unix(), &reloaded.at_next_start);
        let event = Event::new(Kind::ConfigReloaded, Outcome::Ok).text(Field::By, "SIGHUP");
        self.parts.audit.record(event.text(Field::Changed, &changed).text(Field::AtNextStart, &waiting));
        self.reloads.took(now, reloaded);
    }

    fn tell_mistakes(&self, mistakes: Vec<String>) {
        for mistake in &mistakes {
            tracing::error!(mistake, "configuration not reloaded, the one before stays");
        }
        self.parts.metrics.configuration().refused();
        let event = Event::new(Kind::ConfigRejected, Outcome::Refused).text(Field::By, "SIGHUP");
        let first = mistakes.first().map_or("", String::as_str);
        self.parts.audit.record(event.text(Field::Cause, first));
        self.reloads.refused(self.parts.clock.now(), mistakes);
    }
}
