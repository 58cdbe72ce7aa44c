//! The wiring: settings in, a running server out. The only place that knows every part.

mod closing;
mod connections;
mod entrance;
mod file_watch;
mod inherited;
mod listening;
mod proxy_protocol;
mod redirect;
mod redis_token;
mod ring;
mod sign_of_life;
mod start_check;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entra::Credential;
use entra::credential::Now;
use pingora::apps::HttpServerOptions;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server as PingoraServer};
use pingora::services::background::{GenBackgroundService, background_service};
use pingora::services::listening::Service;
use pingora_proxy::http_proxy;
use tokio::sync::watch;

use crate::access::{Access, Requirement, UpstreamAccess};
use crate::admin::{Admin, ServersAdmin, SessionsAdmin};
use crate::clock::Clock;
use crate::drain::{self, Drain, GracefulStop, StopSignal};
pub use crate::edge::StreamSettings;
use crate::edge::{self, Edge, HeaderDeadline, Origins, Routes, Upstream, Upstreams};
use crate::metrics::Metrics;
use crate::oauth::{self, AuthorizationServer, ClientSettings, Parts, Remember, Resource, Resources};
use crate::pool::{self, Pool, PoolError};
use crate::public_url::PublicUrl;
use crate::readiness::Readiness;
use crate::sealed::KeyRingError;
use crate::service_manager;
use crate::session::{self, Roster, Sessions};
use crate::source::TrustedProxies;
use crate::store::{self, MemoryStore, RedisStore, Store};
use closing::Closing;
pub use connections::ConnectionLimits;
use connections::Connections;
use entrance::{Entrance, Rules};
use file_watch::FileWatch;
pub use inherited::{Inherited, InheritedError};
use listening::Announcer;
use redirect::Redirect;
use redis_token::RedisToken;
use ring::RingFile;
pub use ring::RingSource;
use sign_of_life::{Shown, SignOfLife};
use start_check::StartCheck;
pub use tls::{TlsError, TlsFiles};

/// An idle connection of HTTP/2 is closed after this.
const H2_IDLE: Duration = Duration::from_secs(300);
/// A connection of HTTP/1.1 is closed after so many.
const REQUESTS_PER_CONNECTION: u32 = 10_000;

/// Each open connection holds such a buffer below TLS, idle streams too; Pingora's own default is 64 KiB.
const TLS_READ_BUFFER: usize = 4 * 1024;
/// Without TLS whoever reads has a buffer already.
const NO_READ_BUFFER: usize = 0;

/// Everything that configuration decides.
pub struct Settings {
    pub public_url: PublicUrl,
    pub listen: Vec<SocketAddr>,
    /// Absent: plain HTTP, on loopback or behind a TLS terminator.
    pub tls: Option<TlsFiles>,
    /// Where plain HTTP is told to come by HTTPS.
    pub redirect: Option<SocketAddr>,
    pub trusted_proxies: TrustedProxies,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    pub connections: ConnectionLimits,
    pub oauth_limits: oauth::LimitSettings,
    pub edge_limits: edge::LimitSettings,
    pub admin: SocketAddr,
    pub entra: entra::Settings,
    pub credential: Credential,
    /// Who may sign in; `None`: every user of the tenant.
    pub sign_in: Option<Requirement>,
    pub store: store::Settings,
    pub ring: RingSource,
    /// The first is the default resource. Never empty.
    pub upstreams: Vec<UpstreamSettings>,
    pub sessions: session::Settings,
    pub streams: StreamSettings,
    /// What people call this installation; large on every page.
    pub server_name: String,
    pub remember: Remember,
    pub clients: ClientSettings,
    /// Web origins besides our own whose pages may call the MCP endpoints.
    pub allowed_origins: Vec<String>,
    pub access_log: bool,
    pub drain: drain::Settings,
}

pub struct UpstreamSettings {
    /// The path of the resource on the edge.
    pub path: String,
    /// What Entra is asked for on its behalf.
    pub scope: String,
    pub pool: pool::Settings,
    pub access: UpstreamAccess,
}

