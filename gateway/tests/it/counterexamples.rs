//! What the model of the sign-in finds where a protection is missing (`gateway/models/sign_in.pml`), done to the true edge, which
//! has them all: event by event from the very files that the model is compared with, until the edge says no.

mod replay;

use std::fs;

use replay::Replay;

use crate::docs::project::project;
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

/// Without which protection, what the edge refuses of the events that follow, and how.
const REFUSED: [(&str, &str, &str); 7] = [
    ("BINDING", "callback V 0/A V 0/A", "403 SP-1301"),
    ("CODE_ONCE", "redeem V 0/V", "400 invalid_grant"),
    ("ENTRA_PKCE", "callback V 0/V A 1/A", "303 server_error"),
    ("FORM_TOKEN", "forged_allow 0", "403 SP-1203"),
    ("PER_TXN", "callback V 1/A V 1/A", "403 SP-1301"),
    ("PKCE", "redeem A 0/V", "400 invalid_grant"),
    ("RECORD_ONCE", "callback V 0/V V 0/V", "403 SP-1301"),
];

async fn is_refused_to_the_end(protection: &str) {
    let (_, event, answer) = REFUSED.iter().find(|(name, ..)| *name == protection).unwrap();
    let events = fs::read_to_string(counterexamples().join(format!("{protection}.txt"))).unwrap();
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream.url).await;
    let mut replay = Replay::at(&gateway).await;
    let mut refusal = None;
    for (number, line) in events.lines().enumerate() {
        if let Some(how) = replay.happens(line).await {
            // What the model lets follow is out of reach.
            refusal = Some((number + 1, line, how));
            break;
        }
    }
    let (number, refused, how) = refusal.unwrap_or_else(|| panic!("{protection}: every event was let happen"));
    println!("without {protection}: event {number}, {refused}: {how}");
    assert_eq!((refused, how.as_str()), (*event, *answer), "{protection}");
    replay.nobody_has_what_is_not_his(&upstream).await;
}

fn counterexamples() -> std::path::PathBuf {
    project().join("gateway/models/counterexamples")
}

#[test]
fn each_counterexample_is_tried() {
    let files = fs::read_dir(counterexamples()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.map(|name| name.trim_end_matches(".txt").to_owned()).collect();
    names.sort();
    assert_eq!(names, REFUSED.map(|(name, ..)| name));
}

#[tokio::test]
async fn the_counterexample_without_the_cookie_of_allow_is_refused() {
    is_refused_to_the_end("BINDING").await;
}

#[tokio::test]
async fn the_counterexample_without_a_cookie_for_each_transaction_is_refused() {
    is_refused_to_the_end("PER_TXN").await;
}

#[tokio::test]
async fn the_counterexample_without_the_forms_token_is_refused() {
    is_refused_to_the_end("FORM_TOKEN").await;
}

#[tokio::test]
async fn the_counterexample_without_records_that_are_taken_away_is_refused() {
    is_refused_to_the_end("RECORD_ONCE").await;
}

#[tokio::test]
async fn the_counterexample_without_codes_that_are_spent_is_refused() {
    is_refused_to_the_end("CODE_ONCE").await;
}

#[tokio::test]
async fn the_counterexample_without_pkce_is_refused() {
    is_refused_to_the_end("PKCE").await;
}

#[tokio::test]
async fn the_counterexample_without_pkce_towards_entra_is_refused() {
    is_refused_to_the_end("ENTRA_PKCE").await;
}
