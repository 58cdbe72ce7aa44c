//! The wiring: settings in, a running server out. The only place that knows every part.

mod closing;
mod connections;
mod entrance;
mod file_watch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inherited;
mod listening;
mod proxy_protocol;
mod redirect;
mod redis_token;
mod ring;
mod sign_of_life;
mod start_check;
mod subject;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use entra::Credential;
use entra::credential::Now;
use pingora::apps::HttpServerOptions;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server as PingoraServer};
use pingora::services::background::{GenBackgroundService, background_service};
use pingora::services::listening::Service;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::sync::watch;

use crate::access::{Access, Requirement, UpstreamAccess};
use crate::admin::{Admin, FormToken, History, Sampler, ServersAdmin, SessionsAdmin, StatusAdmin};
use crate::audit::{self, Audit, AuditFile, Event, Field, Kind, Outcome};
use crate::clock::Clock;
use crate::drain::{self, Drain, GracefulStop, StopSignal};
pub use crate::edge::StreamSettings;
use crate::edge::{self, Bounds, Edge, HeaderDeadline, IdleConnections, Origins, Routes, Upstream, Upstreams};
use crate::metrics::Metrics;
use crate::oauth::{self, AuthorizationServer, ClientSettings, Parts, Remember, Resource, Resources};
use crate::pool::{self, Counts, Pool, PoolError};
use crate::public_url::PublicUrl;
use crate::readiness::Readiness;
use crate::sealed::{KeyRingError, Sealer};
use crate::service_manager;
use crate::session::{self, Roster, Sessions};
use crate::source::TrustedProxies;
use crate::store::{self, MemoryStore, Observed, RedisStore, Store};
use crate::traces::{self, EntraNoted, StoreNoted, Traces};
use closing::Closing;
pub use connections::ConnectionLimits;
use connections::Connections;
use entrance::{Entrance, Rules};
use file_watch::FileWatch;
pub use inherited::{Inherited, InheritedError};
use listening::Announcer;
use redirect::Redirect;
pub use redis_token::RedisToken;
use ring::RingFile;
pub use ring::RingSource;
use sign_of_life::{Shown, SignOfLife};
use start_check::StartCheck;
pub use subject::Subject;
pub use tls::{TlsError, TlsFiles};

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
    pub bounds: Bounds,
    pub oauth_limits: oauth::LimitSettings,
    pub edge_limits: edge::LimitSettings,
    pub admin: SocketAddr,
    pub entra: entra::Settings,
    pub credential: Credential,
    /// Who may sign in; `None`: every user of the tenants that are allowed.
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
    /// Where the audit log goes; `None`: to the log.
    pub audit: Option<PathBuf>,
    /// Where traces go; `None`: none are made.
    pub traces: Option<traces::Settings>,
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
    #[error("the audit log: {0}")]
    Audit(#[from] audit::FileError),
    #[error("traces: {0}")]
    Traces(#[from] traces::StartError),
    #[error("the listening sockets that were passed: {0}")]
    Inherited(#[from] InheritedError),
}

/// A server that is ready to run.
pub struct Server {
    pingora: PingoraServer,
    drain: Drain,
    leave: drain::Settings,
    proxy: Arc<HttpProxy<Edge>>,
    audit: Audit,
    traces: Option<Traces>,
}

impl Server {
    /// Listens at sockets that were `inherited`, and binds the other addresses.
    pub fn build(settings: Settings, clock: Clock, inherited: Inherited) -> Result<Self, BuildError> {
        let names = settings.upstreams.iter().map(|upstream| upstream.pool.name.as_str());
        let metrics = Arc::new(Metrics::for_upstreams(names));
        let drain = Drain::new(metrics.in_flight().clone());
        let mut pingora = PingoraServer::new_with_opt_and_conf(None, configuration());
        pingora.bootstrap();

        let (listen, leave) = (settings.listen.clone(), settings.drain);
        let addresses: Vec<_> = listen.iter().copied().chain(settings.redirect).chain([settings.admin]).collect();
        let inherited = inherited.claim(&addresses)?;
        let announcer = Announcer { addresses };
        let tls = settings.tls.clone().map(|files| tls::open(files, clock.clone(), &metrics)).transpose()?;
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
        let redirect = settings.redirect.map(|address| {
            // Its connections are files that this process has open, like all others.
            let inside = Arc::new(Redirect::new(&settings));
            let inside = HeaderDeadline { inside, bounds: bounds.clone(), metrics: metrics.clone() };
            let entrance = Entrance { rules: rules.clone(), tls: None, inside: Arc::new(inside) };
            let mut service = Service::new("redirect".to_owned(), entrance);
            service.threads = Some(1);
            service.add_tcp(&address.to_string());
            Closing { service, closing: drain.closing() }
        });
        let (admin_address, tenants) = (settings.admin, settings.entra.authority.allowed_tenants().to_vec());
        let (edge, kept) = edge(settings, clock.clone(), metrics.clone(), drain.clone())?;
        let sessions = SessionsAdmin { sessions: edge.sessions.clone(), tenants };
        let servers = ServersAdmin { pools: edge.routes.pools().cloned().collect(), audit: edge.audit.clone() };
        let (audit, traces, readiness) = (edge.audit.clone(), edge.traces.clone(), Readiness::default());
        show_states(&metrics, &edge, &readiness);
        let history = History::default();
        let status = StatusAdmin {
            public_url: edge.public_url.as_str().to_owned(),
            clock: clock.clone(),
            started: clock.now(),
            metrics: metrics.clone(),
            drain: drain.clone(),
            readiness: readiness.clone(),
            history: history.clone(),
            pools: servers.pools.clone(),
            sessions: edge.sessions.clone(),
            token: FormToken::random(),
        };
        let admin = Admin {
            metrics: metrics.clone(),
            drain: drain.clone(),
            readiness: readiness.clone(),
            sessions,
            servers,
            status,
        };
        pingora.add_service(background_service("status", Sampler { history, metrics: metrics.clone() }));
        let mut admin_service = Service::new("admin".to_owned(), admin);
        admin_service.threads = Some(1);
        admin_service.add_tcp(&admin_address.to_string());
        for pool in edge.routes.pools().filter(|pool| pool.has_upkeep()) {
            let name = format!("servers of {}", pool.settings().name);
            pingora.add_service(GenBackgroundService::new(name, pool.balancer()));
        }
        let mut proxy = http_proxy(&pingora.configuration, edge);
        (proxy.server_options, proxy.h2_options) = (Some(connection_options(&limits)), Some(http2_options(&limits)));
        let proxy = Arc::new(proxy);
        let deadline = HeaderDeadline { inside: proxy.clone(), bounds, metrics };
        let buffer = L4BufferSettings::default().read(if tls.is_some() { TLS_READ_BUFFER } else { NO_READ_BUFFER });
        let entrance = Entrance { rules, tls, inside: Arc::new(deadline) };
        let mut edge_service = Service::new("edge".to_owned(), entrance);
        for address in listen {
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
        if let Some(watch) = certificate {
            pingora.add_service(background_service("certificate", watch));
        }
        if let Some(renewal) = kept.redis_token {
            pingora.add_service(background_service("token for Redis", renewal));
        }
        if let Some(watch) = kept.ring {
            pingora.add_service(background_service("key ring", watch));
        }
        Ok(Self { pingora, drain, leave, proxy, audit, traces })
    }

    /// Serves until `stop`, drains, and returns.
    pub fn run(self, stop: impl StopSignal + 'static) {
        let watch = GracefulStop { drain: self.drain, settings: self.leave, stop, app: self.proxy };
        self.pingora.run(RunArgs { shutdown_signal: Box::new(watch) });
        self.audit.finish();
        self.traces.iter().for_each(Traces::finish);
    }
}

/// What operators see of sessions, without a server, and where it is noted what they do; `None` when sessions are in a server's
/// memory and nowhere else.
///
/// # Errors
/// When the ring or the store cannot be used as the settings say.
pub fn roster(settings: Settings, clock: Clock) -> Result<Option<(Roster, Audit)>, BuildError> {
    let store::Settings::Redis(redis) = settings.store else { return Ok(None) };
    let sealer = sealer(settings.ring, &settings.public_url)?;
    // An end to sessions must not fail for a log: what cannot be written there is written to the other one.
    let beside = |path| match audit::open_beside(path, sealer.clone(), clock.clone()) {
        Ok(audit) => Some(audit),
        Err(cause) => {
            tracing::warn!(%cause, "not in the audit log");
            None
        }
    };
    let audit = settings.audit.as_deref().and_then(beside);
    let audit = audit.unwrap_or_else(|| Audit::to_log(sealer.clone(), clock.clone()));
    Ok(Some((Roster::new(Arc::new(RedisStore::new(redis)?), sealer, clock), audit)))
}

/// What opens what a server of these settings has sealed, for a command.
///
/// # Errors
/// When the ring cannot be used as the settings say.
pub fn sealer(ring: RingSource, public_url: &PublicUrl) -> Result<Sealer, KeyRingError> {
    // Nobody reads what is counted, and the process is gone before the ring changes.
    ring::open(ring, public_url.as_str(), &Arc::default()).map(|(sealer, _)| sealer)
}

/// What works beside the edge while it serves.
struct Kept {
    ring: Option<FileWatch<RingFile>>,
    redis_token: Option<RedisToken>,
    entra: Arc<entra::Client>,
}

fn edge(settings: Settings, clock: Clock, metrics: Arc<Metrics>, drain: Drain) -> Result<(Edge, Kept), BuildError> {
    let oauth_settings = oauth_settings(&settings);
    let public_url = settings.public_url;
    let (sealer, ring_file) = ring::open(settings.ring, public_url.as_str(), &metrics)?;
    let audit = match &settings.audit {
        Some(path) => Audit::to_file(AuditFile::open(path)?, sealer.clone(), clock.clone(), metrics.audit()),
        None => Audit::to_log(sealer.clone(), clock.clone()),
    };
    audit.record(Event::new(Kind::LogOpened, Outcome::Ok).text(Field::Version, env!("CARGO_PKG_VERSION")));
    ring::note_ring(&sealer, &audit);
    let ring_watch = ring_file.map(|file| file.watch(&sealer, &metrics, &audit));
    let credential = settings.credential.clone().source(&settings.entra, now_of(&clock))?;
    let start = |settings| Traces::start(settings, &public_url, metrics.traces());
    let traces = settings.traces.map(start).transpose()?;
    let entra_observer: Arc<dyn entra::Observer> = match &traces {
        Some(_) => Arc::new(EntraNoted { inside: metrics.entra() }),
        None => metrics.entra(),
    };
    let entra = Arc::new(entra::Client::observed(settings.entra, credential, entra_observer)?);
    metrics.shows_ages_of(entra.clone());
    let redis_token = RedisToken::new(&settings.store, &settings.credential, &entra, now_of(&clock))?;
    let store_observer: Arc<dyn store::Observer> = match &traces {
        Some(_) => {
            let is_redis = matches!(settings.store, store::Settings::Redis(_));
            Arc::new(StoreNoted { inside: metrics.store(), is_redis })
        }
        None => metrics.store(),
    };
    let store: Arc<dyn Store> = match settings.store {
        store::Settings::Memory => Arc::new(MemoryStore::new(clock.clone())),
        store::Settings::Redis(redis) => {
            let redis = Arc::new(RedisStore::new(redis)?);
            let asked = redis.clone();
            metrics.at_each_scrape(move |metrics| metrics.redis_breakers(asked.open_breakers()));
            redis
        }
    };
    let store: Arc<dyn Store> = Arc::new(Observed::new(store, store_observer));
    let rules = settings.upstreams.iter().map(|upstream| (public_url.join(&upstream.path), &upstream.access));
    let access = Access::new(settings.sign_in, rules);
    let sessions = Sessions::new(
        settings.sessions,
        store.clone(),
        sealer.clone(),
        clock.clone(),
        entra.clone(),
        access,
        audit.clone(),
    );
    let sessions = Arc::new(sessions);
    let upstreams = settings
        .upstreams
        .into_iter()
        .map(|upstream| {
            let resource = Resource::new(&public_url, &upstream.path, &upstream.scope);
            Ok(Upstream { resource, pool: Arc::new(Pool::new(upstream.pool)?), tools: upstream.access.tools })
        })
        .collect::<Result<Vec<_>, PoolError>>()?;
    let oauth = AuthorizationServer::new(
        oauth_settings,
        Parts {
            sealer: sealer.clone(),
            store,
            clock,
            sessions: sessions.clone(),
            entra: entra.clone(),
            audit: audit.clone(),
        },
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
        long_bodies: edge::LongBodies::new(settings.bounds.long_messages),
        bounds: Arc::new(settings.bounds),
        access_log: settings.access_log,
        audit,
        traces,
        trusted_proxies: settings.trusted_proxies,
        limits: edge::Limits::new(settings.edge_limits),
        public_url,
    };
    Ok((edge, Kept { ring: ring_watch, redis_token, entra }))
}

fn oauth_settings(settings: &Settings) -> oauth::Settings {
    let public_url = settings.public_url.clone();
    let resource = |upstream: &UpstreamSettings| Resource::new(&public_url, &upstream.path, &upstream.scope);
    oauth::Settings {
        resources: Resources::new(&public_url, settings.upstreams.iter().map(resource).collect()),
        server_name: settings.server_name.clone(),
        remember: settings.remember,
        clients: settings.clients.clone(),
        limits: settings.oauth_limits,
        public_url,
    }
}

/// What is so, rather than happens, is looked at when somebody asks.
fn show_states(metrics: &Metrics, edge: &Edge, readiness: &Readiness) {
    let (readiness, drain) = (readiness.clone(), edge.drain.clone());
    metrics.at_each_scrape(move |metrics| metrics.state(readiness.obstacle().is_none(), drain.is_draining()));
    let sessions = edge.sessions.clone();
    metrics.at_each_scrape(move |metrics| metrics.sessions_at_hand(sessions.at_hand()));
    for pool in edge.routes.pools() {
        let pool = pool.clone();
        metrics.at_each_scrape(move |metrics| {
            let Counts { ready, down, ejected, draining } = pool.counts();
            let counts = [ready, down, ejected, draining].map(i64::from);
            metrics.upstream_servers(&pool.settings().name, counts);
        });
    }
}

fn now_of(clock: &Clock) -> Now {
    let clock = clock.clone();
    Arc::new(move || clock.now().into())
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

fn configuration() -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        // The drain has waited already; what is left is cut.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}
