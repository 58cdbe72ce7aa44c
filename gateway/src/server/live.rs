//! The configuration of now, made of what can be taken anew while the server serves. Made whole before anything is replaced.

use std::sync::Arc;

use super::parts::{Parts, access};
use super::{BuildError, LiveSettings, UpstreamSettings};
use crate::edge::{Challenges, Limits, Live, Origins, Routes, Upstream};
use crate::oauth::{self, AuthorizationServer, Resource, Resources};
use crate::pool::{Pool, PoolError};
use crate::public_url::PublicUrl;

impl Parts {
    /// What is the same as `before` goes on as it is: health, counts, what was fetched. Looks names of servers up, which blocks.
    pub fn live(&self, settings: LiveSettings, before: Option<&Live>) -> Result<Live, BuildError> {
        let oauth_settings = oauth_settings(&settings, &self.public_url);
        let sessions = Arc::new(self.sessions.under(access(&settings, &self.public_url)));
        let parts = oauth::Parts {
            sealer: self.sealer.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            sessions: sessions.clone(),
            entra: self.entra.clone(),
            audit: self.audit.clone(),
        };
        let (oauth, limits) = (AuthorizationServer::new(oauth_settings, parts)?, Limits::new(settings.edge_limits));
        let (oauth, limits) = match before {
            Some(before) => (oauth.after(&before.oauth), limits.after(&before.limits)),
            None => (oauth, limits),
        };
        let own = [self.public_url.as_str()];
        let origins = Origins::new(own.into_iter().chain(settings.allowed_origins.iter().map(String::as_str)))?;
        let upstreams = settings.upstreams.into_iter().map(|upstream| self.upstream(upstream, before));
        let routes = Routes::new(upstreams.collect::<Result<_, PoolError>>()?);
        Ok(Live {
            origins,
            routes,
            oauth,
            sessions,
            streams: settings.streams,
            limits,
            access_log: settings.access_log,
        })
    }

    fn upstream(&self, settings: UpstreamSettings, before: Option<&Live>) -> Result<Upstream, PoolError> {
        let resource = Resource::new(&self.public_url, &settings.path, &settings.scope);
        let counts = self.metrics.upstream(&settings.pool.name);
        let same = |pool: &&Arc<Pool>| pool.settings().name == settings.pool.name;
        let before = before.and_then(|live| live.routes.pools().find(same));
        let pool = match before {
            Some(before) if before.settings().is_like(&settings.pool) => before.clone(),
            _ => {
                let pool = Pool::new(settings.pool)?;
                before.into_iter().for_each(|before| pool.drain_as(before));
                Arc::new(pool)
            }
        };
        let challenges = Challenges::new(&self.public_url, &settings.path);
        Ok(Upstream { resource, challenges, pool, tools: settings.access.tools, counts })
    }
}

pub fn oauth_settings(settings: &LiveSettings, public_url: &PublicUrl) -> oauth::Settings {
    let resource = |upstream: &UpstreamSettings| Resource::new(public_url, &upstream.path, &upstream.scope);
    oauth::Settings {
        resources: Resources::new(public_url, settings.upstreams.iter().map(resource).collect()),
        server_name: settings.server_name.clone(),
        remember: settings.remember,
        clients: settings.clients.clone(),
        limits: settings.oauth_limits,
        public_url: public_url.clone(),
    }
}
