//! A redis-server of the test's own: a free loopback port, a folder of its own, nothing written to disk unless asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Stopped, by its process id, when it is dropped; its folder goes with it.
pub struct RedisServer {
    process: Child,
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
}

impl RedisServer {
    /// `None` when this machine has no redis-server, and the test says aloud that it is skipped.
    ///
    /// # Panics
    /// When it is missing or does not start although `SALLYPORT_REQUIRE_REDIS` or `CI` is set.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// With more arguments on its command line.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        if Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            let required = ["SALLYPORT_REQUIRE_REDIS", "CI"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!required, "{PROGRAM} is not installed, and this run requires it");
            say_skipped();
            return None;
        }
        let folder = new_folder();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        // Another process may take the port between our looking and Redis' binding.
        for _ in 0..5 {
            let port = free_port();
            if let Some(process) = launch(port, &folder, &arguments) {
                return Some(Self { process, port, folder, arguments });
            }
        }
        panic!("{PROGRAM} does not start; see its log in {}", folder.display());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything it holds, as it would lie on disk.
    pub fn dump(&self) -> Vec<u8> {
        assert_eq!(self.tell("SAVE"), "+OK");
        std::fs::read(self.folder.join("dump.rdb")).expect("it has written")
    }

    /// One command, and what Redis answers: a line as it came, or the text of a bulk string.
    pub fn tell(&self, command: &str) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(START_TIMEOUT)).expect("a timeout can be set");
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
        let mut line = String::new();
        stream.read_line(&mut line).expect("it answers");
        let line = line.trim_end().to_owned();
        let Some(length) = line.strip_prefix('$') else { return line };
        let mut text = vec![0; length.parse().expect("a length")];
        stream.read_exact(&mut text).expect("it answers");
        String::from_utf8(text).expect("it answers in ASCII")
    }

    /// As a crash does: at once, and every connection is cut.
    pub fn stop(&mut self) {
        self.process.kill().expect("our own child can be killed");
        self.process.wait().expect("our own child can be waited for");
    }

    /// On the same port, with what the last [`RedisServer::dump`] wrote; without one, empty.
    pub fn start_again(&mut self) {
        self.process = launch(self.port, &self.folder, &self.arguments).expect("it started before");
    }

    /// Connections stay open and nothing answers, until [`RedisServer::thaw`].
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Neither can fail in a way that matters now; a second panic would hide the first.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A running server, or `None` when it ended, which a taken port is the likely cause of.
fn launch(port: u16, folder: &Path, arguments: &[String]) -> Option<Child> {
    let mut process = Command::new(PROGRAM)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        // A compressed dump could hide what a test looks for in it.
        .args(["--rdbcompression", "no", "--logfile", "redis.log", "--dir"])
        .arg(folder)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server can be executed");
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if process.try_wait().expect("our own child can be waited for").is_some() {
            return None;
        }
        if answers(port) {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    process.kill().expect("our own child can be killed");
    process.wait().expect("our own child can be waited for");
    None
}

/// `+PONG`, or `-NOAUTH` from a server that wants a password.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && (answer == *b"+PONG" || answer == *b"-NOAU")
}

/// A port that nobody else is given: neither twice in this process, nor one of those that the system gives to outgoing
/// connections, of which other tests have thousands.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes begin at different places.
    let first = std::process::id().wrapping_mul(997);
    let ports = (0..PORTS).map(|_| {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        LOWEST_PORT + u16::try_from(offset).expect("there are fewer ports than that")
    });
    ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("loopback has a free port")
}

fn new_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("sallyport-redis-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).expect("the folder for temporary files is writable");
    folder
}

/// Written past the test harness, which hides what a passing test prints.
fn say_skipped() {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line =
        format!("\nSKIPPED {test}: {PROGRAM} is not installed (SALLYPORT_REQUIRE_REDIS=1 makes this a failure)\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}

const PROGRAM: &str = "redis-server";
const LOWEST_PORT: u16 = 20_000;
const PORTS: u32 = 12_000;
/// With what a test may have put into it: millions of keys are read in seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);
