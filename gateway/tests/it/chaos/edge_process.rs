//! An edge in a process of its own that signs people in: the program's own code from its configuration file to its end, and one
//! thing different, that it takes the stand-in's tokens, which `sallyport serve` never does. This very program, started for the
//! one test that is none.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sallyport::clock::Clock;
use sallyport::config::Config;
use sallyport::drain::StopSignal;
use sallyport::server::{Inherited, Process, Server};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::support::browser::http_client;

/// Names the configuration. Without it the test below has nothing to do.
const CONFIG: &str = "SALLYPORT_TEST_EDGE_CONFIG";

/// How one process is started.
#[derive(Default)]
pub struct Launch<'a> {
    /// Its clock is so many seconds wrong; `None` where it is not, and libfaketime is not needed.
    pub clock: Option<i64>,
    /// How many files it may have open.
    pub files: Option<u32>,
    /// Listens there already, as systemd passes a socket.
    pub socket: Option<&'a TcpListener>,
}

/// Killed, by its process id, when dropped.
pub struct EdgeProcess {
    pub port: u16,
    pub admin_port: u16,
    process: Child,
}

impl EdgeProcess {
    /// `configuration` says the ports too. What it says goes to `log`, after what stands there.
    pub async fn start(configuration: &PathBuf, ports: [u16; 2], log: &PathBuf, launch: Launch<'_>) -> Self {
        let arguments = ["--exact", "chaos::edge_process::serve", "--ignored", "--nocapture", "--test-threads", "1"];
        let mut script = String::from("exec 3<&0 0</dev/null; ");
        if let Some(files) = launch.files {
            script += &format!("ulimit -n {files}; ");
        }
        if launch.socket.is_some() {
            script += "export LISTEN_PID=$$ LISTEN_FDS=1; ";
        }
        let mut command = Command::new("sh");
        command.args(["-c", &(script + "exec \"$@\""), "sh"]).arg(std::env::current_exe().unwrap()).args(arguments);
        command.env(CONFIG, configuration).env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
        if let Some(seconds) = launch.clock {
            let library = faketime().expect("libfaketime is there");
            command.env("LD_PRELOAD", library).env("FAKETIME", format!("{seconds:+}s"));
            // Only what the time is; how long things take stays true.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let input = launch.socket.map(|socket| Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let process = command.stdin(input.unwrap_or_else(Stdio::null)).stdout(Stdio::null()).stderr(log);
        let edge = Self { port: ports[0], admin_port: ports[1], process: process.spawn().unwrap() };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !edge.is_ready().await {
            assert!(Instant::now() < deadline, "the edge at {} is not ready", edge.port);
            sleep(Duration::from_millis(20)).await;
        }
        edge
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin_port)
    }

    async fn is_ready(&self) -> bool {
        // Until it listens, asking is no use.
        if TcpStream::connect(("127.0.0.1", self.admin_port)).await.is_err() {
            return false;
        }
        let answer = http_client().get(self.admin_url("/readyz")).timeout(Duration::from_secs(2)).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// SIGTERM; whether it ended with 0 within `limit`, and after how long. What does not is killed.
    pub async fn terminate(&mut self, limit: Duration) -> (bool, Duration) {
        let told = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap().success());
        while told.elapsed() < limit {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status.code() == Some(0), told.elapsed());
            }
            sleep(Duration::from_millis(5)).await;
        }
        self.kill();
        (false, told.elapsed())
    }

    /// SIGKILL: nothing is finished, nobody is told.
    pub fn kill(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Resident memory in KiB, and threads.
    pub fn memory_and_threads(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        (of("VmRSS:"), of("Threads:"))
    }

    pub fn files(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.id())).map_or(0, |files| files.count() as u64)
    }
}

impl Drop for EdgeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The library that makes a clock wrong, for programs with threads.
///
/// # Panics
/// When it is missing although `SALLYPORT_REQUIRE_FAKETIME` or `CI` is set.
pub fn faketime() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib"];
    let names = folders.iter().map(|folder| PathBuf::from(folder).join("faketime/libfaketimeMT.so.1"));
    let found = names.into_iter().find(|file| file.exists());
    let required = ["SALLYPORT_REQUIRE_FAKETIME", "CI"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(found.is_some() || !required, "libfaketime is not installed, and this run requires it");
    found
}

struct Terminated;

#[async_trait]
impl StopSignal for Terminated {
    async fn received(&self) {
        signal(SignalKind::terminate()).unwrap().recv().await;
    }
}

/// The edge itself.
#[test]
#[ignore = "it is no test: other tests start it as a server"]
fn serve() {
    let Some(file) = std::env::var_os(CONFIG) else { return println!("SKIPPED: there is nothing to serve") };
    let inherited = Inherited::from_environment();
    crate::support::install_crypto_provider();
    let mut config = Config::load(&PathBuf::from(file)).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    config.server.entra.accept_emulator = true;
    sallyport::log::start(&config.log);
    Server::build(config.server, Clock::system(), inherited, Process::Own).unwrap().run(Terminated);
    sallyport::log::flush();
}
