//! What is so, rather than happens, is looked at when somebody asks.

use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::pool::{Counts, Pools};
use crate::readiness::Readiness;
use crate::session::Sessions;

pub fn show(metrics: &Metrics, sessions: &Sessions, pools: &Pools, drain: &Drain, readiness: &Readiness) {
    let (readiness, drain) = (readiness.clone(), drain.clone());
    metrics.at_each_scrape(move |metrics| metrics.state(readiness.obstacle().is_none(), drain.is_draining()));
    let sessions = sessions.clone();
    metrics.at_each_scrape(move |metrics| metrics.sessions_at_hand(sessions.at_hand()));
    let pools = pools.clone();
    metrics.at_each_scrape(move |metrics| {
        for pool in pools.all() {
            let Counts { ready, down, ejected, draining } = pool.counts();
            metrics.upstream_servers(&pool.settings().name, [ready, down, ejected, draining].map(i64::from));
        }
    });
}
