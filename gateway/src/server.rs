//! The wiring: settings in, a running server out. The only place that knows every part.
//!
//! | file | makes |
//! | --- | --- |
//! | `settings` | what a server is built from |
//! | `parts` | what stays as long as it serves |
//! | `live`, `reload` | the configuration of now, and at each SIGHUP the next one |
//! | `listeners` | what listens, and how |
//! | `operators`, `subject` | what commands use, without a server |

mod closing;
mod connections;
mod entrance;
mod file_watch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inherited;
mod listeners;
mod listening;
mod live;
mod operators;
mod parts;
mod proxy_protocol;
mod redirect;
mod redis_token;
mod reload;
mod ring;
mod settings;
mod sign_of_life;
mod start_check;
mod states;
mod subject;
mod tls;
mod unix_socket;
mod upkeep;

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use pingora::server::{RunArgs, Server as PingoraServer};
use pingora::services::background::background_service;
use pingora_proxy::HttpProxy;

use crate::admin::{Admin, FormToken, History, Sampler, ServersAdmin, SessionsAdmin, StatusAdmin};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::drain::{self, Drain, GracefulStop, StopSignal};
pub use crate::edge::StreamSettings;
use crate::edge::{self, Edge, Live, Upstreams};
use crate::metrics::Metrics;
use crate::pool::Pools;
use crate::readiness::Readiness;
use crate::reloads::Reloads;
use crate::traces::Traces;
pub use connections::ConnectionLimits;
pub use inherited::{Inherited, InheritedError};
pub use listeners::Process;
use listeners::{Listeners, configuration};
pub use operators::{roster, sealer};
use parts::Parts;
pub use redis_token::RedisToken;
pub use reload::{Content, Fresh, Key, Keys, ReloadSignal, Source};
use reload::{Inside, Reload};
pub use ring::RingSource;
pub use settings::{AdminSettings, BuildError, LiveSettings, Settings, UpstreamSettings};
use start_check::StartCheck;
pub use subject::Subject;
pub use tls::{TlsError, TlsFiles};
use unix_socket::SocketFile;
pub use unix_socket::UnixSocketError;
use upkeep::Upkeep;

/// A server that is ready to run.
pub struct Server {
    pingora: PingoraServer,
    drain: Drain,
    leave: drain::Settings,
    proxy: Arc<HttpProxy<Edge>>,
    audit: Audit,
    traces: Option<Traces>,
    parts: Parts,
    live: Arc<ArcSwap<Live>>,
    pools: Pools,
    reloads: Reloads,
    /// Removed when nobody is served any more.
    _socket: Option<SocketFile>,
    /// When and from where the configuration is read anew, and what it was at the start.
    reloading: Option<(Box<dyn ReloadSignal>, Source, Keys)>,
}

impl Server {
    /// Listens at sockets that were `inherited`, and binds the other addresses.
    pub fn build(settings: Settings, clock: Clock, inherited: Inherited, process: Process) -> Result<Self, BuildError> {
        let metrics = Arc::new(Metrics::default());
        let drain = Drain::new(metrics.in_flight().clone());
        let mut pingora = PingoraServer::new_with_opt_and_conf(None, configuration(process, &settings.connections));
        pingora.bootstrap();

        let leave = settings.drain;
        let mut listeners = Listeners::new(&settings, inherited, &clock, &metrics)?;
        let tenants = settings.entra.authority.allowed_tenants().to_vec();
        let trusted_proxies = settings.trusted_proxies.clone();
        let (parts, live, kept) = Parts::new(settings, clock.clone(), metrics.clone())?;
        let live = parts.live(live, None)?;
        let pools = Pools::new(live.routes.pools().cloned().collect());
        let (audit, traces, readiness) = (parts.audit.clone(), parts.traces.clone(), Readiness::default());
        states::show(&metrics, &parts.sessions, &pools, &drain, &readiness);
        let (history, reloads) = (History::default(), Reloads::default());
        metrics.configuration().started(clock.now().unix());
        let status = StatusAdmin {
            public_url: parts.public_url.as_str().to_owned(),
            clock: clock.clone(),
            started: clock.now(),
            metrics: metrics.clone(),
            drain: drain.clone(),
            readiness: readiness.clone(),
            history: history.clone(),
            pools: pools.clone(),
            reloads: reloads.clone(),
            sessions: live.sessions.clone(),
            token: FormToken::random(),
        };
        let admin = Admin {
            metrics: metrics.clone(),
            drain: drain.clone(),
            readiness: readiness.clone(),
            sessions: SessionsAdmin { sessions: live.sessions.clone(), tenants },
            servers: ServersAdmin { pools: pools.clone(), audit: audit.clone() },
            status,
        };
        let live = Arc::new(ArcSwap::from_pointee(live));
        let edge = Edge {
            public_url: parts.public_url.clone(),
            live: live.clone(),
            sealer: parts.sealer.clone(),
            metrics: metrics.clone(),
            drain: drain.clone(),
            upstreams: Upstreams::new(&pingora.configuration),
            long_bodies: edge::LongBodies::new(listeners.bounds.long_messages),
            bounds: listeners.bounds.clone(),
            audit: audit.clone(),
            traces: traces.clone(),
            trusted_proxies,
        };
        let socket = listeners.open_socket()?;
        pingora.add_service(background_service("status", Sampler { history, metrics }));
        pingora.add_service(background_service("servers of upstreams", Upkeep { pools: pools.clone() }));
        let proxy = listeners.open(&mut pingora, edge, admin, &drain);
        let check = StartCheck { entra: parts.entra.clone(), readiness };
        pingora.add_service(background_service("first look at Entra", check));
        if let Some(renewal) = kept.redis_token {
            pingora.add_service(background_service("token for Redis", renewal));
        }
        if let Some(watch) = kept.ring {
            pingora.add_service(background_service("key ring", watch));
        }
        Ok(Self {
            pingora,
            drain,
            leave,
            proxy,
            audit,
            traces,
            parts,
            live,
            pools,
            reloads,
            _socket: socket,
            reloading: None,
        })
    }

    /// Takes the configuration anew whenever the signal comes. `started` is what it was when these settings were made of it.
    pub fn reloading(self, signal: Box<dyn ReloadSignal>, source: Source, started: Keys) -> Self {
        Self { reloading: Some((signal, source, started)), ..self }
    }

    /// Serves until `stop`, drains, and returns.
    pub fn run(mut self, stop: impl StopSignal + 'static) {
        if let Some((signal, source, started)) = self.reloading {
            let (parts, live, pools, reloads) = (self.parts, self.live, self.pools, self.reloads);
            let running = Mutex::new(started.clone());
            let inside = Arc::new(Inside { source, parts, live, pools, reloads, started, running });
            self.pingora.add_service(background_service("configuration", Reload { signal, inside }));
        }
        let watch = GracefulStop { drain: self.drain, settings: self.leave, stop, app: self.proxy };
        self.pingora.run(RunArgs { shutdown_signal: Box::new(watch) });
        self.audit.finish();
        self.traces.iter().for_each(Traces::finish);
    }
}
