//! Everything that stands while faults come and go: three edges in processes of their own behind a balancer that asks for
//! readiness, Redis with sentinels, Entra's stand-in and MCP servers, and a fault proxy before each of the latter three.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake_entra::{FakeEntra, Seed};
use sallyport::clock::Clock;
use sallyport::sealed::KeyRing;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use super::people::{Door, client};
use super::redis_pair::RedisPair;
use super::server::McpServer;
use crate::chaos::edge_process::{EdgeProcess, Launch};
use crate::chaos::rig::user;
use crate::program::Folder;
use crate::support::fault_proxy::FaultProxy;
use crate::support::free_port;
use crate::support::journey::REDIRECT_URI;

pub const REPLICAS: usize = 3;
pub const USERS: usize = 400;
/// The one whose listening socket is held by us, and not by it.
pub const HELD: usize = 2;
pub const DRAIN: Duration = Duration::from_secs(3);
/// How often the balancer asks each replica whether it is ready.
const PROBE: Duration = Duration::from_millis(100);
/// Who leaves says so at once, and who is dead is refused at once: this is for a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// Dropped in this order: first who asks, then who is asked.
pub struct Stand {
    probes: Option<JoinHandle<()>>,
    over: Arc<AtomicBool>,
    pub edges: Vec<EdgeProcess>,
    pub balancer: Arc<FaultProxy>,
    pub door: Door,
    pub redis: RedisPair,
    pub entra: Arc<FakeEntra>,
    pub to_entra: FaultProxy,
    pub servers: [McpServer; 2],
    /// Before the first server; the second one is left alone.
    pub to_server: FaultProxy,
    entra_port: u16,
    socket: TcpListener,
    ports: Vec<[u16; 2]>,
    folder: Folder,
}

impl Stand {
    /// `None` without Redis, which is said aloud.
    pub async fn start(seed: u64, between_events: Duration) -> Option<Self> {
        let redis = RedisPair::start(seed).await?;
        crate::support::install_crypto_provider();
        let mut directory = Seed::default();
        directory.users = (0..USERS).map(|number| user(&directory.users[0], number)).collect();
        directory.policies.expires_in = Some(2 * 3600);
        let entra_port = free_port();
        let to_entra = FaultProxy::before(entra_port, seed);
        let seen_at = Some(to_entra.port());
        let options = fake_entra::Options { port: entra_port, seen_at, seed: directory, ..Default::default() };
        let entra = Arc::new(FakeEntra::start(options).await.unwrap());
        let servers = [McpServer::start(0, between_events).await, McpServer::start(1, between_events).await];
        let to_server = FaultProxy::before(servers[0].port, seed);
        let folder = Folder::new(&format!("hour-{entra_port}"));
        KeyRing::create(&PathBuf::from(folder.path("keys.json")), Clock::system().now()).unwrap();
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut ports: Vec<[u16; 2]> = (0..REPLICAS).map(|_| [free_port(), free_port()]).collect();
        ports[HELD][0] = socket.local_addr().unwrap().port();
        let balancer = Arc::new(FaultProxy::balancing(0, &[], seed));
        let public = format!("http://localhost:{}", balancer.port());
        let door =
            Door { http: client(true), public, port: balancer.port(), client_id: String::new(), given: Arc::default() };
        let (probes, over, edges) = (None, Arc::default(), Vec::new());
        let mut stand = Self {
            probes,
            over,
            edges,
            balancer,
            door,
            redis,
            entra,
            to_entra,
            servers,
            to_server,
            socket,
            ports,
            folder,
            entra_port,
        };
        for replica in 0..REPLICAS {
            let edge = stand.launch(replica, None, Launch::default()).await;
            stand.edges.push(edge);
        }
        stand.probe();
        stand.until_all_are_targets().await;
        stand.register().await;
        Some(stand)
    }

    /// One more process of this replica. `admin_port` beside another one that still runs.
    pub async fn launch(&self, replica: usize, admin_port: Option<u16>, launch: Launch<'_>) -> EdgeProcess {
        let [port, own] = self.ports[replica];
        let ports = [port, admin_port.unwrap_or(own)];
        let file = self.folder.file(&format!("edge-{port}-{}.toml", ports[1]), &self.configuration(ports));
        let socket = if replica == HELD { Some(&self.socket) } else { None };
        EdgeProcess::start(&file.into(), ports, &self.log(replica), Launch { socket, ..launch }).await
    }

