//! Looks after every pool while there is one: looks its names up again, and runs its health checks.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::task::JoinHandle;

use crate::pool::{Pool, Pools};

pub struct Upkeep {
    pub pools: Pools,
}

/// One pool's, ended when it is dropped: nobody asks the servers of a pool that has left.
struct Watched {
    pool: Arc<Pool>,
    task: JoinHandle<()>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut changes = self.pools.watch();
        let mut watched: Vec<Watched> = Vec::new();
        loop {
            let pools = changes.borrow_and_update().clone();
            watched.retain(|one| pools.iter().any(|pool| Arc::ptr_eq(pool, &one.pool)));
            for pool in pools {
                if pool.has_upkeep() && !watched.iter().any(|one| Arc::ptr_eq(&pool, &one.pool)) {
                    let (balancer, until) = (pool.balancer(), shutdown.clone());
                    let task = tokio::spawn(async move { balancer.start(until).await });
                    watched.push(Watched { pool, task });
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}
