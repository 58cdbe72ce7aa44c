//! The program: exit codes, what it prints, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use axum::http::StatusCode;
use loadtest::target::Target;
use tokio::process::Command;

use crate::support::{Behaviour, target};

const GOOD: Behaviour = |_| (Duration::ZERO, StatusCode::OK);
const REFUSES: Behaviour = |_| (Duration::ZERO, StatusCode::UNAUTHORIZED);

pub async fn loadtest(command: &str, url: &str, more: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let run = program.args([command, "--url", url]).args(more).kill_on_drop(true).output();
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("no run outlives its time").unwrap()
}

pub fn url(target: &Target) -> &str {
    target.url().as_str()
}

/// A file of its own for each test, removed at the end.
pub struct File(pub PathBuf);

impl File {
    pub fn new(name: &str, content: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("loadtest-{}-{name}", std::process::id())));
        fs::write(&file.0, content).unwrap();
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_good_run_is_told_in_every_form() {
    let (json, plot) = (File::new("json", ""), File::new("plot.svg", ""));
    let target = target(GOOD).await;
    let pid = std::process::id().to_string();
    let more = [
        "--rate",
        "100",
        "--seconds",
        "2",
        "--max-lag-ms",
        "500",
        "--pid",
        &pid,
        "--json",
        json.path(),
        "--plot",
        plot.path(),
    ];
    let output = loadtest("open", url(&target), &more).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("200 answers") && text.contains("of CPU each"), "{text}");
    assert!(output.stderr.is_empty(), "no bar where there is no terminal");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&json.0).unwrap()).unwrap();
    assert_eq!(report["figures"]["count"], 200);
    let settings = &report["settings"];
    for (name, value) in [("rate", 100.0), ("seconds", 2.0), ("expect", 200.0), ("threads", 1.0), ("connections", 64.0)]
    {
        assert_eq!(settings[name].as_f64(), Some(value), "{name} of {settings}");
    }
    assert_eq!(settings["url"], url(&target));
    assert!(text.contains(&format!("url {}, expect 200, rate 100", url(&target))), "{text}");
    assert_eq!(report["void"], serde_json::json!([]));
    assert!(fs::read_to_string(&plot.0).unwrap().starts_with("<svg"));
}

#[tokio::test]
async fn a_void_run_ends_with_1_and_shows_no_latency() {
    let target = target(REFUSES).await;
    for (command, more) in [("open", &["--rate", "50", "--seconds", "1"][..]), ("closed", &["--requests", "20"])] {
        let output = loadtest(command, url(&target), more).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("failed: status 401 instead of 200") && !text.contains("p50"), "{text}");
    }
}

#[tokio::test]
async fn another_machine_is_refused() {
    for url in ["http://192.0.2.1/mcp", "https://mcp.example.com/mcp"] {
        let output = loadtest("closed", url, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{url}");
    }
}

#[tokio::test]
async fn a_storm_wants_tokens_of_its_kind() {
    let target = target(REFUSES).await;
    let storm = async |kind, tokens: &str| {
        let more = ["--kind", kind, "--tokens", tokens, "--rate", "50", "--seconds", "1", "--max-lag-ms", "500"];
        loadtest("storm", url(&target), &more).await
    };
    let expired = File::new("expired", "{\"access_token\":\"sp1_at_SECRET\",\"expires_at\":1000}\n");
    let live = File::new("live", "{\"access_token\":\"sp1_at_SECRET\",\"expires_at\":99999999999}\n");
    assert!(storm("expired", expired.path()).await.status.success());
    assert!(storm("forged", live.path()).await.status.success());
    for (kind, file) in [("expired", &live), ("valid", &expired)] {
        let output = storm(kind, file.path()).await;
        assert_eq!(output.status.code(), Some(1), "{kind}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let refused = storm("valid", live.path()).await;
    assert_eq!(refused.status.code(), Some(1), "a good token that is refused voids the run");
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("SECRET"));
}

#[tokio::test]
async fn any_target_can_be_driven_by_a_header_file() {
    let headers = File::new("headers", "accept: text/plain\nx-key: secret\n");
    let target = target(|_| (Duration::ZERO, StatusCode::NO_CONTENT)).await;
    let more = ["--get", "--headers", headers.path(), "--expect", "204", "--requests", "50"];
    let output = loadtest("closed", url(&target), &more).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
