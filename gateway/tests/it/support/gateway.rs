//! One gateway in this process, stopped when dropped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use entra::credential::IdentityHost;
use entra::{Authority, Credential};
use fake_entra::directory::{Platform, RedirectUri};
use fake_entra::{FakeEntra, Seed};
use reqwest::header::HOST;
use sallyport::access::UpstreamAccess;
use sallyport::clock::Clock;
use sallyport::drain::StopSignal;
use sallyport::oauth::{ClientSettings, Remember};
use sallyport::public_url::PublicUrl;
use sallyport::sealed::KeyRing;
use sallyport::server::{
    AdminSettings, ConnectionLimits, Inherited, Keys, Process, ReloadSignal, RingSource, Server, Settings, Source,
    StreamSettings, TlsFiles, UpstreamSettings,
};
use sallyport::source::TrustedProxies;
use sallyport::{drain, edge, oauth, pool, session, store};
use tokio::sync::oneshot;

use super::browser::http_client;
use super::{free_port, install_crypto_provider};

pub struct Gateway {
    pub entra: Arc<FakeEntra>,
    pub port: u16,
    pub admin_port: u16,
    public_url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    certificates: Option<PathBuf>,
}

/// What a test wants otherwise.
pub struct Options {
    pub store: store::Settings,
    /// The upstreams by path; the first is the default resource.
    pub upstreams: Vec<(&'static str, String)>,
    pub clients: ClientSettings,
    pub streams: StreamSettings,
    /// TLS with a certificate of its own making, and so HTTP/2 too.
    pub tls: bool,
    pub edge_limits: edge::LimitSettings,
    pub trusted_proxies: TrustedProxies,
    pub connections: ConnectionLimits,
}

impl Options {
    /// In memory, with one upstream at `/mcp`.
    pub fn simple(upstream: &str) -> Self {
        Self {
            store: store::Settings::Memory,
            upstreams: vec![("/mcp", upstream.to_owned())],
            clients: ClientSettings::default(),
            streams: StreamSettings::default(),
            tls: false,
            edge_limits: edge::LimitSettings::UNBOUNDED,
            trusted_proxies: TrustedProxies::default(),
            connections: ConnectionLimits { per_address: u32::MAX, ..ConnectionLimits::default() },
        }
    }
}

struct Stop(Mutex<Option<oneshot::Receiver<()>>>);

#[async_trait]
impl StopSignal for Stop {
    async fn received(&self) {
        let receiver = self.0.lock().unwrap().take();
        match receiver {
            // A dropped sender means stop as well.
            Some(receiver) => drop(receiver.await),
            // Nobody tells it twice.
            None => std::future::pending().await,
        }
    }
}

impl Gateway {
    /// In memory, with one upstream at `/mcp`.
    pub async fn start(upstream: &str) -> Self {
        Self::start_with(Options::simple(upstream)).await
    }

    pub async fn start_with(options: Options) -> Self {
        Self::start_seeded(options, Seed::default(), |_| {}).await
    }

    /// Like [`Gateway::start`], with settings of the test's own. The given port is the edge's.
    pub async fn start_changed(upstream: &str, change: impl FnOnce(&mut Settings, u16)) -> Self {
        Self::start_at(upstream, &Clock::system(), change).await
    }

    /// Likewise, with a time of its own.
    pub async fn start_at(upstream: &str, clock: &Clock, change: impl FnOnce(&mut Settings, u16)) -> Self {
        let entra = stand_in().await;
        let port = free_port();
        let mut settings = settings(&entra, Options::simple(upstream), port, free_port());
        change(&mut settings, port);
        Self::run(entra, settings, clock.clone()).await
    }

