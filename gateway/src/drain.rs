//! Who is being served, and whether we are leaving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How often the drain looks whether everyone has gone.
const POLL: Duration = Duration::from_millis(50);
/// How long after the listeners the process ends at the earliest: as the delay, within these bounds. A connection that was
/// taken just before may need a handshake before its first request.
const LAST_ARRIVALS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// How long leaving takes at most: both together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From when `/readyz` says so until the listeners close: as long as a balancer may need to hear of it.
    pub delay: Duration,
    /// From then until whoever is still served is cut.
    pub window: Duration,
}

/// Counts requests and streams, and tells them when it is time to go.
#[derive(Clone)]
pub struct Drain {
    leaving: Arc<AtomicBool>,
    /// Whether the listeners must close.
    closed: Arc<watch::Sender<bool>>,
    /// When everyone must have gone; `None` while nobody must.
    deadline: Arc<watch::Sender<Option<Instant>>>,
    in_flight: IntGauge,
}

/// Held by a request as long as it is served; gone with it, even when a hook panics.
pub struct InFlight(IntGauge);

impl Drain {
    /// `in_flight` is the gauge that shows the count.
    pub fn new(in_flight: IntGauge) -> Self {
        let (closed, deadline) = (Arc::new(watch::Sender::new(false)), Arc::new(watch::Sender::new(None)));
        Self { leaving: Arc::default(), closed, deadline, in_flight }
    }

    pub fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// How many requests and streams are being served.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// Requests are answered as ever; whoever may, should send the next one elsewhere.
    pub fn is_draining(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Turns to `true` when the listeners must close.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Waits until the drain begins, and gives its deadline: streams end by themselves before that.
    pub async fn begun(&self) -> Instant {
        let mut deadline = self.deadline.subscribe();
        let begun = deadline.wait_for(Option::is_some).await;
        begun.ok().and_then(|deadline| *deadline).expect("this drain holds the sender, and waited for a deadline")
    }

    /// Says that we leave; closes the listeners after the delay; then waits until nobody is served or the window is over.
    pub async fn drain(&self, settings: Settings) {
        self.leaving.store(true, Ordering::Relaxed);
        sleep(settings.delay).await;
        self.closed.send_replace(true);
        let deadline = Instant::now() + settings.window;
        self.deadline.send_replace(Some(deadline));
        let (least, most) = LAST_ARRIVALS;
        sleep(settings.delay.clamp(least, most).min(settings.window)).await;
        loop {
            // Also once with nobody there: a request whose header has just been read is not counted yet.
            sleep(POLL).await;
            if self.in_flight.get() == 0 || Instant::now() >= deadline {
                return;
            }
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
    pub settings: Settings,
    pub stop: S,
}

/// What tells a server to stop: a signal, or a test. Told a second time, it stops at once.
#[async_trait]
pub trait StopSignal: Send + Sync {
    async fn received(&self);
}

#[async_trait]
impl<S: StopSignal> ShutdownSignalWatch for GracefulStop<S> {
    async fn recv(&self) -> ShutdownSignal {
        self.stop.received().await;
        tracing::info!(in_flight = self.drain.in_flight.get(), "draining");
        tokio::select! {
            () = self.drain.drain(self.settings) => {}
            () = self.stop.received() => tracing::warn!("told to stop twice"),
        }
        tracing::info!(in_flight = self.drain.in_flight.get(), "stopping");
        ShutdownSignal::GracefulTerminate
    }
}
