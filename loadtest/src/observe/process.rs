//! What processes use, by `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Of some processes together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, of threads that ended too.
    pub cpu: Duration,
    pub resident_kib: u64,
    /// The most there ever was.
    pub resident_kib_most: u64,
    pub threads: u64,
}

/// # Errors
/// When one of them is gone.
pub fn usage(processes: &[u32]) -> anyhow::Result<Usage> {
    let mut sum = Usage::default();
    for process in processes {
        let read = |name: &str| {
            let file = format!("/proc/{process}/{name}");
            fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        sum.cpu += cpu(&stat).with_context(|| format!("/proc/{process}/stat is not as expected"))?;
        // A process that has ended and was not waited for has no memory.
        sum.resident_kib += field(&status, "VmRSS:").unwrap_or(0);
        sum.resident_kib_most += field(&status, "VmHWM:").unwrap_or(0);
        sum.threads += field(&status, "Threads:").unwrap_or(0);
    }
    Ok(sum)
}

/// proc(5): fields 14 and 15, in ticks. The name, field 2, may hold spaces and parentheses.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `USER_HZ`, which Linux shows to programs as 100 whatever its own clock is.
const TICKS_PER_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 123 77 0 0 20 0 9 0 100 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("nothing"), None);
    }

    #[test]
    fn we_use_memory_ourselves() {
        let usage = usage(&[std::process::id()]).unwrap();
        assert!(usage.resident_kib > 500 && usage.resident_kib_most >= usage.resident_kib && usage.threads > 0);
        assert!(super::usage(&[u32::MAX]).is_err());
    }
}