    /// Like [`Gateway::start_with`], with a directory and settings of the test's own.
    pub async fn start_seeded(options: Options, seed: Seed, change: impl FnOnce(&mut Settings)) -> Self {
        let (port, admin_port) = (free_port(), free_port());
        let callback = options.tls.then(|| format!("https://localhost:{port}/oauth-callback"));
        let entra = stand_in_of(seed, callback).await;
        let mut settings = settings(&entra, options, port, admin_port);
        change(&mut settings);
        let certificates = settings.tls.as_ref().and_then(|files| files.key.parent()).map(Path::to_owned);
        let mut gateway = Self::run(entra, settings, Clock::system()).await;
        gateway.certificates = certificates;
        gateway
    }

    /// Like [`Gateway::start`], at an Entra that was seen to before, and without waiting until the gateway is ready.
    pub async fn start_at_entra(upstream: &str, see_to: impl FnOnce(&FakeEntra, &mut Settings)) -> Self {
        let entra = stand_in().await;
        let mut settings = settings(&entra, Options::simple(upstream), free_port(), free_port());
        see_to(&entra, &mut settings);
        Self::run_unready(entra, settings, Clock::system()).await
    }

    /// Like [`Gateway::start`], with a key ring in a file.
    pub async fn start_with_ring(upstream: &str, ring: &Path) -> Self {
        let entra = stand_in().await;
        let settings = settings(&entra, Options::simple(upstream), free_port(), free_port());
        let settings = Settings { ring: RingSource::File(ring.to_owned()), ..settings };
        Self::run(entra, settings, Clock::system()).await
    }

    /// Two replicas behind one public URL, the first one's: one Redis, one key ring, one time.
    pub async fn replicas(upstream: &str, redis_url: &str, clock: &Clock) -> [Self; 2] {
        let ring = std::env::temp_dir().join(format!("sallyport-ring-{}-{}.json", std::process::id(), free_port()));
        KeyRing::create(&ring, clock.now()).unwrap();
        let replicas = Self::replicas_with_ring(upstream, redis_url, clock, &ring).await;
        std::fs::remove_file(&ring).unwrap();
        replicas
    }

    /// Like [`Gateway::replicas`], with the key ring that this file holds now.
    pub async fn replicas_with_ring(upstream: &str, redis_url: &str, clock: &Clock, ring: &Path) -> [Self; 2] {
        Self::replicas_with_clocks(upstream, redis_url, [clock, clock], ring).await
    }

    /// Like [`Gateway::replicas_with_ring`], each with a time of its own.
    pub async fn replicas_with_clocks(upstream: &str, redis_url: &str, clocks: [&Clock; 2], ring: &Path) -> [Self; 2] {
        let entra = stand_in().await;
        let ports = [free_port(), free_port()];
        let replica = |port| replica(&entra, port, ports[0], upstream, redis_url, ring);
        let first = Self::run(entra.clone(), replica(ports[0]), clocks[0].clone()).await;
        [first, Self::run(entra.clone(), replica(ports[1]), clocks[1].clone()).await]
    }

    /// Replicas at these ports behind one public URL, `http://localhost:{public_port}`: one Entra, one Redis, one time,
    /// and the key ring that the file holds now. `change` is told which replica's settings it changes.
    #[expect(clippy::too_many_arguments, reason = "each is one of the things that replicas share")]
    pub async fn fleet<const N: usize>(
        entra: Arc<FakeEntra>,
        ports: [u16; N],
        public_port: u16,
        upstream: &str,
        redis_url: &str,
        clock: &Clock,
        ring: &Path,
        change: impl Fn(usize, &mut Settings),
    ) -> [Self; N] {
        let mut replicas = Vec::new();
        for (number, port) in ports.into_iter().enumerate() {
            let mut settings = replica(&entra, port, public_port, upstream, redis_url, ring);
            change(number, &mut settings);
            replicas.push(Self::run(entra.clone(), settings, clock.clone()).await);
        }
        replicas.try_into().unwrap_or_else(|_| unreachable!("one for each port"))
    }

