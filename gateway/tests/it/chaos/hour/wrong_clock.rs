//! R13, its last part: one replica's clock is five minutes wrong. The hour has 30 and 110 seconds, which nobody notices.

use std::fs::read_to_string;
use std::time::Duration;

use super::stand::{DRAIN, Stand};
use crate::chaos::edge_process::{Launch, faketime};
use crate::chaos::seed;

const WRONG: usize = 0;
const MINUTES_5: i64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_five_minutes_behind_signs_nobody_in_says_why_and_harms_nobody() {
    if faketime().is_none() {
        return println!("SKIPPED: libfaketime is not installed");
    }
    let Some(mut stand) = Stand::start(seed(), Duration::from_millis(500)).await else { return };
    let known = stand.at(1).sign_in_again(1).await.unwrap_or_else(|refusal| panic!("{refusal}"));

    run_with(&mut stand, -MINUTES_5).await;
    let Err(refusal) = stand.at(WRONG).sign_in_again(2).await else {
        panic!("an id_token that is not valid yet is no sign-in");
    };
    assert!(refusal.at == "callback" && refusal.said.contains("error=server_error"), "{refusal}");
    let log = read_to_string(stand.log(WRONG)).unwrap();
    assert!(log.contains("not valid yet: is this machine's clock behind?"), "{log}");
    assert_eq!(stand.at(WRONG).call(&known.access, "behind").await.0, 200, "who is signed in stays so");
    let elsewhere = stand.at(1).sign_in_again(3).await.unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(stand.at(WRONG).call(&elsewhere.access, "behind").await.0, 200);

    // Ahead nothing is too early, and an hour's token is not over: what it gives ends sooner for it, and counts everywhere.
    run_with(&mut stand, MINUTES_5).await;
    let ahead = stand.at(WRONG).sign_in_again(4).await.unwrap_or_else(|refusal| panic!("{refusal}"));
    for replica in [WRONG, 1] {
        assert_eq!(stand.at(replica).call(&ahead.access, "ahead").await.0, 200);
        assert_eq!(stand.at(replica).call(&known.access, "ahead").await.0, 200);
    }

    let log = read_to_string(stand.log(WRONG)).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

async fn run_with(stand: &mut Stand, seconds: i64) {
    stand.edges[WRONG].terminate(DRAIN + Duration::from_secs(10)).await;
    stand.replace(WRONG, Launch { clock: Some(seconds), ..Launch::default() }).await;
    assert!(stand.until_all_are_targets().await, "a replica whose clock is wrong is not ready");
}