/// Why a server cannot be built from settings that are well-formed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("the Entra client: {0}")]
    Entra(#[from] entra::SetUpError),
    #[error("the store: {0}")]
    Store(#[from] store::SettingsError),
    #[error("the key ring {0}")]
    Ring(#[from] KeyRingError),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("the HTTP client for metadata documents: {0}")]
    Documents(#[from] reqwest::Error),
    #[error("an allowed origin: {0}")]
    Origin(#[from] http::header::InvalidHeaderValue),
    #[error("the listening sockets that were passed: {0}")]
    Inherited(#[from] InheritedError),
}

/// A server that is ready to run.
pub struct Server {
    pingora: PingoraServer,
    drain: Drain,
    leave: drain::Settings,
}

impl Server {
    /// Listens at sockets that were `inherited`, and binds the other addresses.
    pub fn build(settings: Settings, clock: Clock, inherited: Inherited) -> Result<Self, BuildError> {
        let metrics = Arc::new(Metrics::default());
        let drain = Drain::new(metrics.in_flight().clone());
        let mut pingora = PingoraServer::new_with_opt_and_conf(None, configuration());
        pingora.bootstrap();

        let (listen, leave) = (settings.listen.clone(), settings.drain);
        let addresses: Vec<_> = listen.iter().copied().chain(settings.redirect).chain([settings.admin]).collect();
        let inherited = inherited.claim(&addresses)?;
        let announcer = Announcer { addresses };
        let tls = settings.tls.clone().map(|files| tls::open(files, clock.clone(), &metrics)).transpose()?;
        let rules = Arc::new(Rules {
            connections: Connections::new(settings.connections, metrics.clone()),
            trusted_proxies: settings.trusted_proxies.clone(),
            proxy_protocol: settings.proxy_protocol,
            metrics: metrics.clone(),
        });
        let redirect = settings.redirect.map(|address| {
            // Its connections are files that this process has open, like all others.
            let inside = HeaderDeadline { inside: Arc::new(Redirect::new(&settings)), metrics: metrics.clone() };
            let entrance = Entrance { rules: rules.clone(), inside: Arc::new(inside) };
            let mut service = Service::new("redirect".to_owned(), entrance);
            service.threads = Some(1);
            service.add_tcp(&address.to_string());
            Closing { service, closing: drain.closing() }
        });
        let (admin_address, tenant_id) = (settings.admin, settings.entra.authority.tenant_id().to_owned());
        let (edge, kept) = edge(settings, clock, metrics.clone(), drain.clone())?;
        let sessions = SessionsAdmin { sessions: edge.sessions.clone(), tenant_id };
        let servers = ServersAdmin { pools: edge.routes.pools().cloned().collect() };
        let readiness = Readiness::default();
        let admin =
            Admin { metrics: metrics.clone(), drain: drain.clone(), readiness: readiness.clone(), sessions, servers };
        let mut admin_service = Service::new("admin".to_owned(), admin);
        admin_service.threads = Some(1);
        admin_service.add_tcp(&admin_address.to_string());
        for pool in edge.routes.pools().filter(|pool| pool.has_upkeep()) {
            let name = format!("servers of {}", pool.settings().name);
            pingora.add_service(GenBackgroundService::new(name, pool.balancer()));
        }
        let mut proxy = http_proxy(&pingora.configuration, edge);
        proxy.server_options = Some(connection_options());
        let deadline = HeaderDeadline { inside: Arc::new(proxy), metrics };
        let entrance = Entrance { rules: rules.clone(), inside: Arc::new(deadline) };
        let mut edge_service = Service::new("edge".to_owned(), entrance);
        edge_service.endpoints().set_pre_tls_callback(rules);
        for address in listen {
            let (listener, buffer) = (ListenerConfig::tcp(address.to_string()), L4BufferSettings::default());
            edge_service.add_listener(match &tls {
                Some((settings, _)) => listener.tls(settings()).l4_buffer(buffer.read(TLS_READ_BUFFER)),
                None => listener.l4_buffer(buffer.read(NO_READ_BUFFER)),
            });
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
        if !inherited.is_empty() {
            let inherited = pingora.add_service(inherited);
            listening.iter().for_each(|service| service.add_dependency(&inherited));
        }
        pingora.add_service(background_service("announcer", announcer));
        if let Some(sign_of_life) = sign_of_life {
            pingora.add_service(background_service("sign of life", sign_of_life));
        }
        let check = StartCheck { entra: kept.entra, readiness };
        pingora.add_service(background_service("first look at Entra", check));
        if let Some((_, watch)) = tls {
            pingora.add_service(background_service("certificate", watch));
        }
        if let Some(renewal) = kept.redis_token {
            pingora.add_service(background_service("token for Redis", renewal));
        }
        if let Some(watch) = kept.ring {
            pingora.add_service(background_service("key ring", watch));
        }
        Ok(Self { pingora, drain, leave })
    }

    /// Serves until `stop`, drains, and returns.
    pub fn run(self, stop: impl StopSignal + 'static) {
        let watch = GracefulStop { drain: self.drain, settings: self.leave, stop };
        self.pingora.run(RunArgs { shutdown_signal: Box::new(watch) });
    }
}

/// What operators see of sessions, without a server; `None` when they are in a server's memory and nowhere else.
///
/// # Errors
/// When the ring or the store cannot be used as the settings say.
pub fn roster(settings: Settings, clock: Clock) -> Result<Option<Roster>, BuildError> {
    let store::Settings::Redis(redis) = settings.store else { return Ok(None) };
    // Nobody reads what is counted, and the process is gone before the ring changes.
    let (sealer, _) = ring::open(settings.ring, settings.public_url.as_str(), &Arc::default())?;
    Ok(Some(Roster::new(Arc::new(RedisStore::new(redis)?), sealer, clock)))
}

/// What works beside the edge while it serves.
struct Kept {
    ring: Option<FileWatch<RingFile>>,
    redis_token: Option<RedisToken>,
    entra: Arc<entra::Client>,
}

fn edge(settings: Settings, clock: Clock, metrics: Arc<Metrics>, drain: Drain) -> Result<(Edge, Kept), BuildError> {
    let public_url = settings.public_url;
    let (sealer, ring_watch) = ring::open(settings.ring, public_url.as_str(), &metrics)?;
    let credential = settings.credential.clone().source(&settings.entra, now_of(&clock))?;
    let entra = Arc::new(entra::Client::observed(settings.entra, credential, metrics.entra())?);
    metrics.shows_ages_of(entra.clone());
    let redis_token = RedisToken::new(&settings.store, &settings.credential, &entra, now_of(&clock))?;
    let store: Arc<dyn Store> = match settings.store {
        store::Settings::Memory => Arc::new(MemoryStore::new(clock.clone())),
        store::Settings::Redis(redis) => Arc::new(RedisStore::new(redis)?),
    };
    let rules = settings.upstreams.iter().map(|upstream| (public_url.join(&upstream.path), &upstream.access));
    let access = Access::new(settings.sign_in, rules);
    let sessions =
        Sessions::new(settings.sessions, store.clone(), sealer.clone(), clock.clone(), entra.clone(), access);
    let sessions = Arc::new(sessions);
    let upstreams = settings
        .upstreams
        .into_iter()
        .map(|upstream| {
            let resource = Resource::new(&public_url, &upstream.path, &upstream.scope);
            Ok(Upstream { resource, pool: Arc::new(Pool::new(upstream.pool)?), tools: upstream.access.tools })
        })
        .collect::<Result<Vec<_>, PoolError>>()?;
    let resources = Resources::new(&public_url, upstreams.iter().map(|upstream| upstream.resource.clone()).collect());
    let oauth = AuthorizationServer::new(
        oauth::Settings {
            public_url: public_url.clone(),
            resources,
            server_name: settings.server_name,
            remember: settings.remember,
            clients: settings.clients,
            limits: settings.oauth_limits,
        },
        Parts { sealer: sealer.clone(), store, clock, sessions: sessions.clone(), entra: entra.clone() },
    )?;
    let own = [public_url.as_str()];
    let origins = Origins::new(own.into_iter().chain(settings.allowed_origins.iter().map(String::as_str)))?;
    let edge = Edge {
        origins,
        routes: Routes::new(upstreams),
        oauth: Arc::new(oauth),
        sessions,
        sealer,
        metrics,
        drain,
        upstreams: Upstreams::new(&configuration()),
        streams: settings.streams,
        long_bodies: edge::LongBodies::default(),
        access_log: settings.access_log,
        trusted_proxies: settings.trusted_proxies,
        limits: edge::Limits::new(settings.edge_limits),
        public_url,
    };
    Ok((edge, Kept { ring: ring_watch, redis_token, entra }))
}

fn now_of(clock: &Clock) -> Now {
    let clock = clock.clone();
    Arc::new(move || clock.now().into())
}

fn connection_options() -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(H2_IDLE);
    options
}

fn configuration() -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        // The drain has waited already; what is left is cut.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}
