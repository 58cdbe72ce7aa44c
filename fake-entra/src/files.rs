//! Files that others read while they are written.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// Written beside and renamed, so that a reader never sees half of it.
///
/// # Errors
/// The folder cannot be written to.
pub fn replace(file: &Path, mode: u32, content: &[u8]) -> Result<()> {
    write_beside(file, mode, content).with_context(|| format!("cannot write {}", file.display()))
}

fn write_beside(file: &Path, mode: u32, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut open = std::fs::OpenOptions::new();
    let mut written = open.write(true).create_new(true).mode(mode).open(&beside)?;
    written.write_all(content)?;
    written.sync_all()?;
    std::fs::rename(&beside, file)
}
