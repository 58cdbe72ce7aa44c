//! The tables.

use std::fmt::{Display, Formatter, Result};

use super::super::comparison::{Comparison, Point};
use super::super::handshakes::HandshakeFigures;
use super::super::rounds::{Closed, FixedRate, Open, Row};
use super::super::sallyport::StepFigures;
use super::super::statistics::Spread;
use super::super::streams::StreamFigures;
use super::{Results, SignInFigures};

impl Display for Results {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let machine = &self.machine;
        writeln!(out, "# Sallyport beside others\n")?;
        if !self.is_valid() {
            writeln!(out, "**Void in part**: what is void has its reason in the place of figures.\n")?;
        }
        if let Some(why) = &self.broken_off {
            writeln!(out, "**Broken off**: {why}. What is missing was not measured.\n")?;
        }
        writeln!(out, "- {} to {}, commit {}", self.begun, self.ended, self.commit.as_deref().unwrap_or("unknown"))?;
        writeln!(out, "- `{}`", self.command)?;
        writeln!(out, "- {} cores, {}, Linux {}", machine.cores, machine.processor, machine.kernel)?;
        writeln!(out, "- load of the machine before the run: {}", machine.load)?;
        let pinned = if self.pinned { "the measured process alone on core 0" } else { "nothing pinned to a core" };
        let realtime = if self.realtime { ", in the real-time class" } else { "" };
        writeln!(out, "- windows by turns: {}; {pinned}{realtime}\n", self.windows)?;

        if !self.calls.rows.is_empty() {
            writeln!(out, "## Calls\n")?;
            writeln!(
                out,
                "| | does | CPU us | CPU to bare (quartiles) | a second | busy | commands of Redis | memory MiB |"
            )?;
            writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
            self.calls.rows.iter().try_for_each(|row| closed(out, row))?;
        }
        if self.calls.rows.iter().any(|row| row.fixed_rate.is_some()) {
            writeln!(out, "\n## Latency at half of bare Pingora's rate, us\n")?;
            writeln!(
                out,
                "| | a second | p50 | p99 | p99.9 | generator's own p99 | p99 added to bare's (quartiles) |"
            )?;
            writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
            for row in &self.calls.rows {
                match &row.fixed_rate {
                    Some(FixedRate::Kept(kept)) => open(out, &row.name, kept)?,
                    Some(FixedRate::Void(why)) => {
                        writeln!(out, "| {} | **void**: {} | | | | | |", row.name, why.join("; "))?;
                    }
                    Some(FixedRate::NotKept { most, .. }) => {
                        writeln!(out, "| {} | cannot keep it: {most:.0} at most | | | | | |", row.name)?;
                    }
                    None => {}
                }
            }
        }
        if let Some(logs) = &self.logs {
            write!(out, "\n## Logs, for each call of a tool\n\n{logs}")?;
        }
        if !self.sweeps.is_empty() {
            writeln!(out, "\n## More and more of it: CPU of a call, warm")?;
            self.sweeps.iter().try_for_each(|sweep| write!(out, "\n{sweep}"))?;
        }
        if !self.streams.is_empty() {
            writeln!(out, "\n## Event streams\n")?;
            writeln!(out, "| | idle: KiB each | CPU us to open | CPU us an event | p50 us | p99 us |")?;
            writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
            self.streams.iter().try_for_each(|streams| write!(out, "{streams}"))?;
        }
        if !self.handshakes.is_empty() {
            writeln!(out, "\n## New TLS 1.3 handshakes, P-256, each with one call\n")?;
            writeln!(out, "| | CPU us | to bare (quartiles) | handshakes |\n| --- | ---: | ---: | ---: |")?;
            self.handshakes.iter().try_for_each(|row| write!(out, "{row}"))?;
        }
        write!(out, "\n{}", self.sign_ins)?;
        if !self.not_measured.is_empty() {
            writeln!(out, "\n## Not measured\n")?;
            for (name, reason) in &self.not_measured {
                writeln!(out, "- {name}: {reason}")?;
            }
        }
        Ok(())
    }
}