    /// What clients see of a balancer at the public URL of these replicas: to be driven like a gateway, and none to stop.
    pub fn behind(replicas: &[Self]) -> Self {
        let public_url = replicas[0].public_url();
        let port = public_url.rsplit(':').next().unwrap().parse().unwrap();
        let (entra, admin_port) = (replicas[0].entra.clone(), replicas[0].admin_port);
        Self { entra, port, admin_port, public_url, certificates: None, stop: None, thread: None }
    }

    /// One in a process of its own at `http://localhost:{port}`: to be driven like the others, and none to stop.
    pub fn elsewhere(entra: Arc<FakeEntra>, port: u16, admin_port: u16) -> Self {
        install_crypto_provider();
        let public_url = format!("http://localhost:{port}");
        Self { entra, port, admin_port, public_url, certificates: None, stop: None, thread: None }
    }

    /// Has looked at Entra, so that no fault of a test's meets that.
    async fn run(entra: Arc<FakeEntra>, settings: Settings, clock: Clock) -> Self {
        let gateway = Self::run_unready(entra, settings, clock).await;
        gateway.wait_until_ready(Duration::from_secs(20)).await;
        gateway
    }

    /// Like [`Gateway::start_changed`], with a configuration that is taken anew when the signal comes.
    pub async fn start_reloading(
        upstream: &str,
        change: impl FnOnce(&mut Settings),
        reloading: impl FnOnce(&Settings) -> (Box<dyn ReloadSignal>, Source),
    ) -> Self {
        let entra = stand_in().await;
        let mut settings = settings(&entra, Options::simple(upstream), free_port(), free_port());
        change(&mut settings);
        let (signal, source) = reloading(&settings);
        let see_to = |server: Server| server.reloading(signal, source, Keys::default());
        let gateway = Self::run_seen_to(entra, settings, Clock::system(), see_to).await;
        gateway.wait_until_ready(Duration::from_secs(20)).await;
        gateway
    }

    async fn run_unready(entra: Arc<FakeEntra>, settings: Settings, clock: Clock) -> Self {
        Self::run_seen_to(entra, settings, clock, |server| server).await
    }

    async fn run_seen_to(
        entra: Arc<FakeEntra>,
        settings: Settings,
        clock: Clock,
        see_to: impl FnOnce(Server) -> Server + Send + 'static,
    ) -> Self {
        let (port, admin_port) = (settings.listen[0].port(), settings.admin.address.unwrap().port());
        let public_url = settings.public_url.as_str().to_owned();
        let (sender, receiver) = oneshot::channel();
        let stop = Stop(Mutex::new(Some(receiver)));
        let thread = std::thread::spawn(move || {
            see_to(Server::build(settings, clock, Inherited::none(), Process::Shared).unwrap()).run(stop)
        });
        let gateway =
            Self { entra, port, admin_port, public_url, stop: Some(sender), thread: Some(thread), certificates: None };
        for port in [gateway.port, gateway.admin_port] {
            wait_until_open(port).await;
        }
        gateway
    }

    /// What `/readyz` says.
    pub async fn readiness(&self) -> (u16, String) {
        let answer = http_client().get(self.admin_url("/readyz")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub async fn wait_until_ready(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let (status, said) = self.readiness().await;
            if status == 200 {
                return;
            }
            assert!(Instant::now() < deadline, "{said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn public_url(&self) -> String {
        self.public_url.clone()
    }

    /// A request to just this replica, named as clients name it.
    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        let host = self.public_url.strip_prefix("http://").unwrap();
        http_client().post(format!("http://127.0.0.1:{}{path}", self.port)).header(HOST, host)
    }

    /// Likewise.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        let host = self.public_url.strip_prefix("http://").unwrap();
        http_client().get(format!("http://127.0.0.1:{}{path}", self.port)).header(HOST, host)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.public_url.split_once(':').unwrap().0, self.port)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin_port)
    }

    /// With [`Options::tls`]: the certificate, which is its own root of trust.
    pub fn certificate_file(&self) -> PathBuf {
        self.certificates.as_ref().expect("it has TLS").join("tls.crt")
    }

