//! What listens: for clients, for whoever comes by plain HTTP, and for operators.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::Acceptor;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::Server as PingoraServer;
use pingora::server::configuration::ServerConf;
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::sync::watch;

use super::closing::Closing;
use super::connections::Connections;
use super::entrance::{Entrance, Rules};
use super::file_watch::FileWatch;
use super::inherited::{Inherited, Sockets};
use super::listening::Announcer;
use super::redirect::Redirect;
use super::sign_of_life::{Shown, SignOfLife};
use super::tls::{self, CertificateFiles};
use super::unix_socket::{self, SocketFile, UnixSocket, UnixSocketError};
use super::{AdminSettings, BuildError, ConnectionLimits, Settings};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::drain::Drain;
use crate::edge::{Bounds, Edge, HeaderDeadline, IdleConnections, Upstreams};
use crate::metrics::Metrics;
use crate::service_manager;

/// Each open connection holds such a buffer below TLS, idle streams too; Pingora's own default is 64 KiB.
const TLS_READ_BUFFER: usize = 4 * 1024;
/// Without TLS whoever reads has a buffer already.
const NO_READ_BUFFER: usize = 0;

/// Made, and not yet open.
pub struct Listeners {
    pub bounds: Arc<Bounds>,
    listen: Vec<SocketAddr>,
    admin: AdminSettings,
    redirect: Option<SocketAddr>,
    rules: Arc<Rules>,
    limits: ConnectionLimits,
    tls: Option<Acceptor>,
    certificate: Option<FileWatch<CertificateFiles>>,
    inherited: Sockets,
    announcer: Announcer,
}

impl Listeners {
    pub fn new(
        settings: &Settings,
        inherited: Inherited,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, BuildError> {
        let listen = settings.listen.clone();
        let addresses: Vec<_> = listen.iter().copied().chain(settings.redirect).chain(settings.admin.address).collect();
        let inherited = inherited.claim(&addresses)?;
        let tls = settings.tls.clone().map(|files| tls::open(files, clock.clone(), metrics)).transpose()?;
        let (tls, certificate) = tls.unzip();
        let (limits, bounds) = (settings.connections, Arc::new(settings.bounds));
        let rules = Arc::new(Rules {
            connections: Connections::new(limits, metrics.clone()),
            idle: Arc::new(IdleConnections::default()),
            trusted_proxies: settings.trusted_proxies.clone(),
            proxy_protocol: settings.proxy_protocol,
            bounds: bounds.clone(),
            metrics: metrics.clone(),
        });
        let announcer = Announcer { addresses, socket: settings.admin.socket.clone() };
        let (admin, redirect) = (settings.admin.clone(), settings.redirect);
        Ok(Self { bounds, listen, admin, redirect, rules, limits, tls, certificate, inherited, announcer })
    }

    /// Opens the socket in the file system, before Pingora would: that removes whatever is there, and lets everybody in for a moment.
    pub fn open_socket(&mut self) -> Result<Option<SocketFile>, UnixSocketError> {
        let Some(path) = &self.admin.socket else { return Ok(None) };
        let socket = UnixSocket::open(path)?;
        self.inherited.hold(path.to_string_lossy().into_owned(), socket.listener);
        Ok(Some(socket.file))
    }

    /// Gives them to Pingora, which opens them when it runs.
    pub fn open(self, pingora: &mut PingoraServer, edge: Edge, admin: Admin, drain: &Drain) -> Arc<HttpProxy<Edge>> {
        let mut admin_service = Service::new("admin".to_owned(), admin);
        admin_service.threads = Some(1);
        if let Some(address) = self.admin.address {
            admin_service.add_tcp(&address.to_string());
        }
        if let Some(socket) = &self.admin.socket {
            admin_service.add_uds(&socket.to_string_lossy(), Some(Permissions::from_mode(unix_socket::MODE)));
        }
        let redirect = self.redirect.map(|address| {
            // Its connections are files that this process has open, like all others.
            let inside = Arc::new(Redirect { public_url: edge.public_url.clone(), live: edge.live.clone() });
            let (bounds, metrics) = (self.bounds.clone(), self.rules.metrics.clone());
            let inside = HeaderDeadline { inside, bounds, metrics };
            let entrance = Entrance { rules: self.rules.clone(), tls: None, inside: Arc::new(inside) };
            let mut service = Service::new("redirect".to_owned(), entrance);
            service.threads = Some(1);
            service.add_tcp(&address.to_string());
            Closing { service, closing: drain.closing() }
        });
        let mut proxy = http_proxy(&pingora.configuration, edge);
        proxy.server_options = Some(connection_options(&self.limits));
        proxy.h2_options = Some(http2_options(&self.limits));
        let proxy = Arc::new(proxy);
        let metrics = self.rules.metrics.clone();
        let deadline = HeaderDeadline { inside: proxy.clone(), bounds: self.bounds, metrics };
        let read = if self.tls.is_some() { TLS_READ_BUFFER } else { NO_READ_BUFFER };
        let buffer = L4BufferSettings::default().read(read);
        let entrance = Entrance { rules: self.rules, tls: self.tls, inside: Arc::new(deadline) };
        let mut edge_service = Service::new("edge".to_owned(), entrance);
        for address in self.listen {
            edge_service.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(buffer));
        }
        let runtime = watch::Sender::new(None);
        let sign_of_life = service_manager::sign_of_life().map(|interval| SignOfLife {
            interval,
            runtime: runtime.subscribe(),
            drain: drain.clone(),
        });
        let edge_service = Closing { service: Shown { service: edge_service, runtime }, closing: drain.closing() };
        let mut listening = vec![pingora.add_service(edge_service), pingora.add_service(admin_service)];
        listening.extend(redirect.map(|redirect| pingora.add_service(redirect)));
        if !self.inherited.is_empty() {
            let inherited = pingora.add_service(self.inherited);
            listening.iter().for_each(|service| service.add_dependency(&inherited));
        }
        pingora.add_service(background_service("announcer", self.announcer));
        if let Some(sign_of_life) = sign_of_life {
            pingora.add_service(background_service("sign of life", sign_of_life));
        }
        if let Some(watch) = self.certificate {
            pingora.add_service(background_service("certificate", watch));
        }
        proxy
    }
}

fn connection_options(limits: &ConnectionLimits) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(limits.requests);
    options.h2_idle_timeout = Some(limits.http2_idle);
    options
}

fn http2_options(limits: &ConnectionLimits) -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(limits.http2_streams);
    options
}

/// Whom a server has its process for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// For itself, from its start to the process's end.
    Own,
    /// For others too, that begin or end meanwhile: as in tests.
    Shared,
}

/// As many workers as there are processors.
pub fn configuration(process: Process, limits: &ConnectionLimits) -> ServerConf {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // One worker has nobody to steal from, and a runtime that is made for it makes each call dearer: docs/performance.md. Several
    // would wake each other without it, for any of them may use a connection that waits. In a process that has had another such
    // server nothing would run: a thread of Pingora's runtime takes over what the one before it, of the same number, has left
    // (`CURRENT_HANDLE` in `pingora-runtime` 0.9.1).
    let is_alone = threads == 1 && process == Process::Own;
    ServerConf {
        threads,
        work_stealing: !is_alone,
        // Pingora makes room for so many times as many as there are workers.
        upstream_keepalive_pool_size: (limits.waiting(Upstreams::STORES) / threads).max(1),
        // The drain has waited already; what is left is cut.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}
