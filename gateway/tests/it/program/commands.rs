//! The commands that contact nobody, or this machine only.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Folder, PROGRAM, Running, configuration, run};
use crate::support::free_port;

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn what_can_be_configured_is_printed() {
    let example = run(&["config", "example"]);
    assert_eq!(text(&example), include_str!("../../../../deploy/sallyport.example.toml"));
    let schema: Value = serde_json::from_str(text(&run(&["config", "schema"]))).unwrap();
    assert_eq!(schema["properties"]["log"]["properties"]["format"]["enum"], serde_json::json!(["json", "text"]));
    let explained = run(&["config", "explain", "listen.trusted_proxies"]);
    assert!(text(&explained).contains("environment SALLYPORT_LISTEN__TRUSTED_PROXIES"), "{}", text(&explained));
    let unknown = run(&["config", "explain", "listen.trusted_proxy"]);
    assert_eq!(unknown.status.code(), Some(64));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("Did you mean listen.trusted_proxies?"), "{said}");
}

#[test]
fn pages_and_completions_are_printed() {
    let page = run(&["man"]);
    assert!(text(&page).contains(".TH sallyport 1"), "{}", text(&page));
    let folder = Folder::new("man");
    assert!(run(&["man", "--folder", &folder.path("")]).status.success());
    assert!(std::fs::read_to_string(folder.path("sallyport-keys-rotate.1")).unwrap().contains("five minutes"));
    assert_eq!(run(&["man", "--folder", &folder.path("absent")]).status.code(), Some(1));
    let completions = run(&["completions", "bash"]);
    assert!(text(&completions).contains("_sallyport()"));
    assert_eq!(run(&["completions", "no-such-shell"]).status.code(), Some(64));
}

#[test]
fn a_container_is_told_whether_its_edge_lives() {
    let folder = Folder::new("healthcheck");
    let (port, admin_port) = (free_port(), free_port());
    let file = configuration(&folder, port, admin_port);
    let check = || run(&["healthcheck", "--config", &file]);
    let down = check();
    assert_eq!(down.status.code(), Some(1));
    assert!(String::from_utf8(down.stderr).unwrap().contains(&format!("127.0.0.1:{admin_port} gives no answer")));

    let running = Running::of(Command::new(PROGRAM).args(["serve", "--config", &file]));
    let started = Instant::now();
    while check().status.code() != Some(0) {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", check());
        std::thread::sleep(Duration::from_millis(20));
    }
    // A mistake that is no matter of the admin listener's ends no edge that serves.
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("kind = ", "knid = ")).unwrap();
    assert_eq!(check().status.code(), Some(0));
    std::fs::write(&file, good.replace(&format!("127.0.0.1:{admin_port}"), "nowhere")).unwrap();
    let wrong = check();
    assert_eq!(wrong.status.code(), Some(78));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("admin.address: must be an IP address"));
    assert_eq!(running.terminate().0, Some(0));
}
