//! Runs that end before they were to: the target dies, or somebody presses Ctrl-C. Each has a report that is void.

use std::fs;
use std::future::ready;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use loadtest::target::Target;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::program::{File, url};
use crate::support::{Behaviour, serve, target, target_with};

const GOOD: Behaviour = |_| (Duration::ZERO, StatusCode::OK);

fn started(command: &str, target: &Target, more: &[&str]) -> Child {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    program.args([command, "--url", url(target)]).args(more).kill_on_drop(true);
    program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ended(run: Child) -> Output {
    timeout(Duration::from_secs(40), run.wait_with_output()).await.expect("it ends").unwrap()
}

/// The stand-in for an MCP server, as a process of its own.
async fn upstream() -> (Child, Target) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let mut server = program.arg("upstream").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let line = BufReader::new(server.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap();
    (server, format!("{address}/mcp").parse().unwrap())
}

#[tokio::test]
async fn a_target_that_dies_has_a_void_report_which_says_what_could_not_be_read() {
    for (command, more) in
        [("open", &["--rate", "20", "--seconds", "5"][..]), ("streams", &["--streams", "3", "--seconds", "5"])]
    {
        let (mut server, target) = upstream().await;
        let json = File::new(&format!("{command}-died.json"), "");
        let pid = server.id().unwrap().to_string();
        let run = started(command, &target, &[more, &["--pid", &pid, "--json", json.path()]].concat());
        sleep(Duration::from_secs(2)).await;
        server.kill().await.unwrap();
        let output = ended(run).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("**Void**") && text.contains(&format!("cannot read /proc/{pid}/stat")), "{text}");
        let report: serde_json::Value = serde_json::from_slice(&fs::read(&json.0).unwrap()).unwrap();
        assert!(report["void"].as_array().is_some_and(|reasons| reasons.len() > 1), "{report}");
        assert!(report["figures"].is_null());
    }
}

#[tokio::test]
async fn metrics_that_end_void_the_run_and_are_named() {
    let serves_once: Behaviour = |n| (Duration::ZERO, if n == 0 { StatusCode::OK } else { StatusCode::NOT_FOUND });
    let metrics = target_with(serves_once, "up 1\n").await;
    let at = target(GOOD).await;
    let output = ended(started("closed", &at, &["--requests", "5", "--metrics", url(&metrics)])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("**Void**") && text.contains(&format!("cannot read {metrics}: status 404")), "{text}");
}

/// A target that tells when it is asked; for streams, each of its answers is one that ends at once.
async fn asked_target() -> (Target, Arc<Notify>) {
    let asked = Arc::new(Notify::new());
    let tell = asked.clone();
    let answer = move || {
        tell.notify_one();
        ready(([(header::CONTENT_TYPE, "text/event-stream")], "").into_response())
    };
    (serve(Router::new().fallback(any(answer))).await, asked)
}

#[tokio::test]
async fn ctrl_c_leaves_a_void_report() {
    for (command, more) in [
        ("open", &["--rate", "20", "--seconds", "60"][..]),
        ("closed", &["--seconds", "60"]),
        ("storm", &["--kind", "forged", "--rate", "20", "--seconds", "60"]),
        ("streams", &["--streams", "3", "--seconds", "60"]),
    ] {
        let (target, asked) = asked_target().await;
        let run = started(command, &target, more);
        // Who has sent a request heeds Ctrl-C.
        timeout(Duration::from_secs(30), asked.notified()).await.expect("it sends");
        let pid = Pid::from_raw(run.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let output = ended(run).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {text}");
        assert!(text.contains("**Void**") && text.contains("- ended by Ctrl-C"), "{command}: {text}");
    }
}
