//! A replica in a process of its own, which can be killed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::rig::Rig;
use crate::support::free_port;

/// `sallyport serve` with the public URL, Redis and key ring of a [`Rig`]. It signs nobody in, as the program does not
/// accept a stand-in's tokens; redeeming and admitting need none. Killed when dropped.
pub struct Replica {
    process: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Replica {
    pub async fn start(rig: &Rig) -> Self {
        let (port, admin_port, entra) = (free_port(), free_port(), rig.entra());
        let folder = std::env::temp_dir().join(format!("sallyport-replica-{}-{port}", std::process::id()));
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
            servers = ["http://127.0.0.1:9"]
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
        let replica = Self { process, port, folder };
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
