//! `/metrics`, `/healthz`, `/readyz`, `/status`, `/sessions` and `/servers`, on a listener of their own that is never public.
//! Whoever is not on this machine gets the first three and nothing else: nobody signs in here.

mod request;
mod servers;
mod sessions;
mod status;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::socket::SocketAddr;

use self::request::{Refusal, refused};
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
pub use servers::ServersAdmin;
pub use sessions::SessionsAdmin;
pub use status::{FormToken, History, Sampler, StatusAdmin};

pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    pub readiness: Readiness,
    pub sessions: SessionsAdmin,
    pub servers: ServersAdmin,
    pub status: StatusAdmin,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let header = session.req_header();
        match header.uri.path() {
            sessions::LIST
            | sessions::REVOKE
            | servers::LIST
            | servers::DRAIN
            | servers::UNDRAIN
            | status::PAGE
            | status::REVOKE
                if !is_local(session) =>
            {
                refused(session, &Refusal::Elsewhere)
            }
            status::PAGE | status::REVOKE => self.status.answer(session).await,
            sessions::LIST | sessions::REVOKE => self.sessions.answer(session).await,
            servers::LIST | servers::DRAIN | servers::UNDRAIN => self.servers.answer(session).await,
            path => plain(&self.metrics, &self.drain, &self.readiness, &header.method, path),
        }
    }
}

/// At a socket in the file system nobody has an address; who may open it is let in by its permissions.
fn is_local(session: &ServerSession) -> bool {
    let of_this_machine = |address: &SocketAddr| address.as_inet().is_some_and(|at| is_this_machine(at.ip()));
    let in_the_file_system = |address: &SocketAddr| matches!(address, SocketAddr::Unix(_));
    session.client_addr().is_some_and(of_this_machine) || session.server_addr().is_some_and(in_the_file_system)
}

/// Whether connections from there are of this machine, as those of `ssh -L` and `kubectl port-forward` are.
fn is_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
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
        _ => text(StatusCode::NOT_FOUND, "/metrics /healthz /readyz /status /sessions /servers\n"),
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
    use crate::documented::{names, rows};

    #[test]
    fn only_loopback_is_this_machine() {
        let is = |text: &str| is_this_machine(text.parse().unwrap());
        assert!(["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"].into_iter().all(is));
        assert!(!["10.0.0.1", "169.254.1.1", "::", "0.0.0.0", "fe80::1", "::ffff:10.0.0.1"].into_iter().any(is));
    }

    #[test]
    fn every_endpoint_is_documented() {
        let documented: Vec<_> =
            rows("endpoints.md", "## The admin listener").iter().flat_map(|cells| names(&cells[0])).collect();
        let served = [
            "/metrics",
            "/healthz",
            "/readyz",
            status::PAGE,
            status::REVOKE,
            sessions::LIST,
            sessions::REVOKE,
            servers::LIST,
            servers::DRAIN,
            servers::UNDRAIN,
        ];
        assert_eq!(documented, served);
    }

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
