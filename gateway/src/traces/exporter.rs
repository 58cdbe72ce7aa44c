//! The thread that sends. It has a runtime of its own, makes spans of what requests have noted, and hands a batch of them to the
//! collector at least once a second. A collector that takes none costs traces and nothing else: the queue fills, and what
//! comes then is counted where it is lost.

use std::error::Error;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Chain;
use async_trait::async_trait;
use http::{Request, Response};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::SpanExporter as _;
use reqwest::redirect::Policy;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::{sleep_until, timeout};
use url::Url;

use super::spans::Maker;
use super::trace::Ended;
use super::{Counts, LAST, StartError};

/// To be told when everything is sent.
pub(super) type Finish = SyncSender<()>;

/// Traces; a collector takes 4 MiB and more at once, and these make less than one.
const BATCH: usize = 256;
/// So long a trace waits for company.
const PAUSE: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(2);
/// One attempt, and all three.
const CALL: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
/// While the collector takes none, between two lines in the log.
const REMINDER: Duration = Duration::from_secs(60);

pub(super) struct Exporter {
    inside: SpanExporter,
    spans: Maker,
    counts: Counts,
    /// What broke the last attempt, if it was broken.
    broke: Arc<Mutex<Option<String>>>,
    trouble: Option<Trouble>,
}

/// Keeps what went wrong: the exporter itself would only tell that something did.
#[derive(Debug)]
struct Client {
    inside: reqwest::Client,
    broke: Arc<Mutex<Option<String>>>,
}

/// Since when the collector takes no traces.
struct Trouble {
    told: Instant,
    lost: u64,
}

impl Exporter {
    pub fn start(
        endpoint: &Url,
        spans: Maker,
        counts: Counts,
        ended: Receiver<Ended>,
        finishing: UnboundedReceiver<Finish>,
    ) -> Result<(), StartError> {
        let client = reqwest::Client::builder().redirect(Policy::none()).referer(false);
        let client = client.connect_timeout(CONNECT).timeout(CALL);
        // Spoken to in clear it needs no roots of trust; a minimal container has none.
        let client = if endpoint.scheme() == "http" { client.tls_certs_only([]) } else { client };
        let broke = Arc::default();
        let client = Client { inside: client.build()?, broke: Arc::clone(&broke) };
        let builder = SpanExporter::builder().with_http().with_http_client(client);
        let mut inside = builder.with_endpoint(traces_url(endpoint)).with_timeout(CALL).build()?;
        inside.set_resource(&spans.resource());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exporter = Self { inside, spans, counts, broke, trouble: None };
        let run = move || runtime.block_on(exporter.run(ended, finishing));
        std::thread::Builder::new().name("traces".to_owned()).spawn(run)?;
        Ok(())
    }

    /// Until nobody can end a trace any more, or the process ends.
    async fn run(mut self, mut ended: Receiver<Ended>, mut finishing: UnboundedReceiver<Finish>) {
        let mut batch = Vec::new();
        loop {
            let finish = tokio::select! {
                biased;
                finish = finishing.recv() => finish,
                more = gather(&mut ended, &mut batch) => {
                    if more {
                        self.export(&mut batch).await;
                        continue;
                    }
                    return;
                }
            };
            // A gathering that was cut short has left what it had in the batch.
            while let Ok(trace) = ended.try_recv() {
                batch.push(trace);
            }
            // Who waits goes after this time, whatever came of it.
            let _ = timeout(LAST, self.export(&mut batch)).await;
            if let Some(finish) = finish {
                let _ = finish.send(());
            }
            return;
        }
    }

    async fn export(&mut self, batch: &mut Vec<Ended>) {
        let traces = batch.len() as u64;
        if traces == 0 {
            return;
        }
        let spans = self.spans.of(batch.drain(..));
        let cause = match timeout(WHOLE, self.inside.export(spans)).await {
            Ok(Ok(())) => {
                self.counts.exported.inc_by(traces);
                if let Some(Trouble { lost, .. }) = self.trouble.take() {
                    tracing::info!(lost, "the collector takes traces again");
                }
                return;
            }
            Ok(Err(error)) => self.broke().take().unwrap_or_else(|| error.to_string()),
            Err(_) => "no answer in time".to_owned(),
        };
        self.counts.failed.inc_by(traces);
        let is_first = self.trouble.is_none();
        let trouble = self.trouble.get_or_insert_with(|| Trouble { told: Instant::now(), lost: 0 });
        trouble.lost += traces;
        if is_first || trouble.told.elapsed() >= REMINDER {
            trouble.told = Instant::now();
            tracing::warn!(cause, lost = trouble.lost, "the collector takes no traces");
        }
    }

    fn broke(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.broke.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.inside.send_bytes(request).await;
        *self.broke.lock().unwrap_or_else(PoisonError::into_inner) =
            answer.as_ref().err().map(|error| with_sources(&**error));
        answer
    }
}

/// reqwest's own words stop where it could not send; the reason is in the sources.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    Chain::new(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What has come within a moment after the first, as far as there is room. Whether there was any: none will come any more.
async fn gather(ended: &mut Receiver<Ended>, batch: &mut Vec<Ended>) -> bool {
    if batch.is_empty() && ended.recv_many(batch, BATCH).await == 0 {
        return false;
    }
    let until = tokio::time::Instant::now() + PAUSE;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        tokio::select! {
            more = ended.recv_many(batch, room) => if more == 0 { break },
            () = sleep_until(until) => break,
        }
    }
    true
}

/// OTLP: the path of the signal behind that of the endpoint.
fn traces_url(endpoint: &Url) -> String {
    format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_has_its_own_path_below_the_endpoint() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp/", "https://collector.example/otlp/v1/traces"),
        ] {
            assert_eq!(traces_url(&endpoint.parse().unwrap()), url);
        }
    }
}