    /// The value of a series; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let metrics = http_client().get(self.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap_or("0");
        value.parse().unwrap()
    }

    /// Tells the gateway to stop, as SIGTERM would, without waiting.
    pub fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            assert!(joined.is_ok() || std::thread::panicking(), "the gateway panicked");
        }
        if let Some(folder) = self.certificates.take() {
            // Nothing depends on it; a folder for temporary files may keep one more.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

async fn stand_in() -> Arc<FakeEntra> {
    stand_in_of(Seed::default(), None).await
}

/// `callback` is registered beside the usual one, whose port does not matter.
async fn stand_in_of(seed: Seed, callback: Option<String>) -> Arc<FakeEntra> {
    install_crypto_provider();
    let mut options = fake_entra::Options { seed, ..fake_entra::Options::default() };
    if let Some(uri) = callback {
        let seed = &mut options.seed;
        let app = seed.apps.iter_mut().find(|app| app.client_id == seed.gateway).unwrap();
        app.redirect_uris.push(RedirectUri { uri, platform: Platform::Web });
    }
    Arc::new(FakeEntra::start(options).await.unwrap())
}

fn replica(entra: &FakeEntra, port: u16, public_port: u16, upstream: &str, redis_url: &str, ring: &Path) -> Settings {
    let redis = store::RedisSettings::new(redis_url.parse().unwrap());
    let options = Options { store: store::Settings::Redis(redis), ..Options::simple(upstream) };
    Settings {
        ring: RingSource::Fixed(Box::new(KeyRing::load(ring).unwrap())),
        public_url: PublicUrl::parse(&format!("http://localhost:{public_port}")).unwrap(),
        ..settings(entra, options, port, free_port())
    }
}

fn settings(entra: &FakeEntra, options: Options, port: u16, admin_port: u16) -> Settings {
    let upstreams = options.upstreams.iter().map(|(path, server)| UpstreamSettings {
        path: (*path).to_owned(),
        scope: entra.scope(),
        pool: pool::Settings::single(path.trim_start_matches('/'), server),
        access: UpstreamAccess::default(),
    });
    let scheme = if options.tls { "https" } else { "http" };
    Settings {
        public_url: PublicUrl::parse(&format!("{scheme}://localhost:{port}")).unwrap(),
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
        tls: options.tls.then(|| certificate(port)),
        redirect: None,
        trusted_proxies: options.trusted_proxies,
        proxy_protocol: false,
        oauth_limits: oauth::LimitSettings::UNBOUNDED,
        edge_limits: options.edge_limits,
        bounds: edge::Bounds::default(),
        connections: options.connections,
        admin: AdminSettings::at(SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port))),
        entra: entra::Settings {
            authority: Authority::new(&entra.authority(), entra.tenant_id()).unwrap(),
            client_id: entra.gateway_client_id().to_owned(),
            extra_ca_file: None,
            cae: false,
            accept_emulator: true,
        },
        credential: Credential::ManagedIdentity {
            client_id: Some(entra.gateway_identity().to_owned()),
            host: IdentityHost::Metadata { endpoint: entra.imds_url() },
        },
        sign_in: None,
        store: options.store,
        ring: RingSource::Fixed(Box::new(KeyRing::ephemeral())),
        upstreams: upstreams.collect(),
        sessions: session::Settings::default(),
        streams: options.streams,
        server_name: "Test server".to_owned(),
        remember: Remember::Ask,
        clients: options.clients,
        allowed_origins: vec!["http://page.example".to_owned()],
        access_log: true,
        audit: None,
        traces: None,
        drain: drain::Settings { delay: Duration::ZERO, window: Duration::from_secs(10) },
    }
}

/// The files are read while the gateway starts, and lie in a folder of this test's own.
fn certificate(port: u16) -> TlsFiles {
    let folder = std::env::temp_dir().join(format!("sallyport-tls-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key"), client_ca: None };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

pub async fn wait_until_open(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "nothing listens on port {port}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
