//! `loadtest train`: the load for a release's profile.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::bench::{program, programs};
use crate::bench::{Bench, Sizes};

/// Puts the load of `bench` on one build of Sallyport, each kind for some seconds on a process of its own, and ends each so that it
/// can write what it counted. Ends with 1 when an answer was wrong, or a process did not end by itself.
#[derive(Args)]
pub struct Train {
    /// The program, which has `serve`. Others are started that are beside this one, as by `bench`.
    #[arg(value_name = "PATH", value_parser = program)]
    sallyport: PathBuf,
    /// How long each kind of load lasts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

impl Train {
    /// # Errors
    /// As [`Bench::train`].
    pub async fn run(self) -> anyhow::Result<()> {
        let each = Duration::from_secs(self.seconds);
        let bench = Bench {
            programs: programs()?,
            shipped: Some(self.sallyport),
            contestants: None,
            command: "loadtest train".to_owned(),
            sizes: Sizes { window: each, relay: each, ..Sizes::QUICK },
            only: Vec::new(),
            other_builds: Vec::new(),
            limit: LIMIT,
            pin: true,
            realtime: false,
        };
        bench.train().await
    }
}

/// Seven kinds of at most a minute, and starting everything.
const LIMIT: Duration = Duration::from_secs(900);
