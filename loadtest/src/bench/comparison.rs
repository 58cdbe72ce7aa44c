//! Contestants of which only one thing differs, by turns: what that costs, as a share of the first.

use serde::Serialize;

use super::Sizes;
use super::contestant::Contestant;
use super::rounds::{Closed, by_turns};
use super::statistics::Spread;
use crate::observe::resident_kib;

#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What differs.
    pub of: &'static str,
    pub void: Vec<String>,
    pub points: Vec<Point>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub name: String,
    /// Where a plot has it; None of what is no number.
    pub at: Option<u64>,
    /// For each answer.
    pub cpu_us: Option<Spread>,
    /// Of the same round.
    pub to_first: Option<Spread>,
    /// Commands of Redis for each answer, of those that have a Redis.
    pub store_reads_each: Option<f64>,
    pub resident_kib: Option<u64>,
}

/// # Errors
/// When a contestant's process is gone.
pub async fn compare(of: &'static str, contestants: &mut [Contestant], sizes: &Sizes) -> anyhow::Result<Comparison> {
    let windows = by_turns(contestants, sizes).await?;
    let void = contestants.iter().flat_map(|one| one.void.iter().map(|void| format!("{}: {void}", one.name)));
    let void: Vec<_> = void.collect();
    let first = |round: usize| windows.first()?.get(round).copied().flatten().map(|window| window.cpu);
    let point = |(place, contestant): (usize, &Contestant)| {
        let closed = Closed::of(&windows[place], first).filter(|_| void.is_empty());
        Point {
            name: contestant.name.clone(),
            at: contestant.name.parse().ok(),
            cpu_us: closed.map(|closed| closed.cpu_us),
            store_reads_each: closed.and_then(|closed| closed.store_reads_each),
            to_first: closed.and_then(|closed| closed.cpu_to_bare).filter(|_| place > 0),
            resident_kib: resident_kib(contestant.process()).ok(),
        }
    };
    let points = contestants.iter().enumerate().map(point).collect();
    Ok(Comparison { of, void, points })
}