    /// In place of the one before, which has ended.
    pub async fn replace(&mut self, replica: usize, launch: Launch<'_>) {
        self.edges[replica].kill();
        self.edges[replica] = self.launch(replica, None, launch).await;
        self.set_admin_port(replica);
    }

    /// From now on the balancer asks the process that is at this place.
    pub fn set_admin_port(&mut self, replica: usize) {
        self.ports[replica][1] = self.edges[replica].admin_port;
        self.stop_probes();
        self.probe();
    }

    pub fn log(&self, replica: usize) -> PathBuf {
        PathBuf::from(self.folder.path(&format!("edge-{replica}.log")))
    }

    /// Beside a report of what they may explain.
    pub fn keep_logs(&self, folder: &str) {
        std::fs::create_dir_all(folder).unwrap();
        for replica in 0..REPLICAS {
            std::fs::copy(self.log(replica), format!("{folder}/edge-{replica}.log")).unwrap();
        }
    }

    pub fn at(&self, replica: usize) -> Door {
        self.door.of_replica(self.ports[replica][0])
    }

    pub async fn until_all_are_targets(&self) -> bool {
        let started = Instant::now();
        while self.balancer.targets().len() < REPLICAS {
            if started.elapsed() > Duration::from_secs(15) {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// How long Entra's tokens live that are given from now on.
    pub async fn let_tokens_live(&self, seconds: i64) {
        crate::entra_life::let_tokens_live(&self.entra, seconds).await;
    }

    async fn register(&mut self) {
        let body = serde_json::json!({ "redirect_uris": [REDIRECT_URI], "client_name": "Chaos" });
        let answer = self.door.request(reqwest::Method::POST, "/register").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let answer: Value = answer.json().await.unwrap();
        self.door.client_id = answer["client_id"].as_str().unwrap().to_owned();
    }

    fn probe(&mut self) {
        let urls = self.ports.iter().map(|[port, admin]| (*port, format!("http://127.0.0.1:{admin}/readyz"))).collect();
        self.over = Arc::default();
        self.probes = Some(tokio::spawn(probe(urls, self.balancer.clone(), self.over.clone())));
    }

    fn stop_probes(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(probes) = self.probes.take() {
            probes.abort();
        }
    }

    fn configuration(&self, [port, admin_port]: [u16; 2]) -> String {
        let entra = &self.entra;
        format!(
            r#"
            public_url = "{public}"
            [listen]
            address = "127.0.0.1:{port}"
            [admin]
            address = "127.0.0.1:{admin_port}"
            [entra]
            authority = "{authority}"
            tenant_id = "{tenant}"
            client_id = "{client}"
            scope = "{scope}"
            [entra.credential]
            kind = "managed-identity"
            client_id = "{identity}"
            endpoint = "http://127.0.0.1:{imds}"
            [store]
            url = "{redis}"
            [keys]
            file = "keys.json"
            [[upstream]]
            name = "mcp"
            path = "/mcp"
            servers = ["http://127.0.0.1:{first}", "http://127.0.0.1:{second}"]
            [limits]
            connections_per_address = 100000
            streams_per_session = 10000
            requests_per_second = 100000
            burst = 100000
            registrations_per_minute = 1000000
            authorizations_per_minute = 1000000
            token_requests_per_minute = 1000000
            refusals_per_minute = 1000000
            [drain]
            delay = "1s"
            window = "2s"
            "#,
            public = self.door.public,
            authority = entra.authority(),
            tenant = entra.tenant_id(),
            client = entra.gateway_client_id(),
            scope = entra.scope(),
            identity = entra.gateway_identity(),
            // Not through the proxy: the machine's own service is no net away.
            imds = self.entra_port,
            redis = self.redis.url(),
            first = self.to_server.port(),
            second = self.servers[1].port,
        )
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.stop_probes();
    }
}

/// Sets the balancer's targets to those that say that they are ready.
async fn probe(replicas: Vec<(u16, String)>, balancer: Arc<FaultProxy>, over: Arc<AtomicBool>) {
    let http = client(true);
    let mut ticks = interval(PROBE);
    while !over.load(Ordering::SeqCst) {
        ticks.tick().await;
        let asked = replicas.iter().map(async |(port, url)| {
            let answer = http.get(url).timeout(PATIENCE).send().await;
            answer.is_ok_and(|answer| answer.status() == 200).then_some(*port)
        });
        let ready: Vec<u16> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        if !over.load(Ordering::SeqCst) {
            balancer.set_targets(&ready);
        }
    }
}
