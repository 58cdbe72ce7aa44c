//! `/metrics`, `/healthz`, `/readyz`, `/sessions` and `/servers`, on a listener of their own that is never public.

mod request;
mod servers;
mod sessions;

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
pub use servers::ServersAdmin;
pub use sessions::SessionsAdmin;

pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    pub readiness: Readiness,
    pub sessions: SessionsAdmin,
    pub servers: ServersAdmin,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let header = session.req_header();
        match header.uri.path() {
            sessions::LIST | sessions::REVOKE => self.sessions.answer(session).await,
            servers::LIST | servers::DRAIN | servers::UNDRAIN => self.servers.answer(session).await,
            path => plain(&self.metrics, &self.drain, &self.readiness, &header.method, path),
        }
    }
}

/// Neither answer depends on how Redis and Entra are now: an outage of theirs must not restart or remove every replica at once.
fn plain(metrics: &Metrics, drain: &Drain, readiness: &Readiness, method: &Method, path: &str) -> Response<Vec<u8>> {
    if method != Method::GET && method != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        answer.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match path {
        "/healthz" => text(StatusCode::OK, "alive\n"),
        "/readyz" if drain.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" => match readiness.obstacle() {
            Some(cause) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {cause}\n")),
            None => text(StatusCode::OK, "ready\n"),
        },
        "/metrics" => answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.render()),
        _ => text(StatusCode::NOT_FOUND, "/metrics /healthz /readyz /sessions /servers\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Vec<u8>> {
    answer(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}

fn answer(status: StatusCode, content_type: &str, body: Vec<u8>) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_LENGTH, body.len())
        .body(body)
        .expect("the parts are well-formed")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn readiness_begins_with_entra_and_ends_with_the_drain_and_liveness_does_neither() {
        let metrics = Arc::new(Metrics::default());
        let drain = Drain::new(metrics.in_flight().clone());
        let readiness = Readiness::default();
        let answer = |method: &Method, path: &str| plain(&metrics, &drain, &readiness, method, path);
        assert_eq!(answer(&Method::GET, "/readyz").status(), 503);
        assert_eq!(answer(&Method::GET, "/healthz").status(), 200);
        readiness.hindered("Entra: AADSTS700213".to_owned());
        assert_eq!(answer(&Method::GET, "/readyz").body(), b"not ready: Entra: AADSTS700213\n");
        readiness.ready();
        assert_eq!(answer(&Method::GET, "/readyz").status(), 200);
        let at_once = crate::drain::Settings { delay: Duration::ZERO, window: Duration::ZERO };
        drain.drain(at_once, async {}).await;
        assert_eq!(answer(&Method::GET, "/readyz").status(), 503);
        assert_eq!(answer(&Method::GET, "/healthz").status(), 200);
        assert_eq!(answer(&Method::POST, "/healthz").status(), 405);
        assert_eq!(answer(&Method::GET, "/x").status(), 404);
    }
}
