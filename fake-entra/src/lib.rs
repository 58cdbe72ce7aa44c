//! `fake-entra`: a stand-in for Entra ID, Microsoft Graph, a machine's IMDS and a cluster's token issuer, in one process
//! on loopback. It exists so that the edge and the sample server can be developed and tested against something that is
//! strict where Entra is strict. It shares no code with the crate `entra`, or a shared mistake would pass.
//!
//! The program, its seed files and what it leaves out are in README.md beside this crate.
//!
//! **It proves nobody's identity.** A sign-in is a click, everything is forgotten at exit, it binds 127.0.0.1 only, every
//! token carries `"emu": true`, and their issuer is this process's own URL, so that nothing that trusts Entra trusts them. The
//! feature `unmarked` alone has another way, for one program, which tests of what is shipped run in a network without a way out.
//!
//! # The map
//! | module | owns |
//! | --- | --- |
//! | [`directory`] | tenant, users, apps, identities, consents; the built-in seed |
//! | `keys` | signing keys, JWKS, roll-over |
//! | `discovery` | OpenID documents, instance discovery, keys |
//! | `authorize` | /authorize, the pages people click, the way back |
//! | `token_endpoint`, `client_auth`, `scopes`, `tokens` | /token: client authentication, grants, what tokens say |
//! | `tickets` | codes, refresh tokens, sessions, half-done sign-ins |
//! | `imds`, `graph`, `cluster` | the other three services |
//! | `errors` | AADSTS numbers and the shapes they are shown in |
//! | `conditional_access` | policies that block or ask for more |
//! | `tls`, `connection` | TLS by an authority of its own; connections that can be cut |
//! | `observe`, `journal`, `faults`, `control` | what tests see and script |
//! | `world`, `clock` | the state all of them share |
//!
//! # Signing in with a plain HTTP client
//! Keep cookies if you want single sign-on; do not follow redirects by yourself past this host.
//! 1. `GET {authority}/{tenant}/oauth2/v2.0/authorize?client_id=…&response_type=code&redirect_uri=…&scope=…&state=…`
//!    answers a page (200) with a form: `<input type="hidden" name="flow" value="…">` and a button per user,
//!    `<button name="user" value="adele@contoso.example">`.
//! 2. `POST {authority}/{tenant}/login` (the form's action), form-encoded, with `flow=…` from the page and
//!    `user=adele@contoso.example`, or `cancel=1`.
//! 3. The answer is 302 to the redirect URI with `code`, `state` and `session_state`; or another page with a new `flow`:
//!    a second factor (post `flow` and `mfa=approve`), a consent (post `flow` and `consent=accept` or `decline`), or the
//!    users again with a complaint (400: the account is disabled or unknown).
//!
//! Or call [`FakeEntra::next_login`] first: the next /authorize answers as if that user had been clicked.
//!
//! # Control port
//! `Authorization: Bearer {control token}` on every call; bodies are JSON. `POST /_emu/reset` · `GET|POST /_emu/clock
//! {"offset_s":0}` · `POST /_emu/keys/rotate {"mode":"publish|activate|retire|emergency"}` · `GET|POST|DELETE /_emu/faults`
//! (a [`Fault`]) · `POST /_emu/next-login {"upn":"…"}` · `POST
//! /_emu/users/{oid or upn}/{disable|enable|revoke|require-mfa|satisfy-mfa|require-sign-in}` · `PUT
//! /_emu/users/{oid or upn}/memberships {"roles":{"<client id>":[…]},"groups":[…]}` · `POST /_emu/consents` (a
//! [`directory::Grant`]) · `POST /_emu/fics {"client_id":…,"credential":…}` · `GET|PUT /_emu/policies`
//! ([`directory::Policies`]) · `POST /_emu/service-account-token {"subject":"…"}` · `GET /_emu/journal?since=N` · `GET
//! /_emu/counters`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::middleware;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;

mod authorize;
mod call;
mod client_auth;
mod clock;
mod cluster;
mod conditional_access;
mod connection;
mod control;
pub mod directory;
mod discovery;
mod errors;
mod faults;
pub mod files;
mod graph;
mod imds;
mod journal;
mod jwt;
mod keys;
mod observe;
mod pages;
mod scopes;
mod tickets;
mod tls;
mod token_endpoint;
mod tokens;
mod world;

use connection::{CuttableListener, Cutter};
pub use directory::{Seed, UserSummary};
pub use faults::{Fault, Match};
pub use journal::{Counters, Entry};
use keys::KeyRing;
pub use keys::Rotation;
use tls::Tls;
use world::World;

