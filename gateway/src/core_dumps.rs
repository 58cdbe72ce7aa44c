//! Tokens pass through memory in clear: a crash must not write them to a disk, nor a neighbour read them.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// For the rest of this process's life: no core dumps, and on Linux no debugger and no `/proc/<pid>/mem` for other
/// processes of the same user. Root can read everything, still.
///
/// # Errors
/// When the system does not allow it. What was done stays done.
pub fn forbid() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_there_is_nothing_to_dump() {
        forbid().unwrap();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        #[cfg(target_os = "linux")]
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
    }
}
