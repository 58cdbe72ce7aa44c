//! What the process may use. A service has limits of its own: its manager sets them, and the doctor sees those of who asks.

use rustix::process::{Resource, getrlimit};

use super::{Finding, Subject};
use crate::server::RingSource;

pub fn look(subject: &Subject) -> Vec<Finding> {
    let limits = subject.settings.connections;
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let locked = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    let mut findings = vec![of_files(files, limits.in_all)];
    if matches!(subject.settings.ring, RingSource::File(_)) {
        findings.push(of_locked_memory(locked));
    }
    findings
}

/// Each connection needs a file, and one to the server behind it.
fn of_files(files: u64, connections: u32) -> Finding {
    const CHECK: &str = "limits.files";
    let needed = u64::from(connections) * 2 + RESERVED;
    let fix = |needed: u64| {
        format!(
            "set LimitNOFILE={needed} in the unit (in a shell: ulimit -n {needed}), or a smaller limits.connections"
        )
    };
    let says = format!("{files} files may be open, for {connections} connections of clients");
    if files < FEW {
        return Finding::warn(CHECK, says, fix(65_536));
    }
    // By default so many connections are taken as there are files for.
    if needed > files.saturating_add(RESERVED) {
        return Finding::fail(CHECK, says, fix(needed));
    }
    Finding::ok(CHECK, says)
}

fn of_locked_memory(bytes: u64) -> Finding {
    const CHECK: &str = "limits.locked_memory";
    if bytes >= NEEDED_LOCKED {
        return Finding::ok(CHECK, "the keys can be kept out of swap");
    }
    let says = format!("{} KiB may be locked, so that keys may be written to swap", bytes / 1024);
    Finding::warn(CHECK, says, "set LimitMEMLOCK=1M in the unit (in a shell: ulimit -l 1024)")
}

/// For Redis, Entra, the admin listener and logs.
const RESERVED: u64 = 256;
const FEW: u64 = 4096;
const NEEDED_LOCKED: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn few_files_are_a_warning_and_fewer_than_configured_a_failure() {
        assert_eq!(of_files(1024, 384).level, Level::Warn);
        assert_eq!(of_files(65_536, 32_640).level, Level::Ok);
        let finding = of_files(65_536, 100_000);
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.fix.unwrap().contains("LimitNOFILE=200256"));
        assert_eq!(of_files(u64::MAX, 1_000_000).level, Level::Ok);
        assert_eq!((of_locked_memory(64 * 1024).level, of_locked_memory(8 << 20).level), (Level::Warn, Level::Ok));
    }
}