/// How to start. The default: free ports, the built-in directory.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Port of the control listener, likewise.
    pub control_port: u16,
    /// Port on 127.0.0.1 of a proxy that leads to `port`: then all URLs and issuers are of that one.
    pub seen_at: Option<u16>,
    /// Serve TLS, by a certificate of [`FakeEntra::authority_certificate`]. The control listener stays plain.
    pub tls: bool,
    pub seed: Seed,
    /// Where the signing keys are kept, so that the next start has the same. Without it they are new each time.
    pub state_dir: Option<PathBuf>,
}

/// A running stand-in. It stops when dropped: no new connections, idle ones closed, requests under way finished.
pub struct FakeEntra {
    world: Arc<World>,
    control_url: String,
    control_token: String,
    authority_certificate: Option<String>,
    /// Dropping it tells both listeners to stop.
    _running: watch::Sender<()>,
}

impl FakeEntra {
    /// Starts both listeners on the current tokio runtime. They accept connections when this returns.
    ///
    /// # Errors
    /// A port is taken, no key could be made, or the state is not what was kept.
    pub async fn start(options: Options) -> Result<FakeEntra> {
        Self::start_at(options, None).await
    }

    /// As if it were Entra at this origin, which something else forwards to it: what it signs is of that issuer and has no
    /// mark, so that programs as they are shipped can be tried, in a network that has no way out.
    ///
    /// # Errors
    /// As of [`FakeEntra::start`].
    #[cfg(feature = "unmarked")]
    pub async fn start_unmarked(options: Options, origin: String) -> Result<FakeEntra> {
        Self::start_at(options, Some(origin)).await
    }

    /// Marked unless there is an origin of another's.
    async fn start_at(options: Options, origin: Option<String>) -> Result<FakeEntra> {
        let tls = options.tls.then(Tls::generate).transpose()?;
        let (listener, address) = bind(options.port).await?;
        let seen_at = SocketAddr::from((Ipv4Addr::LOCALHOST, options.seen_at.unwrap_or(address.port())));
        let base = format!("{}://{seen_at}", if options.tls { "https" } else { "http" });
        let (control_listener, control_address) = bind(options.control_port).await?;
        let control_url = format!("http://{control_address}");
        // Key generation takes tenths of a second of pure computing.
        let file = options.state_dir.as_deref().map(|folder| folder.join("signing-keys.json"));
        let keys = tokio::task::spawn_blocking(|| KeyRing::open(file, 2));
        let keys = keys.await.context("key generation was interrupted")??;
        let marked = origin.is_none();
        let world = Arc::new(World::new(origin.unwrap_or(base), marked, options.seed, keys));
        let control_token = tickets::random_text(32);
        let (running, stop) = watch::channel(());
        let (acceptor, authority_certificate) = tls.map(|tls| (tls.acceptor, tls.authority)).unzip();
        serve(CuttableListener::new(listener, acceptor), router(world.clone()), stop.clone());
        let control_listener = CuttableListener::new(control_listener, None);
        serve(control_listener, control::router(world.clone(), &control_token), stop);
        Ok(FakeEntra { world, control_url, control_token, authority_certificate, _running: running })
    }

    /// `http://127.0.0.1:PORT` (`https` with TLS), in place of `https://login.microsoftonline.com`.
    pub fn authority(&self) -> String {
        self.world.base.clone()
    }

    /// With TLS, what clients have to trust: a certificate in PEM.
    pub fn authority_certificate(&self) -> Option<&str> {
        self.authority_certificate.as_deref()
    }

    /// In place of `https://graph.microsoft.com`.
    pub fn graph_url(&self) -> String {
        format!("{}/graph", self.world.base)
    }

    /// In place of `http://169.254.169.254`.
    pub fn imds_url(&self) -> String {
        self.world.base.clone()
    }

