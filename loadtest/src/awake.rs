//! An end of a measured hop that never sleeps.
//!
//! Whoever sends to a process that sleeps wakes its core, and in a virtual machine that alone can cost more than the request: the
//! faster of two proxies would seem dearer, for what it talks to sleeps more often. So generator and upstream stay awake.

use tokio::task::{JoinHandle, yield_now};

/// Keeps the thread of this runtime from sleeping until it is dropped. Others on its core get their turns.
pub struct Awake(JoinHandle<()>);

impl Awake {
    /// # Panics
    /// Outside a runtime.
    pub fn stay() -> Self {
        Self(tokio::spawn(async {
            loop {
                yield_now().await;
                std::thread::yield_now();
            }
        }))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn others_go_on_while_it_is_awake_and_it_ends_when_it_is_dropped() {
        let awake = Awake::stay();
        let task = awake.0.abort_handle();
        timeout(Duration::from_secs(5), sleep(Duration::from_millis(20))).await.expect("timers go on");
        assert!(!task.is_finished());
        drop(awake);
        sleep(Duration::from_millis(20)).await;
        assert!(task.is_finished());
    }
}
