//! A control group with a limit of memory, as a unit with `MemoryMax` and a container have one. Making one takes root.

use std::path::PathBuf;
use std::{fs, io};

/// Removed when dropped: whoever was in it must have ended.
pub struct MemoryGroup {
    folder: PathBuf,
    /// Of the first version of control groups, or the second.
    first: bool,
}

impl MemoryGroup {
    /// `None` where this machine does not let us, which the caller says aloud.
    pub fn new(bytes: u64) -> Option<Self> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let first = root.join("memory/memory.limit_in_bytes").exists();
        let parent = if first { root.join("memory") } else { root };
        let group = Self { folder: parent.join(format!("sallyport-test-{}", std::process::id())), first };
        fs::create_dir(&group.folder).ok()?;
        let limit = if first { "memory.limit_in_bytes" } else { "memory.max" };
        // Dropped, it goes again.
        group.write(limit, bytes).ok()?;
        Some(group)
    }

    /// With this a shell puts itself into it, and what it becomes.
    pub fn enter(&self) -> String {
        format!("echo $$ > {}", self.folder.join("cgroup.procs").display())
    }

    /// How many of its processes the kernel has killed, for there was no memory left.
    pub fn killed(&self) -> u64 {
        let file = if self.first { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.folder.join(file)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap();
        count.parse().unwrap()
    }

    /// Whether a process is in it.
    pub fn is_used(&self) -> bool {
        !fs::read_to_string(self.folder.join("cgroup.procs")).unwrap().is_empty()
    }

    fn write(&self, file: &str, value: u64) -> io::Result<()> {
        fs::write(self.folder.join(file), value.to_string())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Nothing is lost if it stays: it is empty.
        let _ = fs::remove_dir(&self.folder);
    }
}
