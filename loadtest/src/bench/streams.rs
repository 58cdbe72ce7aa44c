//! Event streams: what an idle one holds, and what an event costs that is passed on. Each proxy is fresh, since memory that
//! was once used is not given back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::Sizes;
use super::sallyport::{Installation, Replica, WARM};
use super::stage::{BARE, Serving, Stage};
use crate::mix::Mix;
use crate::observe::{resident_kib, run_time};
use crate::progress::Progress;
use crate::streams::Streams;
use crate::target::Target;
use crate::work::{Expected, Work};

#[derive(Clone, Debug, Serialize)]
pub struct StreamFigures {
    pub name: &'static str,
    pub void: Vec<String>,
    pub idle_streams: usize,
    pub resident_kib_before: u64,
    /// Of each stream, both its connections.
    pub resident_kib_each: f64,
    pub cpu_us_to_open: f64,
    pub busy_streams: usize,
    pub events: u64,
    pub cpu_us_each_event: f64,
    pub event_p50_us: Option<f64>,
    pub event_p99_us: Option<f64>,
}

/// # Errors
/// When something does not come up or is gone.
pub async fn measure(
    stage: &mut Stage,
    installation: &Installation,
    sizes: &Sizes,
) -> anyhow::Result<Vec<StreamFigures>> {
    let silent = stage.upstream(None).await?;
    let talking = stage.upstream(Some(EVENT_EVERY_MS)).await?;
    let mut figures = Vec::new();
    for name in [BARE, "bare Pingora, mimalloc", WARM] {
        let mut proxies = Vec::new();
        for upstream in [&silent, &talking] {
            let proxy = match name {
                WARM => installation.replica(stage, upstream.address, Replica::warm()).await?,
                BARE => stage.pass_through("bare-pingora", upstream.address, &[]).await?,
                _ => stage.pass_through("bare-pingora-mimalloc", upstream.address, &[]).await?,
            };
            proxies.push(proxy);
        }
        figures.push(of(name, installation, &proxies[0], &proxies[1], sizes).await?);
    }
    Ok(figures)
}

/// One proxy's: with streams that carry nothing at `idle`, and with events at `busy`.
///
/// # Errors
/// When one is gone.
pub async fn of(
    name: &'static str,
    installation: &Installation,
    idle: &Serving,
    busy: &Serving,
    sizes: &Sizes,
) -> anyhow::Result<StreamFigures> {
    let (process, target) = (idle.program.pid(), installation.target.clone().served_at(idle.address)?);
    let settings = Streams {
        streams: sizes.idle_streams,
        opened_per_second: 1000.0,
        hold: Duration::from_millis(500),
        patience: PATIENCE,
    };
    // One stream, so that what the first one of all brings is not counted.
    let work = streams_of(installation, &target)?;
    let first = Streams { streams: 1, ..settings };
    first.run(&target, &work, &Progress::hidden(), || ()).await;
    let (before, cpu_before) = (resident_kib(process)?, run_time(process)?);
    let mut held = Err(anyhow::anyhow!("the streams were not held"));
    let look = || held = resident_kib(process).and_then(|kib| Ok((kib, run_time(process)?)));
    let seen = settings.run(&target, &work, &Progress::hidden(), look).await;
    let (after, cpu_after) = held?;
    let mut void: Vec<_> = seen.voids().iter().map(ToString::to_string).collect();

    let (process, target) = (busy.program.pid(), installation.target.clone().served_at(busy.address)?);
    let settings =
        Streams { streams: sizes.busy_streams, hold: sizes.relay, opened_per_second: 1000.0, patience: PATIENCE };
    let before_events = run_time(process)?;
    let relayed = settings.run(&target, &work, &Progress::hidden(), || ()).await;
    let cpu_of_events = run_time(process)?.saturating_sub(before_events);
    void.extend(relayed.voids().iter().map(ToString::to_string));
    let event = |share| relayed.latencies.as_ref().map(|all| all.value_at_quantile(share) as f64 / 1e3);
    Ok(StreamFigures {
        name,
        void,
        idle_streams: sizes.idle_streams,
        resident_kib_before: before,
        resident_kib_each: after.saturating_sub(before) as f64 / sizes.idle_streams as f64,
        cpu_us_to_open: cpu_after.saturating_sub(cpu_before).as_secs_f64() * 1e6 / sizes.idle_streams as f64,
        busy_streams: sizes.busy_streams,
        events: relayed.events,
        cpu_us_each_event: cpu_of_events.as_secs_f64() * 1e6 / relayed.events as f64,
        event_p50_us: event(0.5),
        event_p99_us: event(0.99),
    })
}

fn streams_of(installation: &Installation, target: &Target) -> anyhow::Result<Arc<Work>> {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
    let work = Work::new(target, headers, None, Expected { status: StatusCode::OK, text: None });
    let sessions = &installation.sessions;
    let mix = Mix::new(sessions.len(), 0.0).context("there are sessions")?;
    Ok(Arc::new(work.by(sessions.iter().map(|session| session.access_token.as_str()), mix)?))
}

/// Fifty in a second.
pub const EVENT_EVERY_MS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(10);
