//! The driver of a connection, patient enough to send together what is asked together.
//!
//! Tokio runs a task that was woken right after the one that woke it. So the driver would run after each request, and send one
//! command at a time: a call of the system, and a wake-up of Redis, for each. Here it first lets everybody else run who is
//! ready. Nobody waits longer than for those.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::task::yield_now;

/// Runs it to its end.
pub async fn drive(driver: impl Future<Output = ()>) {
    let mut driver = pin!(driver);
    while poll_fn(|context| Poll::Ready(driver.as_mut().poll(context))).await.is_pending() {
        woken().await;
        yield_now().await;
    }
}

/// Until the task is woken by whatever was polled before.
async fn woken() {
    let mut asleep = false;
    poll_fn(|_| match std::mem::replace(&mut asleep, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

pub async fn drive_back(driver: impl Future<Output = ()>) {
    let mut driver = pin!(driver);
    while poll_fn(|context| Poll::Ready(driver.as_mut().poll(context))).await.is_pending() {
        woken().await;
        let mut asleep = false;
        poll_fn(|context| match std::mem::replace(&mut asleep, true) {
            false => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            true => Poll::Ready(()),
        })
        .await;
    }
}
