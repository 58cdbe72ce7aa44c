//! Traces of requests, for an OpenTelemetry collector. Off unless an endpoint is configured; then all that is left of it for a request
//! is to see that there is none. docs/traces.md says what the spans mean.
//!
//! | | |
//! | --- | --- |
//! | `trace` | what is noted of one request on its way; a few moments and words |
//! | `current` | the trace that a task works for: the store and Entra's client are told of no request |
//! | `observed` | what those two do, noted |
//! | `spans` | what was noted becomes spans, by OpenTelemetry's names |
//! | `exporter` | the thread where that happens, and which sends them |
//!
//! No request waits for any of it: what is noted goes into a queue with an end, and what finds no place there is counted and lost.
//! Words in spans are from closed sets, or the operator's own; nothing that a client, a user or a server has said becomes one.

mod current;
mod exporter;
mod observed;
mod spans;
#[cfg(test)]
mod tests;
mod trace;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use ipnet::IpNet;
use prometheus::IntCounter;
use tokio::sync::mpsc;
use url::Url;

pub use current::{following, stage, within};
pub use observed::{EntraNoted, StoreNoted};
pub use trace::{Admission, Request, Trace, What};

use crate::public_url::PublicUrl;
use crate::secret::random_number;
use crate::trace_context::{TraceId, TraceParent};
use exporter::{Exporter, Finish};
use spans::Maker;
use trace::{Ended, Origin};

/// Traces that wait to be sent; each has a few hundred bytes.
const QUEUE: usize = 2048;
/// At the end of the process nobody waits for longer.
const LAST: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the collector: `/v1/traces` is put behind its path.
    pub endpoint: Url,
    /// Of the traces that begin here, how many are kept, in per cent.
    pub sample_percent: u32,
    /// Whose traces are gone on with, by the address that a connection comes from.
    pub continue_from: Vec<IpNet>,
}

/// What became of traces.
#[derive(Clone)]
pub struct Counts {
    pub exported: IntCounter,
    /// The queue was full.
    pub dropped: IntCounter,
    /// The collector did not take them.
    pub failed: IntCounter,
}

/// Why no traces can be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("the thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Where traces begin and end. Clones share it.
#[derive(Clone)]
pub struct Traces(Arc<Shared>);

struct Shared {
    sample_percent: u32,
    continue_from: Vec<IpNet>,
    queue: mpsc::Sender<Ended>,
    finish: mpsc::UnboundedSender<Finish>,
    dropped: IntCounter,
}

impl Traces {
    /// With the thread that sends them, which ends when nobody needs it any more.
    ///
    /// # Errors
    /// When the environment has something for exporters that cannot be, or the system has no thread or roots of trust.
    pub fn start(settings: Settings, public_url: &PublicUrl, counts: Counts) -> Result<Self, StartError> {
        let (queue, ended) = mpsc::channel(QUEUE);
        let (finish, finishing) = mpsc::unbounded_channel();
        let dropped = counts.dropped.clone();
        Exporter::start(&settings.endpoint, Maker::new(public_url), counts, ended, finishing)?;
        let Settings { sample_percent, continue_from, .. } = settings;
        Ok(Self(Arc::new(Shared { sample_percent, continue_from, queue, finish, dropped })))
    }

    /// A request came from `peer`. Who is listed is believed: its trace goes on, and is kept if it keeps it. Of anybody else a trace
    /// is only linked to: a stranger decides neither which trace ours belong to nor how many are kept.
    pub fn begin(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Arc<Trace> {
        let origin = match TraceParent::of(headers) {
            None => Origin::New,
            Some(parent) if peer.is_some_and(|peer| self.continues(peer)) => Origin::Continued(parent),
            Some(parent) => Origin::Linked(parent),
        };
        let (id, sampled) = match origin {
            Origin::Continued(parent) => (parent.trace, parent.sampled),
            _ => {
                let id = u128::from(random_number()) << 64 | u128::from(random_number());
                (TraceId::new(id), random_number() % 100 < self.0.sample_percent.into())
            }
        };
        Arc::new(Trace::new(self.clone(), id, origin, sampled))
    }

    /// Sends what waits, but does not wait for ever.
    pub fn finish(&self) {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        if self.0.finish.send(done).is_ok() {
            // A collector that does not take them now will not later either.
            let _ = wait.recv_timeout(LAST);
        }
    }

    fn continues(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.continue_from.iter().any(|network| network.contains(&peer))
    }

    fn queue(&self, ended: Ended) {
        if self.0.queue.try_send(ended).is_err() {
            self.0.dropped.inc();
        }
    }
}
