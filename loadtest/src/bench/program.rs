//! A program that the run started, and ends by its own process id.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Killed when it is dropped, and by the system when the run is killed.
pub struct Program {
    name: String,
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Program {
    /// What it writes goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id();
        Ok(Self { name: name.to_owned(), child, pid, log })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until somebody listens at `address`.
    ///
    /// # Errors
    /// When it ends before, or takes longer than a minute. The error has the end of what it wrote.
    pub async fn listens_at(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            self.is_well(deadline)?;
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Waits until `found` finds what it looks for.
    ///
    /// # Errors
    /// As [`Program::listens_at`].
    pub async fn until<T>(&mut self, mut found: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(found) = found().await {
                return Ok(found);
            }
            self.is_well(deadline)?;
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until it has done what it was to do.
    ///
    /// # Errors
    /// When it fails, or takes longer than `limit`. The error has the end of what it wrote.
    pub async fn ends(mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} ended with {status}: {}", self.name, self.last_words()),
                None if Instant::now() > deadline => bail!("{} took longer than {limit:?}", self.name),
                None => sleep(LOOK_AGAIN).await,
            }
        }
    }

    fn is_well(&mut self, deadline: Instant) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}: {}", self.name, self.last_words());
        }
        if Instant::now() > deadline {
            bail!("{} did not come up in {START:?}: {}", self.name, self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it fails, or does not end in time: then it is killed.
    pub async fn stop(self) -> anyhow::Result<()> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended already, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
        self.ends(END).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const START: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const END: Duration = Duration::from_secs(20);
