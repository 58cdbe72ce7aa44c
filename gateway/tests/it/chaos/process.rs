//! A replica in a process of its own, which can be killed, or told to stop.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::rig::Rig;
use crate::support::free_port;

/// `sallyport serve` with the public URL, Redis and key ring of a [`Rig`]. It signs nobody in, as the program does not
/// accept a stand-in's tokens; redeeming and admitting need none. Killed when dropped.
pub struct Replica {
    process: Child,
    port: u16,
    admin_port: u16,
    folder: std::path::PathBuf,
}

impl Replica {
    pub async fn start(rig: &Rig) -> Self {
        Self::start_at(rig, [free_port(), free_port()], "http://127.0.0.1:9", "").await
    }

    /// At these ports, the second one for operators, before this upstream; `more` is configuration.
    pub async fn start_at(rig: &Rig, [port, admin_port]: [u16; 2], upstream: &str, more: &str) -> Self {
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
            servers = ["{upstream}"]
            {more}
            "#,
            public_url = rig.front.public_url(),
            authority = entra.authority(),
            tenant = entra.tenant_id(),
            client = entra.gateway_client_id(),
            scope = entra.scope(),
            redis = rig.to_redis.port(),
            ring = rig.ring.0.display(),
        );
        std::fs::write(folder.join("sallyport.toml"), text).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_sallyport"))
            .args(["serve", "--config"])
            .arg(folder.join("sallyport.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let replica = Self { process, port, admin_port, folder };
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

    pub fn port(&self) -> u16 {
        self.port
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