fn closed(out: &mut Formatter<'_>, row: &Row) -> Result {
    let Row { name, does, void, closed, resident_kib, .. } = row;
    if !void.is_empty() {
        return writeln!(out, "| {name} | {does} | **void**: {} | | | | | |", void.join("; "));
    }
    let Some(Closed { per_second, cpu_us, cpu_to_bare, busy, store_reads_each, .. }) = closed else { return Ok(()) };
    let memory = resident_kib.map_or_else(String::new, |kib| format!("{:.1}", kib as f64 / 1024.0));
    let (cpu, rate, ratio) = (cpu_us.median, per_second.median, ratio(cpu_to_bare));
    let reads = reads(store_reads_each);
    writeln!(out, "| {name} | {does} | {cpu:.1} | {ratio} | {rate:.0} | {:.0} % | {reads} | {memory} |", busy * 100.0)
}

fn open(out: &mut Formatter<'_>, name: &str, open: &Open) -> Result {
    let Open { per_second, p50, p99, p999, lag_p99, p99_added } = open;
    let added = p99_added.map_or_else(String::new, |spread| {
        format!("{:+.0} ({:+.0} to {:+.0})", spread.median, spread.low, spread.high)
    });
    writeln!(out, "| {name} | {per_second:.0} | {p50:.0} | {p99:.0} | {p999:.0} | {lag_p99:.0} | {added} |")
}

fn reads(each: &Option<f64>) -> String {
    each.map_or_else(String::new, |reads| format!("{reads:.2}"))
}

/// Bare Pingora itself is 1.00.
fn ratio(spread: &Option<Spread>) -> String {
    spread.map_or_else(String::new, |Spread { median, low, high }| format!("{median:.2} ({low:.2}-{high:.2})"))
}

impl Display for Comparison {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        if !self.void.is_empty() {
            return writeln!(out, "**Void** ({}): {}", self.of, self.void.join("; "));
        }
        writeln!(
            out,
            "| {} | CPU us | to the first (quartiles) | commands of Redis | memory MiB |\n| ---: | ---: | ---: | ---: | ---: |",
            self.of
        )?;
        for Point { name, cpu_us, to_first, store_reads_each, resident_kib, .. } in &self.points {
            let cpu = cpu_us.map_or(f64::NAN, |spread| spread.median);
            let memory = resident_kib.map_or_else(String::new, |kib| format!("{:.1}", kib as f64 / 1024.0));
            let reads = reads(store_reads_each);
            writeln!(out, "| {name} | {cpu:.1} | {} | {reads} | {memory} |", ratio(to_first))?;
        }
        Ok(())
    }
}

impl Display for StepFigures {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let commands = self.commands.iter().map(|(name, count)| format!("{name} {count:.1}"));
        let commands: Vec<_> = commands.collect();
        writeln!(out, "| {} | {:.1} | {} | {:.1} |", self.step, self.sent, commands.join(", "), self.by_scripts)
    }
}

impl Display for StreamFigures {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let name = self.name;
        if !self.void.is_empty() {
            return writeln!(out, "| {name} | **void**: {} | | | | |", self.void.join("; "));
        }
        let (memory, opening, event) = (self.resident_kib_each, self.cpu_us_to_open, self.cpu_us_each_event);
        let delay = |of: Option<f64>| of.map_or_else(String::new, |micros| format!("{micros:.0}"));
        let (p50, p99) = (delay(self.event_p50_us), delay(self.event_p99_us));
        writeln!(out, "| {name} | {memory:.1} | {opening:.0} | {event:.1} | {p50} | {p99} |")
    }
}

impl Display for HandshakeFigures {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let cpu = self.cpu_us.map_or(f64::NAN, |spread| spread.median);
        writeln!(out, "| {} | {cpu:.0} | {} | {} |", self.name, ratio(&self.to_bare), self.handshakes)
    }
}

impl Display for SignInFigures {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let Self { count, per_second, cpu_us_of_edge, cpu_us_of_redis, redis_commands, steps } = self;
        writeln!(out, "## Sign-ins\n")?;
        writeln!(
            out,
            "{count} whole ones, {per_second:.0} in a second together with the stand-in for Entra and the generator. Each took \
             {cpu_us_of_edge:.0} us of CPU at the edge (so {:.0} in a second of a core), {cpu_us_of_redis:.0} us of Redis, \
             {redis_commands:.1} commands of Redis.",
            1e6 / cpu_us_of_edge
        )?;
        writeln!(out, "\n| step | sent to Redis | of them | given by scripts |\n| --- | ---: | --- | ---: |")?;
        steps.iter().try_for_each(|step| write!(out, "{step}"))
    }
}
