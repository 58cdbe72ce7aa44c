//! Two servers of Redis, a primary and its replica, each behind a fault proxy, and three sentinels that see them through those
//! proxies too, as everything else does.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::program::Folder;
use crate::support::fault_proxy::{Ending, FaultProxy, Way};
use crate::support::free_port;
use crate::support::redis_server::RedisServer;

pub const SERVICE: &str = "sallyport";
/// After so long without an answer sentinels take a server for down. A fault that is shorter is none to them.
pub const DOWN_AFTER: Duration = Duration::from_secs(1);

/// Twice what sentinels wait before they try a failover once more, and some seconds.
const PROMOTED: Duration = Duration::from_secs(20);

pub struct RedisPair {
    servers: [RedisServer; 2],
    proxies: [FaultProxy; 2],
    stopped: [bool; 2],
    sentinel_ports: Vec<u16>,
    _sentinels: Vec<Sentinel>,
    _folder: Folder,
}

struct Sentinel(Child);

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Neither can fail in a way that matters now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl RedisPair {
    /// `None` without Redis, which is said aloud.
    pub async fn start(seed: u64) -> Option<Self> {
        let ports = [free_port(), free_port()];
        // Each says of itself that it is where its proxy is.
        let announced = |port: u16| {
            let port = port.to_string();
            let words = ["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &port];
            [words.as_slice(), &["--repl-diskless-sync-delay", "0"]].concat().into_iter().map(str::to_owned).collect()
        };
        let start =
            |arguments: Vec<String>| RedisServer::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let first = start(announced(ports[0]))?;
        let mut follows: Vec<String> = announced(ports[1]);
        follows.extend(["--replicaof".to_owned(), "127.0.0.1".to_owned(), ports[0].to_string()]);
        let second = start(follows)?;
        let servers = [first, second];
        let before = |number: usize| FaultProxy::balancing(ports[number], &[servers[number].port()], seed);
        let proxies = [before(0), before(1)];
        let folder = Folder::new(&format!("sentinels-{}", ports[0]));
        let sentinel_ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let sentinels = (0..3).map(|number| Sentinel(sentinel(&folder, number, &sentinel_ports, ports))).collect();
        let stopped = [false; 2];
        let pair = Self { servers, proxies, stopped, sentinel_ports, _sentinels: sentinels, _folder: folder };
        assert!(pair.until_whole(Duration::from_secs(30)).await, "the sentinels see no primary with a replica");
        Some(pair)
    }

    /// What goes into `store.url`.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinel_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{SERVICE}/0", hosts.join(","))
    }

    /// Which of the two the sentinels name; the first that answers is believed.
    pub fn primary(&self) -> Option<usize> {
        let named = self
            .sentinel_ports
            .iter()
            .find_map(|port| ask(*port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]))?;
        self.proxies.iter().position(|proxy| named.lines().any(|line| line == proxy.port().to_string()))
    }

    /// Until all sentinels name the same primary, which has the other one as its replica.
    pub async fn until_whole(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < limit {
            if self.is_whole() {
                return true;
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }

    fn is_whole(&self) -> bool {
        let named = |port: &u16| ask(*port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        let all: Option<Vec<String>> = self.sentinel_ports.iter().map(named).collect();
        let Some(primary) = self.primary() else { return false };
        let agreed = all.is_some_and(|all| all.windows(2).all(|two| two[0] == two[1]));
        let known = ask(self.sentinel_ports[0], &["SENTINEL", "REPLICAS", SERVICE]).unwrap_or_default();
        let follows = |number: usize| {
            ask(self.servers[number].port(), &["INFO", "replication"])
                .is_some_and(|role| role.contains("role:slave") && role.contains("master_link_status:up"))
        };
        agreed && !known.contains("s_down") && !known.contains("disconnected") && follows(1 - primary)
    }

    /// Until the replica has what the primary has now.
    pub async fn until_replicated(&self, limit: Duration) -> bool {
        let offset = |number: usize, name: &str| {
            let said = ask(self.servers[number].port(), &["INFO", "replication"])?;
            said.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        let Some(primary) = self.primary() else { return false };
        let Some(wanted) = offset(primary, "master_repl_offset:") else { return false };
        let started = Instant::now();
        while offset(1 - primary, "slave_repl_offset:").is_none_or(|at| at < wanted) {
            if started.elapsed() > limit {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Until so many replicas of the edge hear announcements. Sentinels listen too, under names of their own.
    pub async fn until_heard(&self, replicas: usize, limit: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < limit {
            let clients = self.tell_primary(&["CLIENT", "LIST", "TYPE", "pubsub"]).unwrap_or_default();
            let ours = clients.lines().filter(|line| line.contains(" sub=1 ") && !line.contains("name=sentinel"));
            if ours.count() >= replicas {
                // Redis knows a moment before they do.
                sleep(Duration::from_millis(100)).await;
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// One command at the primary; nothing when nobody answers.
    pub fn tell_primary(&self, words: &[&str]) -> Option<String> {
        ask(self.servers[self.primary()?].port(), words)
    }

    /// Everything that both hold, as it would lie on disk.
    pub fn dumps(&self) -> Vec<Vec<u8>> {
        let alive = (0..2).filter(|number| !self.stopped[*number]);
        alive.map(|number| self.servers[number].dump()).collect()
    }

    /// At both proxies: whoever goes through them, replication and the sentinels too.
    pub fn to_servers(&self, way: Way) {
        self.proxies.iter().for_each(|proxy| proxy.to_server(way));
    }

    pub fn blackhole(&self) {
        let way = Way { blackhole: true, ..Way::default() };
        for proxy in &self.proxies {
            proxy.to_server(way);
            proxy.to_client(way);
        }
    }

    pub fn refuse(&self) {
        for proxy in &self.proxies {
            proxy.refuse(true);
            proxy.cut(Ending::Reset);
        }
    }

    pub fn cut(&self, ending: Ending) {
        self.proxies.iter().for_each(|proxy| proxy.cut(ending));
    }

    pub fn freeze(&self, number: usize) {
        self.servers[number].freeze();
    }

    pub fn kill(&mut self, number: usize) {
        self.servers[number].stop();
        self.stopped[number] = true;
    }

    /// A failover as an operator asks for it.
    pub fn fail_over(&self) -> bool {
        self.sentinel_ports
            .iter()
            .any(|port| ask(*port, &["SENTINEL", "FAILOVER", SERVICE]).is_some_and(|said| said == "OK"))
    }

    /// All is well again, and what was killed is back: empty, and told by the sentinels whom to follow. Not before they have
    /// promoted the other one: it would come back as what its command line says, without what sentinels have written since, and the
    /// two could follow each other.
    pub async fn heal(&mut self) {
        for number in 0..2 {
            self.proxies[number].heal();
            if std::mem::take(&mut self.stopped[number]) {
                let stopped = Instant::now();
                while self.primary() == Some(number) && stopped.elapsed() < PROMOTED {
                    sleep(Duration::from_millis(100)).await;
                }
                self.servers[number].start_again();
            } else {
                self.servers[number].thaw();
            }
        }
    }
}

fn sentinel(folder: &Folder, number: usize, ports: &[u16], servers: [u16; 2]) -> Child {
    let id = |number: usize| format!("{number:0>40}");
    let mut lines = vec![
        "bind 127.0.0.1".to_owned(),
        format!("port {}", ports[number]),
        format!("sentinel myid {}", id(number + 1)),
        format!("sentinel monitor {SERVICE} 127.0.0.1 {} 2", servers[0]),
        format!("sentinel down-after-milliseconds {SERVICE} {}", DOWN_AFTER.as_millis()),
        format!("sentinel failover-timeout {SERVICE} 5000"),
        format!("sentinel known-replica {SERVICE} 127.0.0.1 {}", servers[1]),
    ];
    // They need not wait to hear of each other.
    let others = (0..ports.len()).filter(|other| *other != number);
    lines.extend(
        others.map(|other| format!("sentinel known-sentinel {SERVICE} 127.0.0.1 {} {}", ports[other], id(other + 1))),
    );
    let config = folder.file(&format!("sentinel-{number}.conf"), &(lines.join("\n") + "\n"));
    let log = PathBuf::from(&config).with_extension("log");
    Command::new("redis-server")
        .args([&config, "--sentinel", "--logfile", log.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a server or a sentinel answers, an array as its parts line by line; nothing where there is no answer, or an error.
fn ask(port: u16, words: &[&str]) -> Option<String> {
    let url = format!("redis://127.0.0.1:{port}");
    let limit = Duration::from_millis(500);
    let mut connection = redis::Client::open(url).ok()?.get_connection_with_timeout(limit).ok()?;
    connection.set_read_timeout(Some(limit)).ok()?;
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| _ = command.arg(word));
    let mut lines = Vec::new();
    flatten(command.query(&mut connection).ok()?, &mut lines);
    Some(lines.join("\n"))
}

fn flatten(value: redis::Value, lines: &mut Vec<String>) {
    match value {
        redis::Value::Array(values) => values.into_iter().for_each(|value| flatten(value, lines)),
        redis::Value::BulkString(bytes) => lines.push(String::from_utf8_lossy(&bytes).into_owned()),
        redis::Value::SimpleString(text) => lines.push(text),
        redis::Value::Okay => lines.push("OK".to_owned()),
        other => lines.push(format!("{other:?}")),
    }
}
