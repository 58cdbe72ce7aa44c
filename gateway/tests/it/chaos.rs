//! Faults at three replicas that share one Redis: what must hold is counted, not hoped for. docs/chaos.md says what each
//! test shows and what was measured.
//!
//! Each has a short form, which `cargo test` runs, and a long one with `SALLYPORT_CHAOS=long`. `SEED` repeats the choices
//! of a run, as far as threads allow. Lines that begin with `MEASURED` are the figures.

mod balancer;
mod echo;
mod edge_process;
mod entra_out;
mod few_files;
mod full_disk;
mod herd;
mod hour;
mod identity;
mod idle_streams;
mod loss;
mod many_idle_streams;
mod memory_limit;
mod process;
mod redemption;
mod restart;
mod rig;
mod rolling;
mod server_process;
mod short_lives;
mod slow_clients;
mod store_out;
mod upstream_death;

pub use edge_process::{EdgeProcess, Launch};
pub use hour::people::{Door, client};

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// The short figure, or the long one where the long form is asked for.
fn sized(short: usize, long: usize) -> usize {
    match std::env::var("SALLYPORT_CHAOS").as_deref() {
        Ok("long") => long,
        Ok(other) => panic!("SALLYPORT_CHAOS is {other:?}: `long`, or nothing at all"),
        Err(_) => short,
    }
}

fn seed() -> u64 {
    std::env::var("SEED").map_or(20_261_125, |seed| seed.parse().expect("SEED is a number"))
}

/// How often each answer was given. 0 is no answer at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally(BTreeMap<u16, u64>);

impl Tally {
    fn add(&mut self, status: u16) {
        *self.0.entry(status).or_default() += 1;
    }

    fn join(&mut self, other: Self) {
        for (status, count) in other.0 {
            *self.0.entry(status).or_default() += count;
        }
    }

    fn of(&self, status: u16) -> u64 {
        self.0.get(&status).copied().unwrap_or_default()
    }

    fn all(&self) -> u64 {
        self.0.values().sum()
    }

    fn statuses(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.0.iter().map(|(status, count)| (*status, *count))
    }

    /// Nothing but these.
    fn only(&self, statuses: &[u16]) -> bool {
        self.0.keys().all(|status| statuses.contains(status))
    }
}

impl FromIterator<u16> for Tally {
    fn from_iter<T: IntoIterator<Item = u16>>(statuses: T) -> Self {
        let mut tally = Self::default();
        statuses.into_iter().for_each(|status| tally.add(status));
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.0.iter().map(|(status, count)| format!("{count}×{status}")).collect();
        formatter.write_str(&counts.join(" "))
    }
}

/// Of these times, the one that so many percent are not above.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// How long it took. Bounded: 30 seconds, which is longer than a lock lives whose holder never heard that it has it.
async fn eventually(what: &str, condition: impl AsyncFn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(30), "not within 30 seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}
