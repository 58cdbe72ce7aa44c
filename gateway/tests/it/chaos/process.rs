//! A replica in a process of its own, which can be told to stop, killed and measured.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::rig::Rig;
use crate::support::browser::http_client;
use crate::support::free_port;

/// `sallyport serve` with the public URL, Redis and key ring of a [`Rig`]. It signs nobody in, as the program does not
/// accept a stand-in's tokens; redeeming and admitting need none. Killed when dropped.
pub struct Replica {
    pub port: u16,
    process: Child,
    admin_port: u16,
    folder: std::path::PathBuf,
}

/// What a test wants otherwise.
pub struct Program<'a> {
    /// Where it listens, the second one for operators; free ones when there are none here.
    pub ports: Option<[u16; 2]>,
    /// The MCP server.
    pub server: &'a str,
    /// More of the configuration file.
    pub configuration: &'a str,
    /// What a shell does before it becomes the program: limits of it, its standard error.
    pub shell: &'a str,
}

/// For [`Program::shell`]: one processor of those that there are, and so one worker, whose runtime is of another kind.
pub const ONE_PROCESSOR: &str =
    "taskset --cpu-list --pid \"$(taskset --cpu-list --pid $$ | sed 's/.*: \\([0-9]*\\).*/\\1/')\" $$";

/// Names another build of the program than the tests' own: figures of memory are for a release build.
const PROGRAM: &str = "SALLYPORT_PROGRAM";

impl Replica {
    pub async fn start(rig: &Rig) -> Self {
        Self::start_with(rig, Program { ports: None, server: "http://127.0.0.1:9", configuration: "", shell: "" }).await
    }

    pub async fn start_with(rig: &Rig, program: Program<'_>) -> Self {
        let [port, admin_port] = program.ports.unwrap_or_else(|| [free_port(), free_port()]);
        let entra = rig.entra();
        // The one before, at the same ports, may not have removed its own yet.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sallyport-replica-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("token"), "a.b.c").unwrap();
        let text = format!(
            r#"
            public_url = "{public_url}"
            [listen]
            address = "127.0.0.1:{port}"
            [admin]
            address = "127.0.0.1:{admin_port}"
            [entra]
            authority = "{authority}"
            tenant_id = "{tenant}"
            client_id = "{client}"
            scope = "{scope}"
            [entra.credential]
            kind = "workload-identity"
            token_file = "token"
            [store]
            url = "redis://127.0.0.1:{redis}"
            [keys]
            file = "{ring}"
            [[upstream]]
            name = "mcp"
            path = "/mcp"
            servers = ["{server}"]
            {more}
            "#,
            server = program.server,
            more = program.configuration,
            public_url = rig.front.public_url(),
            authority = entra.authority(),
            tenant = entra.tenant_id(),
            client = entra.gateway_client_id(),
            scope = entra.scope(),
            redis = rig.to_redis.port(),
            ring = rig.ring.0.display(),
        );
        std::fs::write(folder.join("sallyport.toml"), text).unwrap();
        let process = Command::new("sh")
            .args(["-c", &format!("set -e\n{}\nexec \"$0\" serve --config \"$1\"", program.shell)])
            .arg(std::env::var(PROGRAM).unwrap_or(env!("CARGO_BIN_EXE_sallyport").to_owned()))
            .arg(folder.join("sallyport.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let replica = Self { port, process, admin_port, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "the replica does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        replica
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin_port)
    }

    /// One in the folder that its configuration is in.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.join(name)
    }

    /// The value of a series; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> u64 {
        let metrics = http_client().get(self.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap_or("0");
        value.parse().unwrap()
    }

    /// The memory that it has of this machine.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// What the readiness probe of a cluster asks.
    pub fn readiness_url(&self) -> String {
        format!("http://127.0.0.1:{}/readyz", self.admin_port)
    }

    /// SIGTERM. Gives the exit code, and when it came to that.
    pub async fn terminate(&mut self, limit: Duration) -> (Option<i32>, Instant) {
        let status = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status.code(), Instant::now());
            }
            assert!(Instant::now() < deadline, "the replica does not end within {limit:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL: nothing is finished, nobody is told.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It has been killed already unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
