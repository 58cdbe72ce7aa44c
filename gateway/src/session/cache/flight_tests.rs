//! Many askers, one question.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Verifier;
use super::flight::Flights;
use crate::sealed::Index;
use crate::secret::SecretKey;

fn question(secret: u8) -> (Index, Verifier) {
    (Index([1; 32]), Verifier::of(&SecretKey::new([secret; 32])))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_asks_for_all_and_nothing_is_left() {
    let (flights, asked) = (Arc::new(Flights::default()), Arc::new(AtomicUsize::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..100_u8 {
        let (flights, asked) = (flights.clone(), asked.clone());
        callers.spawn(async move {
            let ask = async {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(200)).await;
                caller % 2
            };
            assert_eq!(flights.share(question(caller % 2), ask).await, caller % 2);
        });
    }
    callers.join_all().await;
    assert_eq!(asked.load(Ordering::SeqCst), 2, "one for each secret");
    assert!(flights.is_empty());
    assert_eq!(flights.share(question(0), async { 7 }).await, 7, "an old answer is nobody's");
}

#[tokio::test]
async fn when_the_one_who_asks_goes_away_another_one_asks() {
    let flights = Flights::default();
    let never = flights.share(question(1), std::future::pending::<u8>());
    let patient = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        flights.share(question(1), async { 7 }).await
    };
    let (given_up, answer) = tokio::join!(tokio::time::timeout(Duration::from_millis(50), never), patient);
    assert!(given_up.is_err());
    assert_eq!(answer, 7);
    assert!(flights.is_empty());
}
