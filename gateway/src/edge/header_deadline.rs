//! The time that a whole request header may take.
//!
//! Pingora bounds each read and not their sum, so one byte now and then would hold a connection for ever. The time for the
//! first header runs from when the connection is served. On a kept connection it includes the wait for the next request,
//! since Pingora does not tell when its first byte has come. Over HTTP/2 it runs to the first request of a connection
//! ([`Connected`]): before that nothing else bounds how long its preface takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use tokio::time::timeout;

use super::KEEP_ALIVE;
use super::connected::Connected;
use crate::metrics::Metrics;

/// From when a connection is served to the end of its first request's header.
pub const FIRST: Duration = Duration::from_secs(10);
const NEXT: Duration = Duration::from_secs(KEEP_ALIVE + FIRST.as_secs());

/// In front of the application that answers requests, which says when it has got a header: [`arrived`].
pub struct HeaderDeadline<A> {
    pub inside: Arc<A>,
    pub metrics: Arc<Metrics>,
}

tokio::task_local! {
    static HEADER: Arc<AtomicBool>;
}

/// The header of the request that this task serves is there.
pub fn arrived() {
    // Streams of HTTP/2 have tasks of their own, and no deadline: their headers come in frames of a few reads.
    let _ = HEADER.try_with(|header| header.store(true, Ordering::Relaxed));
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for HeaderDeadline<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.is_http2() {
            let digest = session.digest().and_then(|digest| digest.proxy_digest.as_ref());
            if let Some(connected) = Connected::of(digest) {
                connected.requested();
            }
            return self.inside.process_new_http(session, shutdown).await;
        }
        let unused = self.server_options().and_then(|options| options.keepalive_request_limit);
        let is_first = session.get_keepalive_reuses_remaining() == unused;
        let header = Arc::new(AtomicBool::new(false));
        let served = HEADER.scope(header.clone(), self.inside.process_new_http(session, shutdown));
        let mut served = std::pin::pin!(served);
        match timeout(if is_first { FIRST } else { NEXT }, served.as_mut()).await {
            Ok(reusable) => reusable,
            Err(_) if header.load(Ordering::Relaxed) => served.await,
            Err(_) => {
                if is_first {
                    self.metrics.limited("header_deadline");
                }
                None
            }
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.inside.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.inside.server_options()
    }
}
