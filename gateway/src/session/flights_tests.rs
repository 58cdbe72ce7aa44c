//! Callers in line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::flights::Flights;
use crate::sealed::Index;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn turns_of_one_session_do_not_overlap_and_nothing_is_left() {
    let (flights, inside) = (Arc::new(Flights::default()), Arc::new(AtomicUsize::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (flights, inside) = (flights.clone(), inside.clone());
        callers.spawn(async move {
            let _turn = flights.turn(Index([1; 32])).await;
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            tokio::time::sleep(Duration::from_millis(1)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
        });
    }
    callers.join_all().await;
    assert!(flights.is_empty());
}

#[tokio::test]
async fn sessions_do_not_wait_for_each_other_and_who_gives_up_leaves_nothing() {
    let flights = Flights::default();
    let first = flights.turn(Index([1; 32])).await;
    drop(flights.turn(Index([2; 32])).await);
    let impatient = tokio::time::timeout(Duration::from_millis(10), flights.turn(Index([1; 32]))).await;
    assert!(impatient.is_err());
    drop(first);
    assert!(flights.is_empty());
}
