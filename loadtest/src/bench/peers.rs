//! Who else could stand there. A peer that is not installed, or does not come up, is told in the results and holds nobody up.

mod nginx;

use super::Bench;
use super::contestant::Contestant;
use super::sallyport::Installation;
use super::stage::{Serving, Stage};

type Started = (&'static str, anyhow::Result<Contestant>);

/// All of them, in the order of the table.
pub async fn all(stage: &mut Stage, bench: &Bench, upstream: &Serving, installation: &Installation) -> Vec<Started> {
    let _ = (bench, installation);
    vec![(nginx::PLAIN, nginx::plain(stage, upstream).await)]
}
