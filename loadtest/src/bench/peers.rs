//! Who else could stand there. A peer that is not installed, or does not come up, is told in the results and holds nobody up.

mod envoy;
mod fastmcp;
mod nginx;

use std::path::Path;

use super::contestant::Contestant;
use super::stage::{Serving, Stage};

/// A contestant by its name, or why it is none.
pub type Started = (&'static str, anyhow::Result<Contestant>);

/// All of them, in the order of the table. `contestants`: the programs that are from PyPI.
pub async fn all(
    stage: &mut Stage,
    contestants: Option<&Path>,
    upstream: &Serving,
    redis: &Serving,
    sessions: usize,
) -> Vec<Started> {
    vec![
        (nginx::PLAIN, nginx::plain(stage, upstream).await),
        (nginx::LUA, nginx::with_lua(stage, upstream, sessions).await),
        (nginx::LUA_REDIS, nginx::with_lua_and_redis(stage, upstream, redis, sessions).await),
        (envoy::PLAIN, envoy::plain(stage, contestants, upstream).await),
        (envoy::JWT, envoy::with_jwt(stage, contestants, upstream, sessions).await),
        (fastmcp::NAME, fastmcp::start(stage, contestants, sessions).await),
    ]
}
