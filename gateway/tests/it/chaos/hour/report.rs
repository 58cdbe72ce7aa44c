//! What is told of a run, in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::fault::Fault;
use super::invariants::Invariants;
use super::load::Seen;
use crate::chaos::Tally;

pub struct Row {
    pub number: usize,
    pub fault: Fault,
    /// Sentinels have promoted Redis' replica meanwhile.
    pub failed_over: bool,
    pub at: Duration,
    pub took: Duration,
    pub recovery: Option<Duration>,
    /// Of the load: while it lasted, and in the quiet after it.
    pub phases: [u64; 2],
    /// What began in them.
    pub during: Seen,
    pub after: Seen,
    pub notes: Vec<String>,
    pub own_requests: u64,
    pub violations: Vec<String>,
}

impl Row {
    pub fn requests(&self) -> u64 {
        [&self.during, &self.after].iter().flat_map(|seen| seen.ops.values()).map(Tally::all).sum::<u64>()
            + self.own_requests
    }

    /// One line of the table.
    pub fn line(&self) -> String {
        let mut others = Vec::new();
        for (when, seen) in [("", &self.during), ("after: ", &self.after)] {
            for (op, tally) in &seen.ops {
                let rest: Vec<_> =
                    tally.statuses().filter(|(status, _)| *status != 200).map(|(s, n)| format!("{n}×{s}")).collect();
                if !rest.is_empty() {
                    others.push(format!("{when}{op} {}", rest.join(" ")));
                }
            }
        }
        let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        let slowest = self.during.slowest.get("call").copied().unwrap_or_default();
        let ended = self.during.ended + self.after.ended;
        let cut: u64 = self.during.cut.iter().chain(&self.after.cut).sum();
        let recovery = self.recovery.map_or("not".to_owned(), |took| format!("{took:.1?}"));
        let verdict = if self.violations.is_empty() {
            "held".to_owned()
        } else {
            format!("**{}**", self.violations.join("; ").replace('|', "/").replace('\n', " "))
        };
        format!(
            "| {} | {:.0} s | {} | {} | {:.0} s | {recovery} | {} | {} | {slowest:.0?} | {ended} / {cut} | {} | {verdict} |",
            self.number,
            self.at.as_secs_f64(),
            self.fault.row(),
            self.fault,
            self.took.as_secs_f64(),
            self.requests(),
            or_none(others.join(", ")),
            or_none(self.notes.join("; ")),
        )
    }
}

/// All of it.
pub struct Report<'a> {
    pub seed: u64,
    pub minutes: f64,
    pub took: Duration,
    pub load: String,
    pub rows: &'a [Row],
    pub invariants: &'a Invariants,
}

impl Report<'_> {
    pub fn markdown(&self) -> String {
        let rows = self.rows;
        let mut all = Seen::default();
        for row in rows {
            for seen in [&row.during, &row.after] {
                for (op, tally) in &seen.ops {
                    all.ops.entry(op).or_default().join(tally.clone());
                }
                for (op, slowest) in &seen.slowest {
                    let own = all.slowest.entry(op).or_default();
                    *own = (*slowest).max(*own);
                }
                (all.events, all.ended) = (all.events + seen.events, all.ended + seen.ended);
                (0..2).for_each(|server| all.cut[server] += seen.cut[server]);
            }
        }
        let violations: usize = rows.iter().map(|row| row.violations.len()).sum();
        let (commit, minutes) = (commit(), self.took.as_secs_f64() / 60.0);
        let mut text = format!(
            "Seed {}, commit `{commit}`, {minutes:.1} minutes ({} asked for), {} steps, **{violations} violations**. {}\n\n\
             Again: `SEED={} MINUTES={} make chaos`; one step alone: `STEPS=7` beside it, or `STEPS=3-5,9`.\n\n",
            self.seed,
            self.minutes,
            rows.len(),
            self.load,
            self.seed,
            self.minutes
        );
        text += "| | answers | slowest |\n| --- | --- | --- |\n";
        for (op, tally) in &all.ops {
            let slowest = all.slowest.get(op).copied().unwrap_or_default();
            let _ = writeln!(text, "| {op} | {tally} | {slowest:.1?} |");
        }
        let own: u64 = rows.iter().map(|row| row.own_requests).sum();
        let _ = writeln!(text, "| made by steps themselves | {own} in all | |\n");
        let it = self.invariants;
        let compared = all.of("call").of(200) + all.of("guest's call").of(200);
        text += "| invariant | looked at | violations |\n| --- | --- | --- |\n";
        let lines = [
            ("I1", format!("{compared} answers and {} events, each of the one who asked", all.events)),
            (
                "I2",
                format!(
                    "{} MB of logs, metrics and what Redis holds, searched for {} secrets",
                    it.bytes_searched / 1_000_000,
                    it.secrets_sought()
                ),
            ),
            (
                "I3",
                format!(
                    "{} codes raced and replayed, {} chains of refresh tokens used twice, and what R5 to R7 do",
                    it.probes, it.probes
                ),
            ),
            ("I4", format!("{} calls of those who were signed in before a step", it.sessions_asked)),
            ("I5", format!("every answer; {} streams ended whole, {} were cut", all.ended, all.cut[0] + all.cut[1])),
            (
                "I6",
                format!(
                    "files, threads and memory of each process; the most that was left: {} files, {} KiB",
                    it.grown[0], it.grown[1]
                ),
            ),
            ("I7", "every status, against those of its row".to_owned()),
            ("R10", format!("{} calls that reached a server, each once", it.calls())),
        ];
        for (name, looked) in lines {
            let found = rows.iter().flat_map(|row| &row.violations).filter(|what| what.starts_with(name)).count();
            let _ = writeln!(text, "| {name} | {looked} | {found} |");
        }
        text += "\n| step | at | row | fault | took | sign-ins again after | requests | other than 200 | slowest call \
                 | streams ended / cut | seen | I1 to I7 |\n";
        text += "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        for row in rows {
            text += &row.line();
            text.push('\n');
        }
        text
    }
}

/// Of the working tree; `CHAOS_COMMIT` where the program was taken elsewhere.
pub fn commit() -> String {
    if let Ok(commit) = std::env::var("CHAOS_COMMIT") {
        return commit;
    }
    let told = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let text = told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "unknown".to_owned() } else { text }
}
