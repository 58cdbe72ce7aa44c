//! Calls, by turns: one window of each contestant is a round. Ratios are taken within a round, and their middle counts.

use serde::Serialize;

use super::Sizes;
use super::contestant::{Contestant, Window};
use super::stage::BARE;
use super::statistics::Spread;
use crate::answers::{Latencies, latencies, quantile};
use crate::observe::resident_kib;
use crate::open_loop::Offered;

/// What the rounds gave.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calls {
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: &'static str,
    pub does: &'static str,
    /// Why there are no figures, or not all.
    pub void: Vec<String>,
    /// At saturation, in a closed loop.
    pub closed: Option<Closed>,
    /// At a fixed rate, in an open loop.
    pub open: Option<Open>,
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

/// Latencies in microseconds, from when a request was due.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Open {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// How late the generator was by itself; the latencies include it.
    pub lag_p99: f64,
    /// Of the rounds, against bare Pingora in the same round; where the rate is the same.
    pub p99_over_bare: Option<Spread>,
}

/// # Errors
/// When a contestant's process is gone.
pub async fn measure(contestants: &mut [Contestant], sizes: &Sizes) -> anyhow::Result<Calls> {
    let windows = closed(contestants, sizes).await?;
    let bare = contestants.iter().position(|contestant| contestant.name == BARE);
    let of_bare = |round: usize| bare.and_then(|bare| windows[bare][round]).map(|window| window.cpu);
    let mut closed: Vec<_> = windows.iter().map(|windows| Closed::of(windows, of_bare)).collect();
    for (contestant, closed) in contestants.iter().zip(&mut closed) {
        if !contestant.void.is_empty() {
            *closed = None;
        }
    }
    let open = open(contestants, &closed, bare, sizes).await;
    let row = |(contestant, (closed, open)): (&Contestant, (Option<Closed>, Option<Open>))| Row {
        name: contestant.name,
        does: contestant.does,
        void: contestant.void.clone(),
        closed,
        open,
        resident_kib: resident_kib(contestant.process()).ok(),
    };
    let rows = contestants.iter().zip(closed.into_iter().zip(open)).map(row).collect();
    Ok(Calls { rows })
}

/// For each contestant its windows, by rounds.
async fn closed(contestants: &mut [Contestant], sizes: &Sizes) -> anyhow::Result<Vec<Vec<Option<Window>>>> {
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

async fn open(
    contestants: &mut [Contestant],
    closed: &[Option<Closed>],
    bare: Option<usize>,
    sizes: &Sizes,
) -> Vec<Option<Open>> {
    let none = || contestants.iter().map(|_| None).collect();
    let Some(half) = bare.and_then(|bare| closed[bare]).map(|bare| bare.per_second.median / 2.0) else { return none() };
    // To a round number, so that it can be asked for again.
    let rate_of = |closed: &Closed| (half.min(closed.per_second.median / 2.0) / 10.0).round().max(1.0) * 10.0;
    let rates: Vec<_> = closed.iter().map(|closed| closed.as_ref().map(rate_of)).collect();
    let mut offered: Vec<Vec<Option<Offered>>> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..sizes.rate_rounds {
        for (which, contestant) in contestants.iter_mut().enumerate() {
            let Some(rate) = rates[which] else { continue };
            offered[which].push(contestant.at_rate(rate, sizes.rate_window).await);
        }
    }
    let p99 = |of: &Offered| micros(&of.gathered.latencies, 0.99);
    let p99_of_bare = |round: usize| bare.and_then(|bare| offered[bare].get(round)?.as_ref()).map(p99);
    let rate_of_bare = bare.and_then(|bare| rates[bare]);
    let opened = offered.iter().zip(&rates).map(|(rounds, rate)| {
        let (rate, rounds) = (((*rate)?), rounds.iter().map(Option::as_ref).collect::<Option<Vec<_>>>()?);
        let over = rounds.iter().enumerate().filter_map(|(round, of)| Some(p99(of) - p99_of_bare(round)?));
        let over = (rate_of_bare == Some(rate)).then(|| Spread::of(over)).flatten();
        Open::of(rate, &rounds, over)
    });
    opened.collect()
}

impl Closed {
    fn of(windows: &[Option<Window>], bare: impl Fn(usize) -> Option<f64>) -> Option<Self> {
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

impl Open {
    fn of(per_second: f64, rounds: &[&Offered], p99_over_bare: Option<Spread>) -> Option<Self> {
        let (mut all, mut lag) = (latencies(), latencies());
        for round in rounds {
            // The same bounds: there is always room.
            all.add(&round.gathered.latencies).ok()?;
            lag.add(&round.gathered.lag).ok()?;
        }
        (!all.is_empty()).then(|| Self {
            per_second,
            p50: micros(&all, 0.5),
            p99: micros(&all, 0.99),
            p999: micros(&all, 0.999),
            lag_p99: micros(&lag, 0.99),
            p99_over_bare,
        })
    }
}

fn micros(latencies: &Latencies, share: f64) -> f64 {
    quantile(latencies, share).as_secs_f64() * 1e6
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
