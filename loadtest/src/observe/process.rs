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

/// CPU time of all threads that a process has, to the nanosecond for those that rest; of threads that ended it knows nothing.
///
/// # Errors
/// When it is gone, or the kernel keeps no such account.
pub fn run_time(process: u32) -> anyhow::Result<Duration> {
    run_time_where(process, |_| true)
}

/// Likewise of those threads whose name is a certain one.
///
/// # Errors
/// As [`run_time`].
pub fn run_time_where(process: u32, named: impl Fn(&str) -> bool) -> anyhow::Result<Duration> {
    let folder = format!("/proc/{process}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    let mut sum = Duration::ZERO;
    for thread in threads {
        let thread = thread?.path();
        // One that ends meanwhile has no files any more.
        let (Ok(name), Ok(account)) =
            (fs::read_to_string(thread.join("comm")), fs::read_to_string(thread.join("schedstat")))
        else {
            continue;
        };
        if named(name.trim_end()) {
            let run = account.split(' ').next().and_then(|run| run.parse().ok());
            sum += Duration::from_nanos(run.context("the kernel keeps no account of threads")?);
        }
    }
    Ok(sum)
}

/// Memory of a process now.
///
/// # Errors
/// When it is gone.
pub fn resident_kib(process: u32) -> anyhow::Result<u64> {
    Ok(usage(&[process])?.resident_kib)
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

    #[test]
    fn run_time_is_finer_than_a_tick() {
        let all = || run_time(std::process::id()).unwrap();
        let before = all();
        let mut sum = 0_u64;
        while all() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert_eq!(run_time_where(std::process::id(), |name| name == "no such thread").unwrap(), Duration::ZERO);
        assert!(run_time(u32::MAX).is_err());
    }
}
