//! Who is being served, and whether we are leaving.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How often the drain looks whether everyone has gone.
const POLL: Duration = Duration::from_millis(50);

/// Counts requests and streams, and tells them when it is time to go.
#[derive(Clone)]
pub struct Drain {
    /// When everyone must have gone; `None` while nobody must.
    deadline: Arc<watch::Sender<Option<Instant>>>,
    in_flight: IntGauge,
}

/// Held by a request as long as it is served; gone with it, even when a hook panics.
pub struct InFlight(IntGauge);

impl Drain {
    /// `in_flight` is the gauge that shows the count.
    pub fn new(in_flight: IntGauge) -> Self {
        Self { deadline: Arc::new(watch::Sender::new(None)), in_flight }
    }

    pub fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub fn is_draining(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    /// Waits until the drain begins, and gives its deadline: streams end by themselves before that.
    pub async fn begun(&self) -> Instant {
        let mut deadline = self.deadline.subscribe();
        let begun = deadline.wait_for(Option::is_some).await;
        begun.ok().and_then(|deadline| *deadline).expect("this drain holds the sender, and waited for a deadline")
    }

    /// Stops keeping connections alive, then waits until nobody is served or `limit` has passed.
    pub async fn drain(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.deadline.send_replace(Some(deadline));
        while self.in_flight.get() > 0 && Instant::now() < deadline {
            sleep(POLL).await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Ends the server when `stop` does, after the drain. Pingora's own watch would close the listeners at once and then sleep
/// its whole grace period even with nobody to wait for.
pub struct GracefulStop<S> {
    pub drain: Drain,
    pub limit: Duration,
    pub stop: S,
}

/// What tells a server to stop: a signal, or a test.
#[async_trait]
pub trait StopSignal: Send + Sync {
    async fn received(&self);
}

#[async_trait]
impl<S: StopSignal> ShutdownSignalWatch for GracefulStop<S> {
    async fn recv(&self) -> ShutdownSignal {
        self.stop.received().await;
        tracing::info!(in_flight = self.drain.in_flight.get(), "draining");
        self.drain.drain(self.limit).await;
        tracing::info!(in_flight = self.drain.in_flight.get(), "stopping");
        ShutdownSignal::GracefulTerminate
    }
}
