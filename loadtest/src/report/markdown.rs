//! A report as Markdown, which is also what the terminal shows.

use std::fmt::{Display, Formatter, Result};

use super::{Figures, Quantiles, Report};

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        writeln!(formatter, "## {}\n\n{}\n", self.run, self.settings)?;
        match &self.figures {
            Some(figures) => write!(formatter, "{figures}")?,
            None => {
                writeln!(formatter, "**Void**: it says nothing about speed.\n")?;
                for reason in &self.void {
                    writeln!(formatter, "- {reason}")?;
                }
            }
        }
        if let (Some(process), true) = (self.cost.process, self.is_valid()) {
            writeln!(
                formatter,
                "\nCPU {:.2} s; memory {} KiB before, {} after, {} at most; {} threads",
                process.cpu_seconds,
                process.resident_kib_before,
                process.resident_kib_after,
                process.resident_kib_most,
                process.threads
            )?;
        }
        if !self.cost.metrics.is_empty() {
            writeln!(formatter, "\n| series | change |\n| --- | ---: |")?;
            for (series, change) in &self.cost.metrics {
                writeln!(formatter, "| `{}` | {change} |", series.replace('|', "\\|"))?;
            }
        }
        Ok(())
    }
}

impl Display for Figures {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{} {} in {:.1} s", self.count, self.unit, self.seconds)?;
        if let Some(rate) = self.per_second {
            write!(formatter, ", {rate:.1} in a second")?;
        }
        for (name, count) in &self.counts {
            write!(formatter, "; {count} {name}")?;
        }
        if let Some(cpu) = self.cpu_us_each {
            write!(formatter, "; {cpu:.1} us of CPU each")?;
        }
        if let Some(resident) = self.resident_kib_each {
            write!(formatter, "; {resident:.1} KiB of memory each")?;
        }
        writeln!(formatter)?;
        if !self.latencies.is_empty() {
            writeln!(formatter, "\n| ms | mean | p50 | p90 | p99 | p99.9 | longest |")?;
            writeln!(formatter, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        }
        self.latencies.iter().try_for_each(|row| writeln!(formatter, "{row}"))
    }
}

impl Display for Quantiles {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let Self { of, mean, p50, p90, p99, p999, longest, .. } = self;
        write!(formatter, "| {of} | {mean:.3} | {p50:.3} | {p90:.3} | {p99:.3} | {p999:.3} | {longest:.3} |")
    }
}
