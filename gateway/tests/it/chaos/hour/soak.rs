//! R1: nothing goes wrong, for an hour. Nobody is refused anything, and memory does not grow.
//!
//! `MINUTES` says how long; a minute of it, in `make test`, is too short for a word on memory.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Load, Rates, Seen};
use super::report::commit;
use super::stand::{REPLICAS, Stand};
use crate::chaos::Tally;
use crate::chaos::rig::Signed;
use crate::chaos::seed;

const BETWEEN_EVENTS: Duration = Duration::from_secs(5);
const SAMPLED: Duration = Duration::from_secs(10);
/// Before it memory is only getting used to the load.
const WARMED_UP: Duration = Duration::from_secs(600);
/// A line through fewer says nothing.
const ENOUGH: usize = 60;
/// KiB in ten minutes.
const SLOPE: f64 = 1024.0;

/// One replica's resident memory in KiB, by seconds since the start.
type Samples = Vec<(f64, f64)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_steady_load_nothing_fails_and_memory_does_not_grow() {
    let limit = Duration::from_secs_f64(super::minutes() * 60.0);
    let (rates, users) = match std::env::var("SALLYPORT_SOAK").as_deref() {
        Ok("long") => (Rates { calls_per_second: 300, streams: 500, churn: Duration::from_secs(1) }, 200),
        // Beside all other tests Redis may be late, and who comes anew is then told to come again.
        _ => (Rates { calls_per_second: 30, streams: 30, churn: Duration::ZERO }, 30),
    };
    let Some(stand) = Stand::start(seed(), BETWEEN_EVENTS).await else { return };
    let mut known: Vec<Signed> = Vec::new();
    for user in 0..users {
        known.push(stand.door.sign_in_again(user).await.unwrap_or_else(|refusal| panic!("{refusal}")));
    }
    let mut load = Load::start(&stand.door, known, rates, seed());
    let (started, mut samples) = (Instant::now(), vec![Samples::new(); REPLICAS]);
    let mut renewed = Duration::ZERO;
    while started.elapsed() < limit {
        for (edge, samples) in stand.edges.iter().zip(&mut samples) {
            samples.push((started.elapsed().as_secs_f64(), edge.memory_and_threads().0 as f64));
        }
        // As clients do, long before their tokens end.
        if started.elapsed() - renewed > Duration::from_secs(1200) {
            renewed = started.elapsed();
            let known = load.shared.known.lock().unwrap().clone();
            for (at, signed) in known.iter().enumerate() {
                if let Ok(renewed) = load.shared.refresh(&load.shared.door, signed).await {
                    load.shared.known.lock().unwrap()[at] = renewed;
                }
            }
        }
        sleep(SAMPLED.min(limit.saturating_sub(started.elapsed()))).await;
    }
    let (took, shared) = (started.elapsed(), load.shared.clone());
    load.stop().await;
    let seen = shared.take(&[0]);
    let (text, violations) = verdict(&seen, &samples, took, rates, users);
    println!("MEASURED soak\n{text}");
    if let Some(file) = super::report_file() {
        std::fs::write(&file, &text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    assert!(violations.is_empty(), "{violations:#?}\n{text}");
}

fn verdict(seen: &Seen, samples: &[Samples], took: Duration, rates: Rates, users: usize) -> (String, Vec<String>) {
    let mut violations = seen.violations.clone();
    let all: u64 = seen.ops.values().map(Tally::all).sum();
    let good: u64 = seen.ops.values().map(|tally| tally.of(200)).sum();
    let cut: u64 = seen.cut.iter().sum();
    if good != all || cut > 0 {
        violations.push(format!("{} of {all} failed, {cut} streams were cut: {:?}", all - good, seen.said));
    }
    if seen.events == 0 || good == 0 {
        violations.push("there was no load".to_owned());
    }
    let guests = match rates.churn {
        Duration::ZERO => "and no guests".to_owned(),
        churn => format!("and a guest who comes, calls, refreshes or leaves every {churn:?}"),
    };
    let mut text = format!(
        "Seed {}, commit `{}`, {:.1} minutes at {} calls a second and {} event streams of {users} users, an event every 5 s on each, over \
         {REPLICAS} replicas, {guests}.\n\n| | answers | slowest |\n| --- | --- | --- |\n",
        seed(),
        commit(),
        took.as_secs_f64() / 60.0,
        rates.calls_per_second,
        rates.streams
    );
    for (op, tally) in &seen.ops {
        text += &format!("| {op} | {tally} | {:.1?} |\n", seen.slowest.get(op).copied().unwrap_or_default());
    }
    text += &format!(
        "| events | {} | |\n\n{all} requests, {} failed; {cut} streams cut, {} ended whole.\n\n",
        seen.events,
        all - good,
        seen.ended
    );
    let mut judged = "";
    text += "| replica | KiB at first | after ten minutes | at last | slope, KiB in ten minutes |\n";
    text += "| --- | --- | --- | --- | --- |\n";
    for (replica, samples) in samples.iter().enumerate() {
        let settled: Samples = samples.iter().copied().filter(|(at, _)| *at >= WARMED_UP.as_secs_f64()).collect();
        let [first, last] = [samples.first(), samples.last()].map(|it| it.map_or(0.0, |(_, kib)| *kib));
        let (from, slope) = if settled.len() < ENOUGH {
            judged = ", memory not judged in so short a time";
            ("too short".to_owned(), "too short".to_owned())
        } else {
            let slope = slope(&settled) * 600.0;
            if slope >= SLOPE {
                violations.push(format!("replica {replica} grows by {slope:.0} KiB in ten minutes"));
            }
            (format!("{:.0}", settled[0].1), format!("{slope:.0}"))
        };
        text += &format!("| {replica} | {first:.0} | {from} | {last:.0} | {slope} |\n");
    }
    text += &format!("\nVerdict: **{}**{judged}\n", if violations.is_empty() { "passed" } else { "failed" });
    (text, violations)
}

/// Of the line with the least squares, in KiB a second.
fn slope(samples: &Samples) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, kib) = (mean(|it| it.0), mean(|it| it.1));
    let shared: f64 = samples.iter().map(|it| (it.0 - at) * (it.1 - kib)).sum();
    shared / samples.iter().map(|it| (it.0 - at).powi(2)).sum::<f64>()
}

#[test]
fn the_slope_of_a_line_is_its_slope() {
    let line: Samples = (0..100).map(|at| (f64::from(at) * 10.0, 5000.0 + f64::from(at) * 2.0)).collect();
    assert!((slope(&line) - 0.2).abs() < 1e-9);
}
