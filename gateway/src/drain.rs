//! Who is being served, and whether we are leaving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerApp;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How often the drain looks whether everyone has gone.
const POLL: Duration = Duration::from_millis(50);
/// How long no request must have come before connections that wait for one are closed: as the delay, within these bounds. One
/// that was taken just before the listeners closed may need a handshake first; and clients that kept many connections while
/// they had to wait come back on each of them, once.
const QUIET: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

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
    /// How many requests have come since the drain began.
    arrivals: Arc<AtomicU64>,
}

/// Held by a request as long as it is served; gone with it, even when a hook panics.
pub struct InFlight(IntGauge);

impl Drain {
    /// `in_flight` is the gauge that shows the count.
    pub fn new(in_flight: IntGauge) -> Self {
        let (closed, deadline) = (Arc::new(watch::Sender::new(false)), Arc::new(watch::Sender::new(None)));
        Self { leaving: Arc::default(), closed, deadline, in_flight, arrivals: Arc::default() }
    }

    pub fn enter(&self) -> InFlight {
        self.in_flight.inc();
        if self.is_draining() {
            self.arrivals.fetch_add(1, Ordering::Relaxed);
        }
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

    /// Says that we leave; closes the listeners after the delay; then waits until nobody is served and nobody comes any more,
    /// or the window is over. Then `close_waiting`, which closes connections that wait for a request, and a last look.
    pub async fn drain(&self, settings: Settings, close_waiting: impl Future<Output = ()>) {
        self.leaving.store(true, Ordering::Relaxed);
        sleep(settings.delay).await;
        self.closed.send_replace(true);
        let deadline = Instant::now() + settings.window;
        self.deadline.send_replace(Some(deadline));
        let (least, most) = QUIET;
        self.quiet(settings.delay.clamp(least, most), deadline).await;
        // The end of the process would do so too, but only after a while in which nobody reads what has come on them.
        close_waiting.await;
        // Whose header had just been read is served.
        self.quiet(POLL, deadline).await;
    }

    /// Waits until nobody is served and no request has come for so long, or until `deadline`.
    async fn quiet(&self, time: Duration, deadline: Instant) {
        let mut seen = self.arrivals.load(Ordering::Relaxed);
        let mut since = Instant::now();
        while Instant::now() < deadline {
            sleep(POLL.min(time)).await;
            let arrivals = self.arrivals.load(Ordering::Relaxed);
            if arrivals != seen {
                (seen, since) = (arrivals, Instant::now());
            } else if self.in_flight.get() == 0 && since.elapsed() >= time {
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
pub struct GracefulStop<S, A> {
    pub drain: Drain,
    pub settings: Settings,
    pub stop: S,
    /// Whose connections are left for the end.
    pub app: Arc<A>,
}

/// What tells a server to stop: a signal, or a test. Told a second time, it stops at once.
#[async_trait]
pub trait StopSignal: Send + Sync {
    async fn received(&self);
}

#[async_trait]
impl<S: StopSignal, A: HttpServerApp + Send + Sync> ShutdownSignalWatch for GracefulStop<S, A> {
    async fn recv(&self) -> ShutdownSignal {
        self.stop.received().await;
        tracing::info!(in_flight = self.drain.in_flight.get(), "draining");
        tokio::select! {
            () = self.drain.drain(self.settings, self.app.http_cleanup()) => {}
            () = self.stop.received() => tracing::warn!("told to stop twice"),
        }
        tracing::info!(in_flight = self.drain.in_flight.get(), "stopping");
        ShutdownSignal::GracefulTerminate
    }
}
