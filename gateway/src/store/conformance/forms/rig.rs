//! Several servers that belong together: a primary with a replica and three sentinels, and a cluster.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::super::redis_server::{RedisServer, free_port};
use super::super::*;

pub const PASSWORD: &str = "correct horse battery staple";
const SENTINELS_PASSWORD: &str = "another horse";
pub const SERVICE: &str = "mymaster";
const PATIENCE: Duration = Duration::from_secs(10);

/// Gone, with what is in it, when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sallyport-rig-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The users that we ship, and one for whoever sets the stage.
    pub fn users(&self) -> String {
        let digest: String = Sha256::digest(PASSWORD).iter().map(|byte| format!("{byte:02x}")).collect();
        let users = include_str!("../../../../../deploy/redis/users.acl");
        let users = users.replace("SHA-256-OF-THE-PASSWORD-IN-HEX", &digest);
        self.write("users.acl", &(users + "user admin on nopass ~* &* +@all\n"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A second panic would hide the first.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server's certificate for 127.0.0.1, by a CA of its own.
pub struct Certificates {
    pub ca: String,
    certificate: String,
    key: String,
    ca_file: String,
}

impl Certificates {
    pub fn new(folder: &Folder) -> Self {
        let mut about = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        // With the same name as what it signs, OpenSSL would take that for signed by itself.
        about.distinguished_name.push(rcgen::DnType::CommonName, "The CA of a test");
        about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let ca = about.self_signed(&ca_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(about, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap().pem();
        Self {
            certificate: folder.write("server.crt", &certificate),
            key: folder.write("server.key", &key.serialize_pem()),
            ca_file: folder.write("ca.crt", &ca),
            ca,
        }
    }

    pub fn arguments(&self, tls_port: u16) -> Vec<String> {
        let tls_port = tls_port.to_string();
        let settings: [(&str, &str); 5] = [
            ("tls-port", &tls_port),
            ("tls-cert-file", &self.certificate),
            ("tls-key-file", &self.key),
            ("tls-ca-cert-file", &self.ca_file),
            ("tls-auth-clients", "no"),
        ];
        settings.iter().flat_map(|(key, value)| [format!("--{key}"), (*value).to_owned()]).collect()
    }
}

pub fn start(arguments: &[String]) -> Option<RedisServer> {
    RedisServer::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn port(server: &RedisServer) -> u16 {
    server.url().rsplit(':').next().unwrap().parse().unwrap()
}

/// Of the user who may do everything.
pub fn admin_url(server: &RedisServer) -> String {
    server.url().replace("redis://", "redis://admin:any@")
}

pub fn admin(server: &RedisServer) -> ::redis::Connection {
    ::redis::Client::open(admin_url(server)).unwrap().get_connection().unwrap()
}

pub fn tell(connection: &mut ::redis::Connection, command: &str) -> ::redis::Value {
    let mut words = command.split(' ');
    let mut request = ::redis::cmd(words.next().unwrap());
    words.for_each(|word| _ = request.arg(word));
    request.query(connection).unwrap_or_else(|error| panic!("{command}: {error}"))
}

pub fn text(value: ::redis::Value) -> String {
    ::redis::from_redis_value(value).unwrap()
}

/// Bounded.
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A primary, its replica, and three sentinels that take it for down after a second.
pub struct Service {
    pub primary: RedisServer,
    pub replica: RedisServer,
    /// Dropped, and with it ended, before the servers' folder is.
    _sentinels: Vec<Sentinel>,
    sentinel_ports: Vec<u16>,
    ca: Option<String>,
    _folder: Folder,
}

impl Service {
    pub fn start(tls: bool) -> Option<Self> {
        let folder = Folder::new();
        let certificates = tls.then(|| Certificates::new(&folder));
        let users = folder.users();
        let launch = |extra: &[String], tls_port: u16| {
            let mut arguments = vec!["--aclfile".to_owned(), users.clone()];
            arguments.extend(["--masteruser", "admin", "--masterauth", "any"].map(str::to_owned));
            arguments.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
            if let Some(certificates) = &certificates {
                arguments.extend(certificates.arguments(tls_port));
                arguments.extend(["--tls-replication".to_owned(), "yes".to_owned()]);
            }
            arguments.extend_from_slice(extra);
            start(&arguments)
        };
        let tls_ports = [free_port(), free_port()];
        let primary = launch(&[], tls_ports[0])?;
        let at = if tls { tls_ports[0] } else { port(&primary) };
        let replica = launch(&["--replicaof".to_owned(), "127.0.0.1".to_owned(), at.to_string()], tls_ports[1])?;
        let replica_at = if tls { tls_ports[1] } else { port(&replica) };
        let mut about = admin(&replica);
        wait_until("the replica follows", || {
            text(tell(&mut about, "INFO replication")).contains("master_link_status:up")
        });
        let sentinel_ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let sentinels = (0..3).map(|number| {
            let tls = certificates.as_ref().map(|certificates| certificates.arguments(sentinel_ports[number]));
            Sentinel::start(&folder, number, &sentinel_ports, [at, replica_at], tls)
        });
        let sentinels: Vec<_> = sentinels.collect();
        wait_until("the sentinels listen", || {
            sentinel_ports.iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        let ca = certificates.map(|certificates| certificates.ca);
        Some(Self { primary, replica, _sentinels: sentinels, sentinel_ports, ca, _folder: folder })
    }

    /// When one of the sentinels names the replica as primary, looked for until it does.
    pub fn announcement(&self) -> std::thread::JoinHandle<Instant> {
        let (ports, wanted) = (self.sentinel_ports.clone(), port(&self.replica).to_string());
        std::thread::spawn(move || {
            let sign_in = ::redis::RedisConnectionInfo::default().set_password(SENTINELS_PASSWORD);
            let connect = |port: &u16| {
                let address = ::redis::ConnectionAddr::Tcp("127.0.0.1".to_owned(), *port);
                let info = ::redis::IntoConnectionInfo::into_connection_info(address).unwrap();
                ::redis::Client::open(info.set_redis_settings(sign_in.clone())).unwrap().get_connection().unwrap()
            };
            let mut sentinels: Vec<_> = ports.iter().map(connect).collect();
            let question = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {SERVICE}");
            wait_until("a sentinel names the replica", || {
                sentinels.iter_mut().any(|sentinel| {
                    let (_, port): (String, String) = ::redis::from_redis_value(tell(sentinel, &question)).unwrap();
                    port == wanted
                })
            });
            Instant::now()
        })
    }

    pub fn settings(&self) -> RedisSettings {
        let hosts: Vec<_> = self.sentinel_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let scheme = if self.ca.is_some() { "rediss" } else { "redis" };
        let url = format!("{scheme}+sentinel://sallyport@{}/{SERVICE}/2", hosts.join(","));
        RedisSettings {
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            sentinel_password: Some(Zeroizing::new(SENTINELS_PASSWORD.to_owned())),
            ca: self.ca.clone().map(String::into_bytes),
            ..RedisSettings::new(url.parse().unwrap())
        }
    }
}

struct Sentinel(Child);

impl Sentinel {
    fn start(folder: &Folder, number: usize, ports: &[u16], servers: [u16; 2], tls: Option<Vec<String>>) -> Self {
        let id = |number: usize| format!("{number:0>40}");
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("sentinel myid {}", id(number + 1)),
            format!("sentinel monitor {SERVICE} 127.0.0.1 {} 2", servers[0]),
            format!("sentinel auth-user {SERVICE} admin"),
            format!("sentinel auth-pass {SERVICE} any"),
            format!("sentinel down-after-milliseconds {SERVICE} 1000"),
            format!("sentinel failover-timeout {SERVICE} 5000"),
            format!("sentinel known-replica {SERVICE} 127.0.0.1 {}", servers[1]),
            format!("requirepass \"{SENTINELS_PASSWORD}\""),
            format!("sentinel sentinel-pass \"{SENTINELS_PASSWORD}\""),
        ];
        // They need not wait to hear of each other.
        lines.extend(
            (0..ports.len())
                .filter(|other| *other != number)
                .map(|other| format!("sentinel known-sentinel {SERVICE} 127.0.0.1 {} {}", ports[other], id(other + 1))),
        );
        match tls {
            None => lines.push(format!("port {}", ports[number])),
            Some(arguments) => {
                let pairs = arguments.chunks(2).map(|pair| format!("{} {}", pair[0].trim_start_matches('-'), pair[1]));
                lines.extend(pairs);
                lines.extend(["port 0".to_owned(), "tls-replication yes".to_owned()]);
            }
        }
        let config = folder.write(&format!("sentinel-{number}.conf"), &(lines.join("\n") + "\n"));
        let log = Path::new(&config).with_extension("log");
        let command = Command::new("redis-server")
            .args([&config, "--sentinel", "--logfile", log.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(command.unwrap())
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Neither can fail in a way that matters now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three primaries with a third of the slots each, and a replica of the first one.
pub struct Cluster {
    pub nodes: Vec<RedisServer>,
    /// Where clients connect.
    ports: Vec<u16>,
    ca: Option<String>,
    _folder: Folder,
}

impl Cluster {
    /// With `tls`, all of it is spoken with TLS: by clients, and among the nodes.
    pub fn start(tls: bool) -> Option<Self> {
        let folder = Folder::new();
        let users = folder.users();
        let certificates = tls.then(|| Certificates::new(&folder));
        let (mut nodes, mut ports) = (Vec::new(), Vec::new());
        for (number, bus) in (0..4).map(|number| (number, free_port())) {
            let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            let mut arguments = cluster.map(str::to_owned).to_vec();
            // The other slots go on when one has no server.
            arguments.extend(["--cluster-require-full-coverage", "no"].map(str::to_owned));
            arguments.extend(["--aclfile", &users, "--masteruser", "admin", "--masterauth", "any"].map(str::to_owned));
            arguments.extend(["--cluster-port".to_owned(), bus.to_string()]);
            arguments.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
            let tls_port = certificates.as_ref().map(|certificates| {
                let port = free_port();
                arguments.extend(certificates.arguments(port));
                arguments.extend(["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned));
                port
            });
            let server = start(&arguments)?;
            ports.push(tls_port.unwrap_or(port(&server)));
            let mut connection = admin(&server);
            tell(&mut connection, &format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
            if number < 3 {
                let (first, last) = Self::slots(number);
                tell(&mut connection, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            }
            nodes.push((server, bus));
        }
        let mut first = admin(&nodes[0].0);
        for ((_, bus), port) in nodes.iter().zip(&ports).skip(1) {
            tell(&mut first, &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        }
        let primary = text(tell(&mut first, "CLUSTER MYID"));
        let mut connections: Vec<_> = nodes.iter().map(|(server, _)| admin(server)).collect();
        wait_until("all nodes know each other", || {
            connections.iter_mut().all(|connection| {
                let info = text(tell(connection, "CLUSTER INFO"));
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            })
        });
        tell(&mut connections[3], &format!("CLUSTER REPLICATE {primary}"));
        wait_until("the replica follows", || {
            text(tell(&mut connections[3], "INFO replication")).contains("master_link_status:up")
        });
        // What the others say of it, clients believe.
        wait_until("all know the replica", || {
            let mut nodes = connections.iter_mut().map(|connection| text(tell(connection, "CLUSTER NODES")));
            nodes.all(|nodes| nodes.lines().any(|node| node.contains("slave") && node.contains(&primary)))
        });
        let nodes = nodes.into_iter().map(|(server, _)| server).collect();
        Some(Self { nodes, ports, ca: certificates.map(|certificates| certificates.ca), _folder: folder })
    }

    pub fn settings(&self) -> RedisSettings {
        let hosts: Vec<_> = self.ports[..2].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let scheme = if self.ca.is_some() { "rediss" } else { "redis" };
        let url = format!("{scheme}+cluster://sallyport@{}", hosts.join(","));
        let password = Some(Zeroizing::new(PASSWORD.to_owned()));
        let ca = self.ca.clone().map(String::into_bytes);
        RedisSettings { password, ca, ..RedisSettings::new(url.parse().unwrap()) }
    }

    /// First and last of a primary.
    fn slots(primary: usize) -> (usize, usize) {
        (primary * 16384 / 3, (primary + 1) * 16384 / 3 - 1)
    }

    /// A name whose record lies at that primary.
    pub fn name_at(primary: usize) -> String {
        let (first, last) = Self::slots(primary);
        let mut names = (0..1000).map(|number| format!("sallyport:test:{number}"));
        names.find(|name| (first..=last).contains(&Self::slot(name))).unwrap()
    }

    pub fn slot(name: &str) -> usize {
        usize::from(crc16::State::<crc16::XMODEM>::calculate(name.as_bytes()) % 16384)
    }
}
