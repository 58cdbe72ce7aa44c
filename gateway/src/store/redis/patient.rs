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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    const CALLERS: usize = 32;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_asked_together_is_sent_together() {
        let (asked, mut asking) = mpsc::unbounded_channel();
        let (sendings, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (of_driver, all) = (sendings.clone(), sent.clone());
        let driver = tokio::spawn(drive(poll_fn(move |context| {
            let before = all.load(Ordering::SeqCst);
            loop {
                match asking.poll_recv(context) {
                    Poll::Ready(Some(())) => drop(all.fetch_add(1, Ordering::SeqCst)),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            of_driver.fetch_add(usize::from(all.load(Ordering::SeqCst) > before), Ordering::SeqCst);
            Poll::Pending
        })));
        // Begun by the only worker, so that all of them are ready before it goes on.
        let callers = tokio::spawn(async move {
            for _ in 0..CALLERS {
                let asked = asked.clone();
                tokio::spawn(async move { asked.send(()) });
            }
        });
        callers.await.unwrap();
        driver.await.unwrap();
        assert_eq!(sent.load(Ordering::SeqCst), CALLERS);
        // The worker looks at its sockets now and then, and the driver goes on then too.
        assert!(sendings.load(Ordering::SeqCst) <= 3, "{sendings:?}");
    }
}
