use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bench;

/// The program, killed by its id if a test ends early.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn start(arguments: &[&str]) -> (Program, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-entra"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Program(child), serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn prints_its_urls_keeps_the_token_private_and_stops_on_request() {
    let file = std::env::temp_dir().join(format!("fake-entra-{}.json", uuid::Uuid::new_v4()));
    let (mut program, printed) = start(&["--port", "0", "--control-port", "0", "--state-file", file.to_str().unwrap()]);
    assert!(printed.get("control_token").is_none(), "it is in the file");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();

    let http = bench().await.http;
    let authority = printed["authority"].as_str().unwrap();
    let tenant = printed["tenant_id"].as_str().unwrap();
    let url = format!("{authority}/{tenant}/v2.0/.well-known/openid-configuration");
    assert_eq!(http.get(url).send().await.unwrap().status(), 200);
    let journal = format!("{}/_emu/journal", state["control_url"].as_str().unwrap());
    let token = state["control_token"].as_str().unwrap();
    assert_eq!(http.get(journal).bearer_auth(token).send().await.unwrap().status(), 200);

    let id = program.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = program.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "did not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success());
}

#[test]
fn prints_the_token_without_a_file() {
    let (_program, printed) = start(&[]);
    assert!(printed["control_token"].as_str().unwrap().len() >= 40);
}

#[test]
fn has_no_option_for_another_address() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-entra"));
    for option in ["--host", "--address", "--bind"] {
        let output = command.args([option, "0.0.0.0"]).output().unwrap();
        assert!(!output.status.success());
    }
}
