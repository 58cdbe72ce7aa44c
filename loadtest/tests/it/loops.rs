//! Both loops: what they see of a stall, and what voids them.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use loadtest::answers::quantile;
use loadtest::closed_loop::ClosedLoop;
use loadtest::failure::Failure;
use loadtest::open_loop::OpenLoop;
use loadtest::progress::Progress;
use loadtest::verdict::{self, Void};

use crate::support::{Behaviour, target, work};

/// The hundredth request takes 400 ms, all others none.
const STALLS_ONCE: Behaviour = |n| (Duration::from_millis(if n == 100 { 400 } else { 0 }), StatusCode::OK);
const OPEN: OpenLoop =
    OpenLoop { rate: 200.0, lasts: Duration::from_secs(2), connections: 1, patience: Duration::from_secs(5) };
/// These tests share the machine with others.
const LAG: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_open_loop_sees_all_whom_a_stall_kept_waiting() {
    let target = target(STALLS_ONCE).await;
    let offered = OPEN.run(&target, &work(&target), &Progress::hidden()).await;
    assert_eq!(verdict::open(&OPEN, &offered, LAG), []);
    let latencies = &offered.gathered.latencies;
    assert_eq!(latencies.len(), 400);
    // 80 requests were due during the stall: a fifth. Half of them waited for 200 ms and more.
    let waited = latencies.count_between(200_000_000, u64::MAX);
    assert!((35..=200).contains(&waited), "{waited} waited");
    assert!(quantile(latencies, 0.95) > Duration::from_millis(100));
}

#[tokio::test]
async fn a_closed_loop_sees_a_stall_once() {
    let target = target(STALLS_ONCE).await;
    let settings =
        ClosedLoop { callers: 1, requests: 400, lasts: Duration::from_secs(20), patience: Duration::from_secs(5) };
    let gathered = settings.run(&target, &work(&target), &Progress::hidden()).await;
    assert_eq!(verdict::closed(&settings, &gathered), []);
    assert_eq!(gathered.latencies.len(), 400, "as many as were asked for");
    let waited = gathered.latencies.count_between(200_000_000, u64::MAX);
    assert!(waited <= 3, "{waited} waited: that is why there is an open loop");
}

#[tokio::test]
async fn a_target_that_is_too_slow_for_the_rate_voids_it() {
    let slow = target(|_| (Duration::from_millis(20), StatusCode::OK)).await;
    let settings = OpenLoop { lasts: Duration::from_secs(1), patience: Duration::from_secs(10), ..OPEN };
    let offered = settings.run(&slow, &work(&slow), &Progress::hidden()).await;
    let voids = verdict::open(&settings, &offered, LAG);
    assert!(matches!(voids[..], [Void::RateNotKept { kept, .. }] if kept < 100.0), "{voids:?}");
}

#[tokio::test]
async fn one_error_voids_either_loop() {
    let fails_once: Behaviour =
        |n| (Duration::ZERO, if n == 7 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK });
    let expected = [Void::Failed { failure: Failure::Status { got: 503, expected: 200 }, count: 1 }];

    let at = target(fails_once).await;
    let settings = OpenLoop { lasts: Duration::from_millis(500), ..OPEN };
    let offered = settings.run(&at, &work(&at), &Progress::hidden()).await;
    assert_eq!(verdict::open(&settings, &offered, LAG), expected);

    let at = target(fails_once).await;
    let settings = ClosedLoop { callers: 2, requests: 50, lasts: OPEN.lasts, patience: OPEN.patience };
    let gathered = settings.run(&at, &work(&at), &Progress::hidden()).await;
    assert_eq!(verdict::closed(&settings, &gathered), expected);
}

#[tokio::test]
async fn nobody_there_voids() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let settings = OpenLoop { lasts: Duration::from_millis(200), ..OPEN };
    let offered = settings.run(&nobody, &work(&nobody), &Progress::hidden()).await;
    let voids = verdict::open(&settings, &offered, LAG);
    assert!(voids.contains(&Void::Failed { failure: Failure::NoConnection, count: 40 }), "{voids:?}");
    assert!(voids.contains(&Void::NoAnswers));
}

#[tokio::test]
async fn no_run_outlives_its_time() {
    let silent = target(|_| (Duration::from_secs(60), StatusCode::OK)).await;
    let begun = Instant::now();
    let patience = Duration::from_millis(300);
    let settings = OpenLoop { lasts: Duration::from_millis(500), patience, connections: 4, ..OPEN };
    let offered = settings.run(&silent, &work(&silent), &Progress::hidden()).await;
    let voids = verdict::open(&settings, &offered, LAG);
    assert!(voids.iter().any(|void| matches!(void, Void::Failed { failure: Failure::TimedOut, .. })), "{voids:?}");
    assert!(voids.iter().any(|void| matches!(void, Void::Unfinished { .. })), "{voids:?}");

    let settings = ClosedLoop { callers: 2, requests: u64::MAX, lasts: Duration::from_millis(500), patience };
    let gathered = settings.run(&silent, &work(&silent), &Progress::hidden()).await;
    assert!(!verdict::closed(&settings, &gathered).is_empty());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
