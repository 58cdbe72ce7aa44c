//! The program: exit codes, messages, a stop by SIGTERM.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use fake_entra::{FakeEntra, Options};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::install_tls;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport-mcp-server"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("AZURE_FEDERATED_TOKEN_FILE").kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Output {
    tokio::time::timeout(Duration::from_secs(20), program(arguments).output()).await.expect("in time").unwrap()
}

/// A file that is removed with its owner.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-mcp-server-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn bad_usage_is_64() {
    for arguments in [&[][..], &["serve"], &["nonsense"], &["serve", "--config"], &["check", "--config", "x", "y"]] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(run(&arguments).await.status.code(), Some(0));
    }
}

#[tokio::test]
async fn bad_configuration_is_78_with_every_mistake() {
    let file = File::new("bad", "listen = 1\nallowed_caller = []\n");
    for command in ["serve", "check"] {
        let output = run(&[command, "--config", file.path()]).await;
        assert_eq!(output.status.code(), Some(78), "{command}");
        let said = String::from_utf8(output.stderr).unwrap();
        for expected in
            [":1: listen must", ":2: allowed_caller is not", "allowed_callers is missing", "entra is missing"]
        {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert!(said.lines().all(|line| line.starts_with(file.path())), "{said}");
    }
    assert_eq!(run(&["serve", "--config", "/nonexistent/file"]).await.status.code(), Some(78));
}

#[tokio::test]
async fn serves_until_sigterm() {
    install_tls();
    let fake = FakeEntra::start(Options::default()).await.unwrap();
    let file = File::new("good", &configuration(&fake, 0));
    assert_eq!(run(&["check", "--config", file.path()]).await.status.code(), Some(0));

    let mut child = program(&["serve", "--config", file.path()]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(10), log.next_line()).await.expect("in time").unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).expect(&line);
    assert_eq!(line["message"], "listening", "{line}");
    let address = line["address"].as_str().unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let health = http.get(format!("http://{address}/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);

    assert_eq!(terminate(&mut child).await, Some(0));
}

/// What a library would say of a log that takes nothing goes to the same place, by a macro that panics there.
#[tokio::test]
async fn with_a_full_disk_under_its_log_it_serves_all_the_same() {
    install_tls();
    let fake = FakeEntra::start(Options::default()).await.unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = File::new("full", &configuration(&fake, port));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = program(&["serve", "--config", file.path()]).stderr(full).spawn().unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let mut tries = 0;
    let health = loop {
        match http.get(format!("http://127.0.0.1:{port}/healthz")).send().await {
            Ok(health) => break health,
            Err(_) if tries < 200 => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}: {:?}", child.try_wait()),
        }
        tries += 1;
    };
    assert_eq!(health.status(), 200);
    assert_eq!(terminate(&mut child).await, Some(0));
}

fn configuration(fake: &FakeEntra, port: u16) -> String {
    format!(
        "listen = \"127.0.0.1:{port}\"\nallowed_callers = [\"{}\"]\ngraph_url = \"{}\"\n[entra]\nauthority = \"{}\"\n\
         tenant_id = \"{}\"\nclient_id = \"{}\"\n[entra.credential]\nkind = \"managed-identity\"\nendpoint = \"{}\"\n",
        fake.gateway_client_id(),
        fake.graph_url(),
        fake.authority(),
        fake.tenant_id(),
        fake.server_client_id(),
        fake.imds_url()
    )
}

/// Its exit code.
async fn terminate(child: &mut Child) -> Option<i32> {
    let id = child.id().expect("still running").to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    tokio::time::timeout(Duration::from_secs(10), child.wait()).await.expect("in time").unwrap().code()
}

#[tokio::test]
async fn a_taken_address_is_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let example = include_str!("../../sallyport-mcp-server.example.toml");
    let text = example.replace("127.0.0.1:8000", &taken.local_addr().unwrap().to_string());
    let file = File::new("taken", &text);
    let output = run(&["serve", "--config", file.path(), "--log-format", "text"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot listen on 127.0.0.1"));
}