    /// `IDENTITY_ENDPOINT` of App Service and Container Apps.
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.world.base)
    }

    /// `IDENTITY_HEADER` that goes with it.
    pub fn identity_header(&self) -> &str {
        &self.world.identity_header
    }

    /// Issuer of service-account tokens.
    pub fn cluster_issuer(&self) -> String {
        self.world.cluster_issuer()
    }

    pub fn control_url(&self) -> String {
        self.control_url.clone()
    }

    pub fn control_token(&self) -> &str {
        &self.control_token
    }

    pub fn tenant_id(&self) -> &str {
        &self.world.seed().tenant_id
    }

    /// Client id of the gateway's app (G).
    pub fn gateway_client_id(&self) -> &str {
        &self.world.seed().gateway
    }

    /// Client id of the MCP server's app (M).
    pub fn server_client_id(&self) -> &str {
        &self.world.seed().server
    }

    /// The scope a gateway asks for: the first one the MCP server's app exposes.
    pub fn scope(&self) -> String {
        let seed = self.world.seed();
        let server = seed.app(&seed.server);
        let name = server.and_then(|app| app.scopes.first()).map_or(".default", String::as_str);
        let prefix = server.and_then(|app| app.identifier_uris.first()).unwrap_or(&seed.server);
        format!("{prefix}/{name}")
    }

    /// Client id of the first managed identity the gateway's app trusts; empty if it trusts none.
    pub fn gateway_identity(&self) -> &str {
        self.identity_of(&self.world.seed().gateway)
    }

    /// Client id of the first managed identity the MCP server's app trusts; empty if it trusts none.
    pub fn server_identity(&self) -> &str {
        self.identity_of(&self.world.seed().server)
    }

    pub fn users(&self) -> Vec<UserSummary> {
        let directory = self.world.directory();
        let users = directory.users.iter();
        users
            .map(|user| UserSummary { upn: user.upn.clone(), name: user.name.clone(), note: user.note.clone() })
            .collect()
    }

    /// Every request since start or reset (the last 10 000).
    pub fn journal(&self) -> Vec<Entry> {
        self.world.journal.since(0)
    }

    pub fn counters(&self) -> Counters {
        self.world.journal.counters()
    }

    /// Arms a fault.
    pub fn fault(&self, fault: Fault) {
        self.world.faults.arm(fault);
    }

    /// Shifts the time this stand-in lives in, relative to the machine's.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.world.clock.set_offset(seconds);
    }

    /// Rolls the keys Entra's tokens are signed with.
    ///
    /// # Errors
    /// No key could be made.
    pub fn rotate_keys(&self, step: Rotation) -> Result<()> {
        self.world.keys.rotate(step)
    }

    /// A projected service-account token, valid for an hour, audience `api://AzureADTokenExchange`. `subject` such as
    /// `system:serviceaccount:sallyport:sallyport`.
    pub fn mint_service_account_token(&self, subject: &str) -> String {
        self.world.service_account_token(subject)
    }

    /// The next /authorize signs this user in without a page. Several calls queue up.
    pub fn next_login(&self, upn: &str) {
        self.world.queue_login(upn);
    }

    /// Back to the seed: users, grants, codes, sessions, faults, journal, clock. Keys stay.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Every token, code and refresh token issued and every assertion shown (the last 10 000), in clear, for leak scans.
    /// There is no way to get them from outside the process.
    pub fn canaries(&self) -> Vec<String> {
        self.world.journal.canaries()
    }

    fn identity_of(&self, client_id: &str) -> &str {
        let seed = self.world.seed();
        let trusted = seed.app(client_id).map(|app| app.federated_credentials.as_slice()).unwrap_or_default();
        let identity =
            seed.identities.iter().find(|identity| trusted.iter().any(|known| known.subject == identity.principal_id));
        identity.map(|identity| identity.client_id.as_str()).unwrap_or_default()
    }
}

fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery::version_2))
        .route("/{tenant}/.well-known/openid-configuration", get(discovery::version_1))
        .route("/{tenant}/discovery/instance", get(discovery::instance))
        .route("/{tenant}/discovery/v2.0/keys", get(discovery::keys))
        .route("/{tenant}/discovery/keys", get(discovery::keys))
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize::authorize).post(authorize::authorize))
        .route("/{tenant}/oauth2/v2.0/token", post(token_endpoint::token))
        .route("/{tenant}/oauth2/v2.0/logout", get(authorize::sign_out))
        .route("/{tenant}/oauth2/{*rest}", any(discovery::left_out))
        .route("/{tenant}/saml2", any(discovery::left_out))
        .route("/{tenant}/kerberos", any(discovery::left_out))
        .route("/{tenant}/login", post(authorize::continue_flow))
        .route("/{metadata}/identity/oauth2/token", get(imds::token))
        .route("/{metadata}/identity/getplatformmetadata", any(imds::second_version))
        .route("/{metadata}/identity/issuecredential", any(imds::second_version))
        .route("/msi/token", get(imds::app_service::token))
        .route("/k8s/.well-known/openid-configuration", get(cluster::configuration))
        .route("/k8s/openid/v1/jwks", get(cluster::keys))
        .route("/graph/v1.0/me", get(graph::me))
        .route("/graph/v1.0/users/{id}", get(graph::user))
        .route("/graph/oidc/userinfo", get(graph::userinfo))
        .route("/graph/{*rest}", any(graph::unknown))
        .layer(middleware::from_fn_with_state(world.clone(), observe::observe))
        .with_state(world)
}

/// Loopback only: there is no option for another address.
async fn bind(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn serve(listener: CuttableListener, router: Router, mut stop: watch::Receiver<()>) {
    let stopped = async move {
        // Nothing is ever sent: the error that the sender is gone is the signal.
        while stop.changed().await.is_ok() {}
    };
    tokio::spawn(async move {
        let service = router.into_make_service_with_connect_info::<Cutter>();
        let served = axum::serve(listener, service).with_graceful_shutdown(stopped);
        if let Err(error) = served.await {
            tracing::error!(%error, "a listener of fake-entra failed");
        }
    });
}

/// A panic in one request must not make every later one fail: the state is consistent between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
