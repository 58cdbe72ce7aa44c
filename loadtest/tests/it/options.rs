//! What the program refuses before it measures anything.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::process::Command;
use tokio::time::timeout;

use crate::program::{File, loadtest, url};
use crate::support::{Behaviour, target};

const GOOD: Behaviour = |_| (Duration::ZERO, StatusCode::OK);

/// Without a URL, which not every command has, and which is asked for last.
async fn refused(command: &str, more: &[&str], says: &str) {
    let run = Command::new(env!("CARGO_BIN_EXE_loadtest")).arg(command).args(more).kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(20), run).await.expect("it measures nothing").unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{command} {more:?}: {text}");
    assert!(text.contains(says), "{command} {more:?}: {text}");
}

#[tokio::test]
async fn a_number_beyond_its_bounds_is_refused() {
    let most = u64::MAX.to_string();
    for (command, option) in [
        ("open", "--seconds"),
        ("open", "--max-lag-ms"),
        ("closed", "--seconds"),
        ("storm", "--seconds"),
        ("streams", "--seconds"),
        ("streams", "--opened-per-second"),
        ("sign-in", "--limit"),
        ("bench", "--limit"),
        ("upstream", "--answer-bytes"),
        ("upstream", "--event-every-ms"),
        ("attack", "--patience"),
        ("attack", "--limit"),
    ] {
        refused(command, &[option, &most], &format!("invalid value '{most}' for '{option}")).await;
    }
    for zipf in ["-1", "nan", "inf"] {
        refused("open", &["--rate", "1", "--tokens", "x", "--zipf", zipf], "a number from 0 to 10").await;
    }
    refused("closed", &["--tokens", "x", "--sessions", "0"], "0 is not in").await;
    refused("open", &["--rate", "-1"], "a number from 0.1 to 1000000").await;
}

#[tokio::test]
async fn an_option_that_would_mean_nothing_is_refused() {
    for option in ["--sessions", "--zipf"] {
        refused("open", &["--rate", "1", option, "1"], "--tokens <FILE>").await;
    }
    for command in ["bench", "train", "upstream"] {
        for option in ["--json", "--markdown", "--plot"] {
            refused(command, &[option, "x.svg"], &format!("unexpected argument '{option}'")).await;
        }
    }
    refused("attack", &["--plot", "x.svg"], "unexpected argument '--plot'").await;
}

#[tokio::test]
async fn what_is_no_metrics_is_told_at_the_start() {
    let target = target(GOOD).await;
    let output = loadtest("closed", url(&target), &["--requests", "1", "--metrics", url(&target)]).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{text}");
    assert!(text.contains("has no metrics in the text format of Prometheus"), "{text}");
}

#[tokio::test]
async fn sessions_that_are_not_used_are_counted() {
    let session = |expires_at: u64| format!("{{\"access_token\":\"sp1_at_x\",\"expires_at\":{expires_at}}}\n");
    let file = File::new("some-expired", &(session(1000).repeat(4) + &session(99_999_999_999)));
    let target = target(GOOD).await;
    let output = loadtest("closed", url(&target), &["--requests", "5", "--tokens", file.path()]).await;
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{text}");
    assert!(text.contains("sessions 1, sessions-in-file 5, zipf 1"), "{text}");
    assert!(errors.contains("1 of 5 sessions"), "{errors}");
    let empty = File::new("no-sessions", "");
    let output = loadtest("closed", url(&target), &["--tokens", empty.path()]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("holds no session"));
}
