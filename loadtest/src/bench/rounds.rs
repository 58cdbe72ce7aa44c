//! Calls, by turns: one window of each contestant is a round. Ratios are taken within a round, and their middle counts.

mod fixed_rate;

use serde::Serialize;

use super::Sizes;
use super::contestant::{Contestant, Window};
use super::stage::BARE;
use super::statistics::Spread;
use crate::observe::resident_kib;

pub use fixed_rate::{FixedRate, Open};

/// What the rounds gave.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calls {
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub does: &'static str,
    /// Why there are no figures.
    pub void: Vec<String>,
    /// At saturation, in a closed loop.
    pub closed: Option<Closed>,
    /// In an open loop, at half of what bare Pingora answers.
    pub fixed_rate: Option<FixedRate>,
    pub resident_kib: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Closed {
    pub answers: u64,
    pub per_second: Spread,
    /// Of the measured process, for each answer.
    pub cpu_us: Spread,
    /// The same as a share of what bare Pingora needed in the same round.
    pub cpu_to_bare: Option<Spread>,
    /// What share of its core the process used. Where that is much less than 1, the generator was the limit of the rate.
    pub busy: f64,
    /// Commands of Redis for each answer, of those that have a Redis.
    pub store_reads_each: Option<f64>,
}

impl Row {
    /// Whether all of it says something.
    pub fn is_valid(&self) -> bool {
        self.void.is_empty() && !matches!(self.fixed_rate, Some(FixedRate::Void(_)))
    }
}

/// # Errors
/// When a contestant's process is gone.
pub async fn measure(contestants: &mut [Contestant], sizes: &Sizes) -> anyhow::Result<Calls> {
    let windows = by_turns(contestants, sizes).await?;
    // When it is void, nothing is a share of it.
    let bare = contestants.iter().position(|contestant| contestant.name == BARE && contestant.void.is_empty());
    let of_bare = |round: usize| bare.and_then(|bare| windows[bare][round]).map(|window| window.cpu);
    let mut closed: Vec<_> = windows.iter().map(|windows| Closed::of(windows, of_bare)).collect();
    for (contestant, closed) in contestants.iter().zip(&mut closed) {
        if !contestant.void.is_empty() {
            *closed = None;
        }
    }
    let fixed_rate = match bare {
        Some(bare) => fixed_rate::measure(contestants, &closed, bare, sizes).await,
        None => vec![None; contestants.len()],
    };
    let row = |(contestant, (closed, fixed_rate)): (&Contestant, (Option<Closed>, Option<FixedRate>))| Row {
        name: contestant.name.clone(),
        does: contestant.does,
        void: contestant.void.clone(),
        closed,
        fixed_rate,
        resident_kib: resident_kib(contestant.process()).ok(),
    };
    let rows = contestants.iter().zip(closed.into_iter().zip(fixed_rate)).map(row).collect();
    Ok(Calls { rows })
}

/// For each contestant its windows in a closed loop, by rounds; None where it was void.
///
/// # Errors
/// When a contestant's process is gone.
pub async fn by_turns(contestants: &mut [Contestant], sizes: &Sizes) -> anyhow::Result<Vec<Vec<Option<Window>>>> {
    for contestant in contestants.iter_mut() {
        // Connections are opened, entries are fetched.
        contestant.window(sizes.window).await?;
    }
    let mut windows = vec![Vec::with_capacity(sizes.rounds); contestants.len()];
    for round in 0..sizes.rounds {
        for turn in 0..contestants.len() {
            // Nobody comes after the same neighbour each time.
            let which = (turn + round) % contestants.len();
            windows[which].push(contestants[which].window(sizes.window).await?);
        }
    }
    Ok(windows)
}

impl Closed {
    /// As a share of what `bare` needed in a round.
    pub fn of(windows: &[Option<Window>], bare: impl Fn(usize) -> Option<f64>) -> Option<Self> {
        let all = || windows.iter().flatten();
        let ratios = windows.iter().enumerate().filter_map(|(round, window)| Some((*window)?.cpu / bare(round)?));
        Some(Self {
            answers: all().map(|window| window.answers).sum(),
            per_second: Spread::of(all().map(|window| window.rate))?,
            cpu_us: Spread::of(all().map(|window| window.cpu))?,
            cpu_to_bare: Spread::of(ratios),
            busy: Spread::of(all().map(|window| window.busy))?.median,
            store_reads_each: Spread::of(all().filter_map(|window| window.store_reads)).map(|spread| spread.median),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let window = |cpu| Some(Window { answers: 10, rate: 100.0, cpu, busy: 0.9, store_reads: None });
        // The machine was half as fast in the second round, for both.
        let (bare, own) = ([window(40.0), window(80.0), window(40.0)], [window(36.0), window(72.0), None]);
        let closed = Closed::of(&own, |round| bare[round].map(|window| window.cpu)).unwrap();
        assert_eq!(closed.cpu_to_bare.unwrap(), Spread { median: 0.9, low: 0.9, high: 0.9 });
        assert_eq!(closed.answers, 20);
        assert!(Closed::of(&[None, None], |_| None).is_none(), "nothing was measured");
        assert!(Closed::of(&own, |_| None).unwrap().cpu_to_bare.is_none(), "there is nobody to compare with");
    }
}
