//! The Redis of an installation: started, asked how much it did, and overheard.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::machine::has;
use super::super::stage::{Serving, Side, Stage, free_address};

/// # Errors
/// When it is not installed, or does not come up.
pub async fn start(stage: &mut Stage) -> anyhow::Result<Serving> {
    ensure!(has("redis-server"), "redis-server is not installed");
    let address = free_address()?;
    let mut command = stage.command(Side::Load, &PathBuf::from("redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--appendonly", "no"]);
    command.args(["--maxmemory-policy", "noeviction"]);
    stage.serve("redis", command, address).await
}

/// How many commands it has processed.
///
/// # Errors
/// When it does not say so.
pub async fn commands(redis: SocketAddr) -> anyhow::Result<u64> {
    let mut stream = BufReader::new(TcpStream::connect(redis).await?);
    stream.get_mut().write_all(b"INFO stats\r\n").await?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut line = String::new();
    while Instant::now() < deadline && stream.read_line(&mut line).await? > 0 {
        if let Some(count) = line.trim_end().strip_prefix("total_commands_processed:") {
            return Ok(count.parse()?);
        }
        line.clear();
    }
    anyhow::bail!("Redis does not say what it did")
}

/// Puts values there that last as long as it does.
///
/// # Errors
/// When it does not take them.
pub async fn put(redis: SocketAddr, values: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(redis).await?);
    for (key, value) in values {
        let mut command = b"*3\r\n$3\r\nSET\r\n".to_vec();
        for part in [key, value] {
            command.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
            command.extend_from_slice(&part);
            command.extend_from_slice(b"\r\n");
        }
        stream.get_mut().write_all(&command).await?;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_line(&mut answer)).await??;
        ensure!(answer == "+OK\r\n", "Redis does not take it: {}", answer.trim_end());
    }
    Ok(())
}

/// A command that Redis was given, or that one of its scripts gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Since 1970, by Redis' clock, which is this machine's.
    pub at: Duration,
    pub name: String,
    pub by_script: bool,
}

/// Somebody who listens (`MONITOR`).
pub struct Monitor {
    listening: JoinHandle<Vec<Heard>>,
}

impl Monitor {
    /// # Errors
    /// When Redis does not let anybody listen.
    pub async fn listen(redis: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = BufReader::new(TcpStream::connect(redis).await?);
        stream.get_mut().write_all(b"MONITOR\r\n").await?;
        let mut line = String::new();
        timeout(PATIENCE, stream.read_line(&mut line)).await??;
        ensure!(line.starts_with("+OK"), "Redis lets nobody listen");
        let listening = tokio::spawn(async move {
            let mut heard = Vec::new();
            let mut line = Vec::new();
            // Values may be anything, though Redis writes them in printable characters.
            while stream.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                match parsed(&String::from_utf8_lossy(&line)) {
                    Some(command) if command.name == END => break,
                    command => heard.extend(command),
                }
                line.clear();
            }
            heard
        });
        Ok(Self { listening })
    }

    /// What was heard until now.
    ///
    /// # Errors
    /// When Redis is gone.
    pub async fn stop(self, redis: SocketAddr) -> anyhow::Result<Vec<Heard>> {
        // What is written in the background is given its time.
        sleep(Duration::from_millis(100)).await;
        let mut stream = TcpStream::connect(redis).await?;
        stream.write_all(format!("{END}\r\n").as_bytes()).await?;
        timeout(PATIENCE, self.listening).await?.context("the listener failed")
    }
}

/// `1339518083.107412 [0 127.0.0.1:60866] "get" "key"`, with `lua` in the place of the address for a script.
fn parsed(line: &str) -> Option<Heard> {
    let line = line.trim_start_matches('+');
    let (at, rest) = line.split_once(" [")?;
    let (by, rest) = rest.split_once("] \"")?;
    let (name, _) = rest.split_once('"')?;
    let at = Duration::try_from_secs_f64(at.parse().ok()?).ok()?;
    Some(Heard { at, name: name.to_uppercase(), by_script: by.ends_with(" lua") })
}

const PATIENCE: Duration = Duration::from_secs(5);
/// A command that nobody else gives.
const END: &str = "LASTSAVE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_told_apart() {
        let heard = parsed("+1339518083.5 [0 127.0.0.1:60866] \"get\" \"a \\\" b\"\r\n").unwrap();
        assert_eq!(
            heard,
            Heard { at: Duration::from_secs_f64(1339518083.5), name: "GET".to_owned(), by_script: false }
        );
        assert!(parsed("+1339518083.5 [0 lua] \"incr\" \"k\"").unwrap().by_script);
        assert!(parsed("+OK").is_none());
    }
}
