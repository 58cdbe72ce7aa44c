//! The time that a whole request header may take.
//!
//! Pingora bounds each read and not their sum, so one byte now and then would hold a connection for ever. The time for the
//! first header runs from when the connection is served. On a kept connection it includes the wait for the next request,
//! since Pingora does not tell when its first byte has come. Over HTTP/2 it runs to the first request of a connection
//! ([`Connected`]): before that nothing else bounds how long its preface takes.
//!
//! Here a connection also learns that a request has come on it, and when that has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::server::ShutdownWatch;
use tokio::time::timeout;

use super::bounds::Bounds;
use super::connected::Connected;
use crate::metrics::Metrics;

/// In front of the application that answers requests, which says when it has got a header: [`arrived`].
pub struct HeaderDeadline<A> {
    pub inside: Arc<A>,
    pub bounds: Arc<Bounds>,
    pub metrics: Arc<Metrics>,
}

/// One request, from its header to its end.
struct Header {
    arrived: AtomicBool,
    connection: Option<Arc<ProxyDigest>>,
}

tokio::task_local! {
    static HEADER: Arc<Header>;
}

/// The header of the request that this task serves is there.
pub fn arrived() {
    // Streams of HTTP/2 have tasks of their own, and no deadline: their headers come in frames of a few reads.
    let _ = HEADER.try_with(|header| header.arrive());
}

impl Header {
    fn of(session: &ServerSession) -> Self {
        let connection = session.digest().and_then(|digest| digest.proxy_digest.clone());
        Self { arrived: AtomicBool::new(false), connection }
    }

    fn arrive(&self) {
        if !self.arrived.swap(true, Ordering::Relaxed)
            && let Some(connected) = Connected::of(self.connection.as_ref())
        {
            connected.requested();
        }
    }

    fn has_arrived(&self) -> bool {
        self.arrived.load(Ordering::Relaxed)
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        if self.has_arrived()
            && let Some(connected) = Connected::of(self.connection.as_ref())
        {
            connected.answered();
        }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for HeaderDeadline<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let header = Header::of(&session);
        if session.is_http2() {
            header.arrive();
            return self.inside.process_new_http(session, shutdown).await;
        }
        let unused = self.server_options().and_then(|options| options.keepalive_request_limit);
        let is_first = session.get_keepalive_reuses_remaining() == unused;
        let limit = if is_first { self.bounds.header_time } else { self.bounds.next_header_time() };
        let header = Arc::new(header);
        let served = HEADER.scope(header.clone(), self.inside.process_new_http(session, shutdown));
        let mut served = std::pin::pin!(served);
        match timeout(limit, served.as_mut()).await {
            Ok(reusable) => reusable,
            Err(_) if header.has_arrived() => served.await,
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
