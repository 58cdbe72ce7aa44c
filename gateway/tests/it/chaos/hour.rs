//! R24: an hour of faults that a seed chooses, one after the other, and what must always hold looked at after each of them
//! (docs/chaos.md). `make test` has a minute of it.
//!
//! `SEED`, `MINUTES` and `STEPS` (`7`, `3-5,9`) choose the run; `REPORT` names the file that tells of it.

mod fault;
mod invariants;
mod load;
pub mod people;
mod redis_pair;
mod report;
pub mod server;
mod soak;
mod stand;
mod steps;
mod wrong_clock;

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::rig::Signed;
use super::seed;
use crate::support::chance::Chance;
use fault::{Expected, Fault, Others};
use invariants::{Invariants, recovered};
use load::{Load, Rates, Seen};
use report::{Report, Row};
use stand::Stand;

const KNOWN: usize = 20;
const BETWEEN_EVENTS: Duration = Duration::from_millis(500);
/// Without a fault, after each step.
const QUIET: Duration = Duration::from_secs(2);
const WHOLE_AGAIN: Duration = Duration::from_secs(30);
/// What `make test` takes of it.
const SHORT: f64 = 1.0;

struct Runner {
    stand: Stand,
    load: Load,
    invariants: Invariants,
    rows: Vec<Row>,
    /// Which phases of the load belong to which row, the last one's not yet told.
    phases: Vec<(u64, u64)>,
    started: Instant,
    seed: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_always_hold_holds_after_every_fault_that_a_seed_chooses() {
    let (seed, minutes, selected) = (seed(), minutes(), selected());
    let Some(mut runner) = Runner::start(seed).await else { return };
    let limit = Duration::from_secs_f64(minutes * 60.0);
    for number in 0.. {
        if runner.started.elapsed() >= limit
            || selected.as_ref().is_some_and(|steps| steps.iter().all(|at| *at < number))
        {
            break;
        }
        if selected.as_ref().is_none_or(|steps| steps.contains(&number)) {
            runner.step(number).await;
        }
    }
    let (text, violations) = runner.finish(minutes).await;
    println!("{text}");
    if let Some(file) = report_file() {
        std::fs::write(&file, &text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

fn minutes() -> f64 {
    std::env::var("MINUTES").map_or(SHORT, |minutes| minutes.parse().expect("MINUTES is a number"))
}

fn report_file() -> Option<String> {
    std::env::var("REPORT").ok().filter(|file| !file.is_empty())
}

/// The steps that are wanted alone.
fn selected() -> Option<Vec<usize>> {
    let text = std::env::var("STEPS").ok()?;
    let number = |text: &str| text.trim().parse::<usize>().expect("STEPS is like 3-5,9");
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => (number(first)..=number(last)).collect::<Vec<_>>(),
        None => vec![number(part)],
    };
    Some(text.split(',').flat_map(range).collect())
}

impl Runner {
    async fn start(seed: u64) -> Option<Self> {
        let stand = Stand::start(seed, BETWEEN_EVENTS).await?;
        let mut known: Vec<Signed> = Vec::new();
        for user in 0..KNOWN {
            known.push(stand.door.sign_in_again(user).await.unwrap_or_else(|refusal| panic!("{refusal}")));
        }
        let load = Load::start(&stand.door, known, Self::rates(), seed);
        // Everybody knows everybody, and the first guests are there.
        sleep(Duration::from_secs(3)).await;
        let (invariants, started) = (Invariants::default(), Instant::now());
        Some(Self { stand, load, invariants, rows: Vec::new(), phases: Vec::new(), started, seed })
    }

    fn rates() -> Rates {
        Rates { calls_per_second: 30, streams: 12, churn: Duration::from_millis(400) }
    }

    async fn step(&mut self, number: usize) {
        let fault = Fault::of_step(self.seed, number);
        let shared = self.load.shared.clone();
        let (at, during) = (self.started.elapsed(), shared.next_phase());
        let begun = Instant::now();
        // Nothing that was acknowledged before may be lost, whatever fails over.
        let paused = shared.paused.write().await;
        let replicated = self.stand.redis.until_replicated(WHOLE_AGAIN).await;
        drop(paused);
        let mut chance = Chance::new(self.seed ^ 0xC4A0 ^ (number as u64) << 20);
        let primary = self.stand.redis.primary();
        let mut found = steps::run(fault, &mut self.stand, &shared, &mut chance).await;
        let took = begun.elapsed();
        found.must(replicated, || "R4: Redis' replica was not up to date within 30 s".to_owned());
        let recovery = recovered(&self.stand, fault.recovery()).await;
        if !self.stand.redis.until_whole(WHOLE_AGAIN).await {
            found.violations.push("R4: Redis has no replica again within 30 s".to_owned());
        }
        // A replica that hears again begins anew: who is looked at before that would not be known in the next outage (docs/chaos.md).
        if !self.stand.redis.until_heard(stand::REPLICAS, WHOLE_AGAIN).await {
            found.violations.push("R4: not all replicas hear announcements again within 30 s".to_owned());
        }
        let recovery = recovery.map_err(|what| found.violations.push(what)).ok();
        let failed_over = self.stand.redis.primary() != primary;
        if failed_over {
            found.notes.push("failed over".to_owned());
        }
        let after = shared.next_phase();
        found
            .violations
            .extend(self.invariants.check(&self.stand, &shared, fault.expected(failed_over).loses, during).await);
        sleep(QUIET).await;
        if (number + 1).is_multiple_of(fault::ROUND) {
            self.renew_known().await;
        }
        self.tell();
        self.phases.push((during, after));
        let steps::Found { violations, notes, requests: own_requests } = found;
        let (during, after) = (Seen::default(), Seen::default());
        self.rows.push(Row {
            number,
            fault,
            failed_over,
            at,
            took,
            recovery,
            phases: [0; 2],
            during,
            after,
            notes,
            own_requests,
            violations,
        });
    }

    /// Who stays does as clients do, long before their tokens end.
    async fn renew_known(&self) {
        let shared = &self.load.shared;
        let known = shared.known.lock().unwrap().clone();
        for (at, signed) in known.iter().enumerate() {
            if let Ok(renewed) = shared.refresh(&shared.door, signed).await {
                shared.known.lock().unwrap()[at] = renewed;
            }
        }
    }

    /// What became of the last step. What is answered later than this is judged at the end.
    fn tell(&mut self) {
        let (Some(row), Some((during, after))) = (self.rows.last_mut(), self.phases.pop()) else { return };
        let shared = &self.load.shared;
        (row.during, row.after) = (shared.take(&[during]), shared.take(&[after]));
        row.phases = [during, after];
        for (when, seen, expected) in
            [("", &row.during, row.fault.expected(row.failed_over)), ("after it, ", &row.after, Expected::WELL)]
        {
            row.violations
                .extend(judge(seen, &expected).into_iter().map(|what| format!("{what} ({when}{})", row.fault)));
        }
        let verdict = if row.violations.is_empty() { "held" } else { "VIOLATED" };
        println!("MEASURED chaos {verdict} {}", row.line());
        for what in row.during.said.iter().chain(&row.after.said) {
            println!("  {what}");
        }
    }

    async fn finish(mut self, minutes: f64) -> (String, Vec<String>) {
        let took = self.started.elapsed();
        self.load.shared.next_phase();
        self.load.stop().await;
        self.tell();
        for (phase, late) in self.load.shared.take_late() {
            judge_late(&mut self.rows, phase, &late);
        }
        let rates = Self::rates();
        let load = format!(
            "Base load: {} calls a second of {KNOWN} who stay, {} event streams, and up to 20 guests, one of whom comes, \
             calls, refreshes or leaves every {:?}.",
            rates.calls_per_second, rates.streams, rates.churn
        );
        let report = Report { seed: self.seed, minutes, took, load, rows: &self.rows, invariants: &self.invariants };
        let text = report.markdown();
        let again = format!("SEED={} MINUTES={minutes} make chaos", self.seed);
        let violations = self.rows.iter().flat_map(|row| {
            let again = &again;
            row.violations
                .iter()
                .map(move |what| format!("step {}: {what}\n  again: STEPS={} {again}", row.number, row.number))
        });
        let violations: Vec<String> = violations.collect();
        if let Some(report) = report_file().filter(|_| !violations.is_empty()) {
            self.stand.keep_logs(&format!("{report}.logs"));
        }
        (text, violations)
    }
}

/// I7, and what the load itself has seen.
fn judge(seen: &Seen, expected: &Expected) -> Vec<String> {
    let mut violations = seen.violations.clone();
    let ops: [(&str, &[u16]); 6] = [
        ("call", expected.calls),
        ("stream", expected.calls),
        ("sign-in", expected.sign_ins),
        ("refresh", expected.guests),
        ("guest's call", expected.guests),
        ("revoke", expected.guests),
    ];
    for (op, allowed) in ops {
        let tally = seen.of(op);
        if !tally.only(allowed) {
            let said: Vec<_> = seen.said.iter().filter(|said| said.starts_with(op)).cloned().collect();
            violations.push(format!("I7: {op} [{tally}], allowed {allowed:?}; {}", said.join(", ")));
        }
    }
    let calls = seen.of("call");
    if !expected.others.allow(calls.all() - calls.of(200), calls.all()) {
        violations.push(format!("I7: calls of known sessions [{calls}], others than 200: {:?}", expected.others));
    }
    for server in 0..2 {
        if seen.cut[server] > 0 && !expected.cuts[server] {
            violations.push(format!("I5: {} streams of server {server} were cut", seen.cut[server]));
        }
    }
    violations
}

/// What was answered only after its step had been told of: by the same rules, but for shares, of which it is none.
fn judge_late(rows: &mut [Row], phase: u64, late: &Seen) {
    let last = rows.len() - 1;
    let at = rows.iter().position(|row| row.phases.contains(&phase)).unwrap_or(last);
    let row = &mut rows[at];
    let expected = if row.phases[0] == phase { row.fault.expected(row.failed_over) } else { Expected::WELL };
    let found = judge(late, &Expected { others: Others::All, ..expected });
    row.violations.extend(found.into_iter().map(|what| format!("{what} (late, {})", row.fault)));
}
