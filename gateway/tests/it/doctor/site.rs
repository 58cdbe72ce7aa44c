//! An installation to be looked at, and what the doctor says of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;
use fake_entra::FakeEntra;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::program::{Folder, PROGRAM, Running, configuration};
use crate::support::redis_server::RedisServer;
use crate::support::{free_port, install_crypto_provider};

/// Whom the stand-in's federated credential names.
pub const SERVICE_ACCOUNT: &str = "system:serviceaccount:sallyport:sallyport";

/// An installation that is as it should be, until a test spoils it.
pub struct Site {
    pub folder: Folder,
    pub entra: FakeEntra,
    server: JoinHandle<()>,
    pub port: u16,
    pub file: String,
}

/// What the doctor said.
pub struct Said {
    pub code: i32,
    pub findings: Vec<Value>,
    pub text: String,
}

impl Site {
    pub async fn new(name: &str) -> Self {
        install_crypto_provider();
        let entra = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
        let folder = Folder::new(&format!("doctor-{name}"));
        let (port, admin_port) = (free_port(), free_port());
        let file = configuration(&folder, port, admin_port);
        let token = folder.file("federated-token", &entra.mint_service_account_token(SERVICE_ACCOUNT));
        fs::set_permissions(token, PermissionsExt::from_mode(0o600)).unwrap();
        let (server, upstream) = wanting_a_token().await;
        let site = Self { folder, entra, server, port, file };
        let at = format!("[entra]\nauthority = \"{}\"", site.entra.authority());
        site.change("[entra]", &at);
        site.change("11111111-1111-1111-1111-111111111111", site.entra.tenant_id());
        site.change("22222222-2222-2222-2222-222222222222", site.entra.gateway_client_id());
        site.change("api://33333333-3333-3333-3333-333333333333/access_as_user", &site.entra.scope());
        site.change("http://127.0.0.1:9", &upstream);
        site
    }

    pub fn change(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(&self.file, text.replace(from, to)).unwrap();
    }

    pub async fn serve(&self) -> Running {
        let running = Running::of(Command::new(PROGRAM).args(["serve", "--config", &self.file]));
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running
    }

    pub async fn ask(&self) -> Said {
        self.ask_with(&[]).await
    }

    /// With variables of the environment.
    pub async fn ask_with(&self, environment: &[(&str, &str)]) -> Said {
        let mut command = Command::new(PROGRAM);
        command.args(["doctor", "--json", "--config", &self.file]).envs(environment.iter().copied());
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let answer: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        let findings = answer["findings"].as_array().unwrap().clone();
        let said = Said { code: output.status.code().unwrap(), findings, text };
        assert_eq!(said.code, said.of_level("fail").len() as i32, "{}", said.text);
        assert_eq!(answer["failures"], said.code);
        for finding in &said.findings {
            let has_fix = finding["fix"].as_str().is_some_and(|fix| fix.len() > 10);
            assert_eq!(has_fix, finding["level"] != "ok", "{finding}");
        }
        for canary in self.entra.canaries() {
            assert!(!said.text.contains(&canary), "it shows {canary}");
        }
        said
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Said {
    pub fn of_level(&self, level: &str) -> Vec<&str> {
        let found = self.findings.iter().filter(|finding| finding["level"] == level);
        found.map(|finding| finding["check"].as_str().unwrap()).collect()
    }

    /// The one failure that there is, and its fix.
    pub fn only_failure(&self, check: &str) -> (&str, &str) {
        assert_eq!(self.of_level("fail"), [check], "{}", self.text);
        self.words(check)
    }

    pub fn words(&self, check: &str) -> (&str, &str) {
        let found = self.findings.iter().find(|finding| finding["check"] == check);
        let found = found.unwrap_or_else(|| panic!("nothing of {check} in {}", self.text));
        (found["says"].as_str().unwrap(), found["fix"].as_str().unwrap_or_default())
    }
}

/// An MCP server, as far as somebody without a token sees it.
async fn wanting_a_token() -> (JoinHandle<()>, String) {
    answering(|| async { axum::http::StatusCode::UNAUTHORIZED }).await
}

pub async fn answering<H, T>(handler: H) -> (JoinHandle<()>, String)
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(handler));
    (tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }), url)
}

/// The user of `deploy/redis/users.acl`, and its password in a file.
pub fn least_user(redis: &RedisServer, site: &Site) {
    let line =
        include_str!("../../../../deploy/redis/users.acl").lines().find(|line| line.contains("sallyport on")).unwrap();
    let rights = line.split_once("-IN-HEX ").unwrap().1;
    assert_eq!(redis.tell(&format!("ACL SETUSER sallyport on >canary-of-redis {rights}")), "+OK");
    let password = site.folder.file("redis-password", "canary-of-redis");
    let url = redis.url().replace("redis://", "redis://sallyport@");
    site.change("url = \"memory:\"", &format!("url = \"{url}\"\npassword_file = \"{password}\""));
}
