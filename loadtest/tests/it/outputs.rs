//! The files of a report: known to be writable before the run, and never of two runs.

use std::fs;
use std::time::Duration;

use axum::http::StatusCode;

use crate::program::{File, loadtest, url};
use crate::support::{Behaviour, target};

const GOOD: Behaviour = |_| (Duration::ZERO, StatusCode::OK);
const REFUSES: Behaviour = |_| (Duration::ZERO, StatusCode::UNAUTHORIZED);

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused_before_the_run() {
    let (file, folder) = (File::new("a-file", ""), std::env::temp_dir());
    let (below_a_file, nowhere) = (format!("{}/x", file.path()), folder.join("no/such/folder/x.json"));
    for (option, path, says) in [
        ("--json", nowhere.to_str().unwrap(), "there is no folder"),
        ("--json", below_a_file.as_str(), "there is no folder"),
        ("--markdown", folder.to_str().unwrap(), "that is a folder"),
        ("--plot", "x.png", "ends in .svg"),
    ] {
        let target = target(|_| panic!("nothing is sent")).await;
        let output = loadtest("closed", url(&target), &["--requests", "1", option, path]).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains(says), "{option} {path}: {text}");
    }
}

#[tokio::test]
async fn what_can_be_written_is_written_though_another_file_cannot() {
    // By its looks it can be written; then the disk is full.
    let (markdown, plot) = (File::new("full.md", ""), File::new("full.svg", ""));
    let target = target(GOOD).await;
    let more = ["--requests", "20", "--json", "/dev/full", "--markdown", markdown.path(), "--plot", plot.path()];
    let output = loadtest("closed", url(&target), &more).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("cannot write /dev/full"), "{text}");
    assert!(fs::read_to_string(&markdown.0).unwrap().contains("20 answers"));
    assert!(fs::read_to_string(&plot.0).unwrap().starts_with("<svg"));
}

#[tokio::test]
async fn a_void_run_leaves_no_picture_of_an_earlier_one() {
    let (json, plot) = (File::new("void.json", ""), File::new("void.svg", "<svg"));
    let target = target(REFUSES).await;
    for _ in 0..2 {
        let more = ["--requests", "5", "--json", json.path(), "--plot", plot.path()];
        let output = loadtest("closed", url(&target), &more).await;
        assert!(output.status.code() == Some(1) && output.stderr.is_empty(), "{output:?}");
        assert!(fs::read_to_string(&json.0).unwrap().contains("status 401"));
        assert!(!plot.0.exists());
    }
}

#[tokio::test]
async fn a_sign_in_that_kept_no_session_leaves_no_file() {
    let file = std::env::temp_dir().join(format!("loadtest-{}-none.jsonl", std::process::id()));
    // One is not there, one has no metadata.
    let target = target(REFUSES).await;
    for url in ["http://127.0.0.1:9/mcp", url(&target)] {
        let output = loadtest("sign-in", url, &["--out", file.to_str().unwrap()]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(!file.exists(), "{url}: it would be in the way of the next run");
    }
}
